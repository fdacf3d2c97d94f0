//! The fake kernel.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::{Change, Ending, Event, History, Process, Table};
use crate::script::{Each, FOREVER, Fork, How, Op, Script};

/// Plays `script` on a fake kernel that allows `tasks` living processes.
pub fn play(script: &Script, tasks: usize) -> History {
    let mut kernel = Kernel {
        script,
        tasks,
        now_ns: 0,
        table: Table::default(),
        alive: 0,
        events: Vec::new(),
        runnable: VecDeque::new(),
        sleeping: BinaryHeap::new(),
        barriers: BTreeMap::new(),
        waiting: Vec::new(),
        stopped: Vec::new(),
        bombs: Vec::new(),
        youngest: Vec::new(),
    };
    kernel.birth(
        Change::Born { parent: None },
        None,
        Place { block: 0, op: 0 },
    );
    kernel.run();
    let ending = kernel.ending();
    History {
        events: kernel.events,
        ending,
    }
}

/// Where a process is in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    block: usize,
    op: usize,
}

/// What a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The end of its first parent.
    Parent,
    /// The end of this child.
    Child(usize),
    /// The end of all its children.
    Children,
    /// A stop of this child, or its end.
    Stopped(usize),
}

struct Kernel<'a> {
    script: &'a Script,
    tasks: usize,
    now_ns: u64,
    table: Table,
    alive: usize,
    events: Vec<Event>,
    runnable: VecDeque<(usize, Place)>,
    sleeping: BinaryHeap<Reverse<(u64, usize, Place)>>,
    barriers: BTreeMap<usize, (u32, Vec<(usize, Place)>)>,
    waiting: Vec<(usize, Place, Wait)>,
    stopped: Vec<(usize, Place)>,
    bombs: Vec<(usize, Place)>,
    /// The child that each process forked last.
    youngest: Vec<Option<usize>>,
}

impl Kernel<'_> {
    fn run(&mut self) {
        loop {
            if let Some((pid, place)) = self.runnable.pop_front() {
                self.continue_with(pid, place);
            } else if let Some(Reverse((at_ns, pid, place))) = self.sleeping.pop() {
                self.now_ns = at_ns;
                self.continue_with(pid, place);
            } else {
                return;
            }
        }
    }

    fn ending(&self) -> Ending {
        let alive = |pid: usize| self.table.0[pid].alive;
        let mut barriers = self.barriers.iter();
        let stuck = barriers.find(|(_, (_, waiting))| waiting.iter().any(|w| alive(w.0)));
        match (stuck, self.waiting.first()) {
            (Some((&barrier, _)), _) => Ending::Stuck { barrier },
            _ if self.alive == 0 => Ending::Over,
            (None, Some((_, place, _))) if self.waiting.len() == self.alive => Ending::Deadlock {
                block: place.block,
                op: place.op.saturating_sub(1),
            },
            _ => Ending::Alive,
        }
    }

    fn note(&mut self, pid: usize, change: Change) {
        let event = Event {
            at_ns: self.now_ns,
            pid,
            change,
        };
        self.table.apply(&event);
        self.events.push(event);
    }

    /// A birth by `forker`, if the limit allows it.
    fn birth(&mut self, born: Change, forker: Option<usize>, place: Place) -> Option<usize> {
        if self.alive >= self.tasks {
            if let Some(forker) = forker {
                self.note(forker, Change::Refused);
            }
            return None;
        }
        let pid = self.table.0.len();
        self.alive += 1;
        self.note(pid, born);
        self.youngest.push(None);
        if let Some(forker) = forker {
            self.youngest[forker] = Some(pid);
        }
        self.runnable.push_back((pid, place));
        Some(pid)
    }

    fn fork(&mut self, pid: usize, place: Place) -> bool {
        let born = Change::Born { parent: Some(pid) };
        self.birth(born, Some(pid), place).is_some()
    }

    /// A process ends, and with the first one of a PID namespace all that are in it.
    fn end(&mut self, pid: usize) {
        self.alive -= 1;
        self.note(pid, Change::Ended);
        if self.table.0[pid].namespace == Some(pid) {
            for member in 0..self.table.0.len() {
                if self.table.0[member].alive && self.table.is_in(member, pid) {
                    self.alive -= 1;
                    self.note(member, Change::Ended);
                }
            }
        }
        self.wake();
        // Bombs at the limit try again.
        self.runnable.extend(std::mem::take(&mut self.bombs));
    }

    /// Lets the processes go on that have what they waited for.
    fn wake(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (pid, place, wait) in waiting {
            if !self.table.0[pid].alive {
                continue;
            }
            match self.has_come(pid, wait) {
                true => self.runnable.push_back((pid, place)),
                false => self.waiting.push((pid, place, wait)),
            }
        }
    }

    fn has_come(&self, pid: usize, wait: Wait) -> bool {
        let processes = &self.table.0;
        match wait {
            Wait::Parent => processes[pid]
                .parent
                .is_none_or(|parent| !processes[parent].alive),
            Wait::Child(child) => !processes[child].alive,
            Wait::Children => !processes.iter().any(|p| p.alive && p.link == Some(pid)),
            Wait::Stopped(child) => processes[child].stopped || !processes[child].alive,
        }
    }

    /// Lets process `pid` go on until it sleeps, waits or ends.
    fn continue_with(&mut self, pid: usize, mut place: Place) {
        if !self.table.0[pid].alive {
            return;
        }
        while let Some(op) = self
            .script
            .blocks
            .get(place.block)
            .and_then(|ops| ops.get(place.op).copied())
        {
            let here = place;
            place.op += 1;
            let wait = match op {
                Op::Live { ns: FOREVER } | Op::Spin { ns: FOREVER } => return,
                Op::Live { ns } | Op::Spin { ns } => {
                    self.sleeping
                        .push(Reverse((self.now_ns.saturating_add(ns), pid, place)));
                    return;
                }
                Op::Exit { .. } | Op::Crash => break,
                Op::Setsid => self.noted(pid, Change::Session),
                Op::Setpgid => self.noted(pid, Change::Group),
                Op::CloseAll => self.noted(pid, Change::Closed),
                Op::EnterCgroup => self.noted(pid, Change::EnteredCgroup),
                Op::Ready => self.noted(pid, Change::Ready),
                Op::Subreaper => self.noted(pid, Change::Subreaper),
                Op::LeaveCgroup => self.noted(pid, Change::LeftCgroup),
                Op::EnterDeepCgroup { depth } => {
                    (0..depth).for_each(|_| self.note(pid, Change::EnteredCgroup));
                    None
                }
                Op::FreezeSelf | Op::Exec { count: FOREVER } => return,
                Op::BecomeOther => self.noted(pid, Change::User),
                Op::Fill => {
                    while self.fork(pid, here) {
                        // It sleeps.
                        self.runnable.pop_back();
                    }
                    None
                }
                Op::Flap { count } => {
                    for _ in 0..count.min(2) {
                        self.note(pid, Change::LeftCgroup);
                        self.note(pid, Change::EnteredCgroup);
                    }
                    match count {
                        FOREVER => return,
                        _ => None,
                    }
                }
                Op::ChurnCgroups { .. } => {
                    self.note(pid, Change::Ready);
                    return;
                }
                // A threaded cgroup's members are listed in the cgroup above.
                Op::EnterThreadedCgroup
                | Op::FreezeLeft
                | Op::ThawLeft
                | Op::LockCgroup
                | Op::Escape
                | Op::AttackCgroup
                | Op::MountCgroup2
                | Op::MountInside { .. }
                | Op::EnterDeepDirectory { .. }
                | Op::Ask
                | Op::ReadGiven
                | Op::Exec { .. }
                | Op::ExecFromThread
                | Op::IoWorkers { .. }
                | Op::Realtime
                | Op::LeaveObjects
                | Op::IgnoreSignals
                | Op::WaitGo
                | Op::ExitLeader
                | Op::Threads { .. }
                | Op::Nice { .. }
                | Op::Touch { .. }
                | Op::OpenFiles { .. }
                | Op::Rename { .. } => None,
                Op::AwaitParent => Some(Wait::Parent),
                Op::Reap => Some(Wait::Children),
                Op::AwaitStopped => self.youngest[pid].map(Wait::Stopped),
                Op::Stop => {
                    self.note(pid, Change::Stopped);
                    self.stopped.push((pid, place));
                    self.wake();
                    return;
                }
                Op::Continue => {
                    self.let_youngest_go_on(pid);
                    None
                }
                Op::Barrier { index, count } => {
                    let (arrived, waiting) = self.barriers.entry(index).or_default();
                    *arrived += 1;
                    waiting.push((pid, place));
                    if *arrived >= count {
                        self.runnable.extend(std::mem::take(waiting));
                    }
                    return;
                }
                Op::Bomb { each } => return self.bomb(pid, here, each),
                Op::ForkExitLoop => {
                    // Once is enough: an orphan with a new pid. The rest would be the same
                    // again.
                    let parent = self.table.0[pid].parent;
                    if parent.is_some_and(|p| !self.table.0[p].alive) {
                        return;
                    }
                    if self.fork(pid, here) {
                        break;
                    }
                    self.bombs.push((pid, here));
                    return;
                }
                Op::Fork { .. }
                | Op::ForkParent { .. }
                | Op::ForkSilent { .. }
                | Op::Vfork { .. }
                | Op::ForkPidns { .. }
                | Op::Trace { .. } => op.fork().and_then(|fork| self.fork_children(pid, fork)),
            };
            if let Some(wait) = wait
                && !self.has_come(pid, wait)
            {
                self.waiting.push((pid, place, wait));
                return;
            }
        }
        self.end(pid);
    }

    /// Notes a change after which the process goes on.
    fn noted(&mut self, pid: usize, change: Change) -> Option<Wait> {
        self.note(pid, change);
        None
    }

    fn fork_children(&mut self, pid: usize, fork: Fork) -> Option<Wait> {
        let born = match fork.how {
            How::Beside => Change::BornBeside { of: pid },
            _ => Change::Born { parent: Some(pid) },
        };
        let first = Place {
            block: fork.block,
            op: 0,
        };
        let mut wait = None;
        for _ in 0..fork.count {
            let child = self.birth(born, Some(pid), first);
            match (fork.how, child) {
                (How::Pidns, Some(child)) => self.note(child, Change::Namespace),
                (How::Vfork, Some(child)) => wait = Some(Wait::Child(child)),
                _ => {}
            }
        }
        wait
    }

    fn let_youngest_go_on(&mut self, pid: usize) {
        let youngest = self.youngest[pid];
        let found = self
            .stopped
            .iter()
            .position(|(at, _)| Some(*at) == youngest);
        if let Some(found) = found {
            let (child, place) = self.stopped.remove(found);
            if self.table.0[child].alive {
                self.note(child, Change::Continued);
                self.runnable.push_back((child, place));
            }
        }
    }

    /// Process `pid` tries to fork once; then it is the next one's turn.
    fn bomb(&mut self, pid: usize, here: Place, each: Each) {
        let Process {
            group,
            session,
            depth,
            ..
        } = self.table.0[pid];
        let done = match each {
            Each::Nothing => true,
            // The main process leads its session, and begins none.
            Each::Setsid => {
                if group != pid {
                    self.note(pid, Change::Session);
                }
                pid != 0 && (group != pid || session == pid)
            }
            Each::EnterCgroup => {
                if pid != 0 && depth == 0 {
                    self.note(pid, Change::EnteredCgroup);
                }
                pid != 0
            }
        };
        if self.fork(pid, here) {
            self.runnable.push_back((pid, here));
        } else {
            if done {
                self.note(pid, Change::Ready);
            }
            self.bombs.push((pid, here));
        }
    }
}
