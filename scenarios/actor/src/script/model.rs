//! A pure interpreter with a fake kernel: births, groups, sessions and ends of processes, and their
//! order.
//!
//! Expectations are checked against it, without a single process. Time is virtual: only
//! [`Op::Live`] takes any. Where the real kernel may choose an order, the model chooses one; so its
//! order is certain only where time, a barrier or [`Op::AwaitParent`] decides it. A bomb grows to
//! the limit and is then parked until a process ends; [`Op::ForkExitLoop`] is one process that
//! stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use allgone::scope::Scope;

use super::{Each, FOREVER, Op, Script};

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is forked; the main process has no parent.
    Born {
        /// Its parent.
        parent: Option<usize>,
    },
    /// It begins a session.
    Session,
    /// It begins a process group.
    Group,
    /// It closes its descriptors.
    Closed,
    /// It moves into a cgroup below its own.
    EnteredCgroup,
    /// It says that the tree is complete.
    Ready,
    /// A fork is refused.
    Refused,
    /// It ends.
    Ended,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Virtual time.
    pub at_ns: u64,
    /// Index of the process, in the order of births.
    pub pid: usize,
    /// What.
    pub change: Change,
}

/// How the play ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All have ended.
    Over,
    /// A process lives until it is killed.
    Alive,
    /// A process waits at a barrier that will not open.
    Stuck {
        /// Which.
        barrier: usize,
    },
}

/// One process of the fake kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process that forked it.
    pub parent: Option<usize>,
    /// Leader of its process group.
    pub group: usize,
    /// Leader of its session.
    pub session: usize,
    /// Whether it holds an inherited descriptor.
    pub holds: bool,
    /// How many cgroups it is below the site's.
    pub depth: usize,
    /// Whether it has not ended.
    pub alive: bool,
}

/// The processes at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Table(pub Vec<Process>);

impl Table {
    fn apply(&mut self, event: &Event) {
        let pid = event.pid;
        if let Change::Born { parent } = event.change {
            let born = match parent {
                Some(parent) => Process {
                    parent: Some(parent),
                    alive: true,
                    ..self.0[parent]
                },
                None => Process {
                    parent: None,
                    group: pid,
                    session: pid,
                    holds: true,
                    depth: 0,
                    alive: true,
                },
            };
            self.0.push(born);
            return;
        }
        let process = &mut self.0[pid];
        match event.change {
            Change::Session => (process.session, process.group) = (pid, pid),
            Change::Group => process.group = pid,
            Change::Closed => process.holds = false,
            Change::EnteredCgroup => process.depth += 1,
            Change::Ended => process.alive = false,
            Change::Born { .. } | Change::Ready | Change::Refused => {}
        }
    }

    /// How many are alive.
    pub fn alive(&self) -> usize {
        self.0.iter().filter(|p| p.alive).count()
    }

    /// How many of the live processes can be seen in `scope`.
    pub fn seen(&self, scope: Scope) -> usize {
        let main = self
            .0
            .first()
            .map_or((0, 0), |main| (main.group, main.session));
        (0..self.0.len())
            .filter(|&pid| {
                let p = &self.0[pid];
                p.alive
                    && match scope {
                        Scope::Main => pid == 0,
                        Scope::ProcessGroup => p.group == main.0,
                        Scope::Session => p.session == main.1,
                        Scope::FdHolders => p.holds,
                        Scope::CgroupAlone => p.depth == 0,
                        Scope::LinkedDescendants => self.linked(pid),
                        Scope::ReapedDescendants
                        | Scope::User
                        | Scope::PidNamespace
                        | Scope::Cgroup
                        | Scope::SystemWide => true,
                    }
            })
            .count()
    }

    /// Whether a chain of living parents leads from the main process to process `pid`.
    fn linked(&self, pid: usize) -> bool {
        self.0[pid].alive && self.0[pid].parent.is_none_or(|parent| self.linked(parent))
    }
}

/// All that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// In order.
    pub events: Vec<Event>,
    /// How the play ended.
    pub ending: Ending,
}

impl History {
    /// How many processes there were.
    pub fn births(&self) -> usize {
        self.events
            .iter()
            .filter(|e| matches!(e.change, Change::Born { .. }))
            .count()
    }

    /// The processes in the order in which they ended.
    pub fn ends(&self) -> impl Iterator<Item = usize> + '_ {
        self.events
            .iter()
            .filter(|e| e.change == Change::Ended)
            .map(|e| e.pid)
    }

    /// When the last process ended; `None` if a process lives on.
    pub fn over_at_ns(&self) -> Option<u64> {
        (self.ending == Ending::Over).then(|| self.events.last().map_or(0, |e| e.at_ns))
    }

    /// When `scope` was first seen empty: virtual time, and how many were alive then.
    pub fn emptied(&self, scope: Scope) -> Option<(u64, usize)> {
        self.replay()
            .find(|(_, table)| table.seen(scope) == 0)
            .map(|(event, table)| (event.at_ns, table.alive()))
    }

    /// The processes when "ready" was said first.
    pub fn when_ready(&self) -> Option<Table> {
        self.replay()
            .find(|(event, _)| event.change == Change::Ready)
            .map(|(_, table)| table)
    }

    fn replay(&self) -> impl Iterator<Item = (&Event, Table)> {
        self.events.iter().scan(Table::default(), |table, event| {
            table.apply(event);
            Some((event, table.clone()))
        })
    }
}

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
        orphans_to_be: Vec::new(),
        bombs: Vec::new(),
    };
    kernel.birth(None, Place { block: 0, op: 0 });
    kernel.run();
    let ending = match (
        kernel
            .barriers
            .iter()
            .find(|(_, (_, waiting))| !waiting.is_empty()),
        kernel.alive,
    ) {
        (Some((&barrier, _)), _) => Ending::Stuck { barrier },
        (None, 0) => Ending::Over,
        (None, _) => Ending::Alive,
    };
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
    orphans_to_be: Vec<(usize, Place)>,
    bombs: Vec<(usize, Place)>,
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

    fn note(&mut self, pid: usize, change: Change) {
        let event = Event {
            at_ns: self.now_ns,
            pid,
            change,
        };
        self.table.apply(&event);
        self.events.push(event);
    }

    /// Forks, if the limit allows it.
    fn birth(&mut self, parent: Option<usize>, place: Place) -> bool {
        if self.alive >= self.tasks {
            if let Some(parent) = parent {
                self.note(parent, Change::Refused);
            }
            return false;
        }
        let pid = self.table.0.len();
        self.alive += 1;
        self.note(pid, Change::Born { parent });
        self.runnable.push_back((pid, place));
        true
    }

    fn end(&mut self, pid: usize) {
        self.alive -= 1;
        self.note(pid, Change::Ended);
        // The processes that waited for this: its children, and bombs at the limit.
        let table = &self.table;
        let (freed, waiting) = std::mem::take(&mut self.orphans_to_be)
            .into_iter()
            .partition(|(child, _)| table.0[*child].parent == Some(pid));
        self.orphans_to_be = waiting;
        self.runnable.extend::<Vec<_>>(freed);
        self.runnable.extend(std::mem::take(&mut self.bombs));
    }

    /// Lets process `pid` go on until it sleeps, waits or ends.
    fn continue_with(&mut self, pid: usize, mut place: Place) {
        while let Some(op) = self
            .script
            .blocks
            .get(place.block)
            .and_then(|ops| ops.get(place.op))
        {
            let here = place;
            place.op += 1;
            match *op {
                Op::Live { ns: FOREVER } => return,
                Op::Live { ns } => {
                    self.sleeping
                        .push(Reverse((self.now_ns.saturating_add(ns), pid, place)));
                    return;
                }
                Op::Fork { block, count } => {
                    for _ in 0..count {
                        self.birth(Some(pid), Place { block, op: 0 });
                    }
                }
                Op::Setsid => self.note(pid, Change::Session),
                Op::Setpgid => self.note(pid, Change::Group),
                Op::CloseAll => self.note(pid, Change::Closed),
                Op::EnterCgroup => self.note(pid, Change::EnteredCgroup),
                Op::Ready => self.note(pid, Change::Ready),
                Op::IgnoreSignals | Op::WaitGo | Op::ExitLeader => {}
                Op::AwaitParent => {
                    if self.table.0[pid]
                        .parent
                        .is_some_and(|parent| self.table.0[parent].alive)
                    {
                        self.orphans_to_be.push((pid, place));
                        return;
                    }
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
                Op::Bomb { each } => {
                    self.bomb(pid, here, each);
                    return;
                }
                Op::ForkExitLoop => {
                    // Once is enough: an orphan with a new pid. The rest would be the same
                    // again.
                    if self.table.0[pid]
                        .parent
                        .is_some_and(|p| !self.table.0[p].alive)
                    {
                        return;
                    }
                    if self.birth(Some(pid), here) {
                        break;
                    }
                    self.bombs.push((pid, here));
                    return;
                }
            }
        }
        self.end(pid);
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
        if self.birth(Some(pid), here) {
            self.runnable.push_back((pid, here));
        } else {
            if done {
                self.note(pid, Change::Ready);
            }
            self.bombs.push((pid, here));
        }
    }
}
