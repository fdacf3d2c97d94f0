//! The truth about a program that stamps no ledger, from outside.
//!
//! It is an interval. Lower bound: the last moment at which something was certainly alive, which is
//! a process listed in `cgroup.procs` (the kernel leaves out those that are exiting), or the stamp
//! of a fork or an exec. Upper bound: the first moment at which everything that was asked says that
//! all are gone: `populated 0`, no thread left by the kernel's events, nobody executing the
//! program's own copy. The harness asks once a millisecond, and at each event, from the program's
//! start on; so a program is watched more closely than a scenario, and its times say more about
//! order than about latency.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::oracle::{self, State};
use super::{Site, TrialError, Workload};
use crate::error::{SysError, Target};
use crate::process_events::{Books, Event, ProcessEvents};
use crate::record::{ProgramRecord, TruthSource};
use crate::sys::{lease, time};

/// What a trial has to know about a program that is not an actor.
#[derive(Debug)]
pub struct Program {
    /// Where its standard output and error go; nowhere if there is none.
    pub output: Option<OwnedFd>,
    /// How long it runs before it is killed, in the kill plane.
    pub kill_after: Duration,
    /// Nothing but this program executes the file: who executes it can then be asked with a lease.
    pub own_copy: bool,
}

/// Events that may come before it is known which of the machine's processes is the program's first
/// one. More, and the events are given up.
const MOST_EARLY: usize = 1 << 18;

/// What is known from outside, so far.
#[derive(Debug)]
pub(super) struct Outside {
    argv: Vec<CString>,
    events: Option<Stream>,
    copy: Option<OwnedFd>,
    /// Its first process: the spawn has returned.
    main: Option<Pid>,
    /// Something was seen alive.
    seen: bool,
    lower_ns: Option<u64>,
    upper_ns: Option<u64>,
    left_its_cgroup: bool,
}

/// The kernel's events, and the tree as far as they tell of it.
#[derive(Debug)]
struct Stream {
    events: ProcessEvents,
    /// The process that starts the program.
    parent: Option<Pid>,
    tree: Tree,
}

#[derive(Debug)]
enum Tree {
    /// What has come while the first process is not known.
    Early(Vec<(u64, Event)>),
    /// The threads since the first fork.
    Books(Books),
}

impl Outside {
    /// To be called before the program's parent is forked. `None`: the workload is an actor.
    pub(super) fn of(workload: &Workload) -> Result<Option<Self>, TrialError> {
        let Some(program) = &workload.program else {
            return Ok(None);
        };
        let copy = match program.own_copy {
            false => None,
            true => {
                let copy = workload.exe.try_clone();
                Some(copy.map_err(|e| SysError::io("dup", Target::Nothing, &e))?)
            }
        };
        Ok(Some(Self {
            argv: workload.argv.clone(),
            // Not being allowed to hear them leaves the cgroup.
            events: ProcessEvents::listen().ok().map(|events| Stream {
                events,
                parent: None,
                tree: Tree::Early(Vec::new()),
            }),
            copy,
            main: None,
            seen: false,
            lower_ns: None,
            upper_ns: None,
            left_its_cgroup: false,
        }))
    }

    /// Readable when the kernel has told of a process.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(|stream| stream.events.as_fd())
    }

    /// The process that will start the program.
    pub(super) fn observed_by(&mut self, observer: Pid) {
        if let Some(stream) = &mut self.events {
            stream.parent = Some(observer);
        }
    }

    /// The program has been started: its first process.
    pub(super) fn started(&mut self, main: i32) {
        self.main = Some(Pid::from_raw(main));
        let told = match &mut self.events {
            Some(stream) => stream.begin(main),
            None => return,
        };
        match told {
            // Its birth is missing: these are the numbers of another PID namespace, or it was lost.
            None => self.events = None,
            Some(alive) => self.lower_ns = self.lower_ns.max(alive),
        }
    }

    /// The bounds: something was certainly alive, all were certainly gone.
    pub(super) fn bounds(&self) -> (Option<u64>, Option<u64>) {
        (self.lower_ns, self.upper_ns)
    }

    /// Asks once.
    pub(super) fn look(&mut self, site: &Site) -> Result<(), TrialError> {
        if self.upper_ns.is_some() {
            return Ok(());
        }
        let before = time::now().0;
        if oracle::look(site)? == State::Populated {
            let listed = match site.cgroup.procs_recursive() {
                Ok(members) => !members.is_empty(),
                Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => false,
                Err(e) => return Err(e.into()),
            };
            if listed {
                self.seen = true;
                self.lower_ns = self.lower_ns.max(Some(before));
            }
            return Ok(self.hear()?);
        }
        self.hear()?;
        // An empty cgroup is the end only of what has begun.
        if !self.seen && self.main.is_none() {
            return Ok(());
        }
        let elsewhere = self.lives_by_events() || self.is_executed()?;
        match elsewhere {
            false => self.upper_ns = Some(time::now().0),
            true => self.left_its_cgroup |= before > self.settled_after(),
        }
        Ok(())
    }

    /// From when on an empty cgroup and a live process are a contradiction, and not the order in
    /// which the kernel tells of one exit: the exit event comes shortly after `populated 0`.
    fn settled_after(&self) -> u64 {
        const SHORTLY_NS: u64 = 100_000_000;
        self.lower_ns.unwrap_or(0).saturating_add(SHORTLY_NS)
    }

    /// Takes the events that have come. A loss ends their use.
    fn hear(&mut self) -> Result<(), SysError> {
        if let Some(stream) = &mut self.events {
            match stream.hear()? {
                None => self.events = None,
                Some(alive) => self.lower_ns = self.lower_ns.max(alive),
            }
        }
        Ok(())
    }

    fn lives_by_events(&self) -> bool {
        match self.events.as_ref().map(|stream| &stream.tree) {
            Some(Tree::Books(books)) => !books.threads.is_empty(),
            Some(Tree::Early(_)) | None => false,
        }
    }

    fn is_executed(&self) -> Result<bool, SysError> {
        match &self.copy {
            None => Ok(false),
            Some(copy) => lease::is_open_elsewhere(copy)
                .map_err(|e| SysError::plain("ask for a lease on the program's copy", e)),
        }
    }

    /// For the record. `main`: how the first process ended.
    pub(super) fn record(&self, main: Option<String>) -> ProgramRecord {
        let by_events = matches!(
            self.events.as_ref().map(|stream| &stream.tree),
            Some(Tree::Books(_))
        );
        let sources = [
            (TruthSource::Cgroup, true),
            (TruthSource::ProcessEvents, by_events),
            (TruthSource::Lease, self.copy.is_some()),
        ];
        ProgramRecord {
            argv: self
                .argv
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            truth: sources
                .iter()
                .filter(|(_, used)| *used)
                .map(|(source, _)| *source)
                .collect(),
            main,
            left_its_cgroup: self.left_its_cgroup,
        }
    }

    /// Its first process, once it is known.
    pub(super) fn main(&self) -> Option<Pid> {
        self.main
    }
}

impl Stream {
    /// Takes what has come. `None`: something was lost. Otherwise when a thread of the tree was
    /// last told to be alive.
    fn hear(&mut self) -> Result<Option<Option<u64>>, SysError> {
        let mut alive = None;
        let tree = &mut self.tree;
        let lost = self.events.drain(|at, event| match tree {
            Tree::Early(early) => early.push((at, event)),
            Tree::Books(books) => {
                if books.enter(event) {
                    alive = alive.max(Some(at));
                }
            }
        })?;
        let full = matches!(&self.tree, Tree::Early(early) if early.len() > MOST_EARLY);
        Ok((!lost && !full).then_some(alive))
    }

    /// Begins the books with the birth of `main`. `None`: it is not among the events. Otherwise
    /// when a thread of the tree was last told to be alive.
    fn begin(&mut self, main: i32) -> Option<Option<u64>> {
        let heard = self.hear().ok()??;
        let Tree::Early(early) = &mut self.tree else {
            return Some(heard);
        };
        let (books, alive) = replay(early, self.parent?.as_raw(), main)?;
        self.tree = Tree::Books(books);
        Some(Some(alive))
    }
}

/// The threads that are left of the tree which begins when `parent` forks `main`, and when one was
/// last told to be alive. `None`: there is no such fork.
fn replay(events: &[(u64, Event)], parent: i32, main: i32) -> Option<(Books, u64)> {
    let birth = Event::Fork {
        parent,
        child: main,
        group: main,
    };
    let at = events.iter().position(|(_, event)| *event == birth)?;
    let mut books = Books::default();
    books.threads.insert(main, main);
    let mut alive = events[at].0;
    for (stamp, event) in &events[at + 1..] {
        if books.enter(*event) {
            alive = alive.max(*stamp);
        }
    }
    Some((books, alive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(parent: i32, child: i32) -> Event {
        Event::Fork {
            parent,
            child,
            group: child,
        }
    }

    #[test]
    fn a_tree_is_followed_from_its_first_fork_on() {
        let events = [
            (1, fork(20, 30)),
            (2, Event::Exit { thread: 20 }),
            (3, fork(10, 20)),
            (4, Event::Exec { thread: 20 }),
            (5, fork(20, 40)),
            (6, fork(99, 98)),
            (7, Event::Exit { thread: 20 }),
        ];
        let (books, alive) = replay(&events, 10, 20).unwrap();
        assert_eq!(books.threads.keys().copied().collect::<Vec<_>>(), [40]);
        assert_eq!(
            alive, 5,
            "an exit is no sign of life, a stranger's fork neither"
        );
        assert!(replay(&events, 11, 20).is_none(), "another's child");
        assert!(replay(&events, 10, 21).is_none());
    }
}
