//! A pure interpreter with a fake kernel: births, groups, sessions and ends of processes, and their
//! order.
//!
//! Expectations are checked against it, without a single process. Time is virtual: only
//! `Op::Live` takes any. Where the real kernel may choose an order, the model chooses one; so its
//! order is certain only where time, a barrier or `Op::AwaitParent` decides it. A bomb grows to
//! the limit and is then parked until a process ends; `Op::ForkExitLoop` is one process that
//! stays.

mod kernel;

use allgone::scope::Scope;

pub use kernel::play;

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is forked; the main process has no parent.
    Born {
        /// Its parent.
        parent: Option<usize>,
    },
    /// It is forked as another child of the parent of `of`.
    BornBeside {
        /// The process that forked it.
        of: usize,
    },
    /// It is the first process of a PID namespace.
    Namespace,
    /// Its orphaned descendants become its children.
    Subreaper,
    /// It stops.
    Stopped,
    /// It goes on.
    Continued,
    /// It begins a session.
    Session,
    /// It begins a process group.
    Group,
    /// It closes its descriptors.
    Closed,
    /// It becomes another user.
    User,
    /// It moves into a cgroup below its own.
    EnteredCgroup,
    /// It moves back to the cgroup above.
    LeftCgroup,
    /// It says that the tree is complete.
    Ready,
    /// A fork is refused.
    Refused,
    /// It ends.
    Ended,
}

impl Change {
    /// Whether a process comes into being.
    pub fn is_birth(self) -> bool {
        matches!(self, Self::Born { .. } | Self::BornBeside { .. })
    }
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
    /// All that are left wait for each other.
    Deadlock {
        /// Where one of them waits.
        block: usize,
        /// In which operation.
        op: usize,
    },
}

/// One process of the fake kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its parent at birth.
    pub parent: Option<usize>,
    /// Its parent now; `None`: the main process, or one that has been handed to a process outside
    /// of the tree.
    pub link: Option<usize>,
    /// The first process of the PID namespace that it is in, if that is part of the tree.
    pub namespace: Option<usize>,
    /// Whether orphans of its tree become its children.
    pub subreaper: bool,
    /// Whether it is stopped.
    pub stopped: bool,
    /// Leader of its process group.
    pub group: usize,
    /// Leader of its session.
    pub session: usize,
    /// Whether it holds an inherited descriptor.
    pub holds: bool,
    /// Whether it is another user than the main process was.
    pub other_user: bool,
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
        let born = match event.change {
            Change::Born { parent: None } => Some(Process {
                parent: None,
                link: None,
                namespace: None,
                subreaper: false,
                stopped: false,
                group: pid,
                session: pid,
                holds: true,
                other_user: false,
                depth: 0,
                alive: true,
            }),
            Change::Born {
                parent: Some(parent),
            } => Some(Process {
                parent: Some(parent),
                link: Some(parent),
                subreaper: false,
                ..self.0[parent]
            }),
            Change::BornBeside { of } => Some(Process {
                subreaper: false,
                ..self.0[of]
            }),
            _ => None,
        };
        if let Some(born) = born {
            self.0.push(born);
            return;
        }
        let process = &mut self.0[pid];
        match event.change {
            Change::Session => (process.session, process.group) = (pid, pid),
            Change::Group => process.group = pid,
            Change::Closed => process.holds = false,
            Change::User => process.other_user = true,
            Change::EnteredCgroup => process.depth += 1,
            Change::LeftCgroup => process.depth = process.depth.saturating_sub(1),
            Change::Namespace => process.namespace = Some(pid),
            Change::Subreaper => process.subreaper = true,
            Change::Stopped => process.stopped = true,
            Change::Continued => process.stopped = false,
            Change::Ended => {
                process.alive = false;
                self.hand_over_children(pid);
            }
            Change::Born { .. } | Change::BornBeside { .. } | Change::Ready | Change::Refused => {}
        }
    }

    /// Gives the children of a process that has ended to the nearest subreaper above it in its PID
    /// namespace, or to the first process of that namespace.
    fn hand_over_children(&mut self, ended: usize) {
        let namespace = self.0[ended].namespace;
        let mut reaper = self.0[ended].link;
        while let Some(above) = reaper
            && !(self.0[above].subreaper && self.0[above].namespace == namespace)
        {
            reaper = self.0[above].link;
        }
        let reaper = reaper.or(namespace.filter(|init| self.0[*init].alive));
        for process in self.0.iter_mut().filter(|p| p.link == Some(ended)) {
            process.link = reaper;
        }
    }

    /// Whether a process is in the PID namespace whose first process is `init`, or in one below.
    pub fn is_in(&self, pid: usize, init: usize) -> bool {
        let mut namespace = self.0[pid].namespace;
        while let Some(first) = namespace {
            if first == init {
                return true;
            }
            namespace = self.0[first].parent.and_then(|p| self.0[p].namespace);
        }
        false
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
                        Scope::User => !p.other_user,
                        Scope::ReapedDescendants
                        | Scope::PidNamespace
                        | Scope::Cgroup
                        | Scope::SystemWide => true,
                    }
            })
            .count()
    }

    /// Whether a chain of living parents leads from the main process to process `pid`.
    fn linked(&self, pid: usize) -> bool {
        self.0[pid].alive && (pid == 0 || self.0[pid].link.is_some_and(|link| self.linked(link)))
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
        self.events.iter().filter(|e| e.change.is_birth()).count()
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

    /// How many processes `scope` saw at once at most.
    pub fn most_seen(&self, scope: Scope) -> usize {
        self.replay()
            .map(|(_, table)| table.seen(scope))
            .max()
            .unwrap_or(0)
    }

    /// The processes when "ready" was said first.
    pub fn when_ready(&self) -> Option<Table> {
        self.replay()
            .find(|(event, _)| event.change == Change::Ready)
            .map(|(_, table)| table)
    }

    /// The processes when nothing happens any more.
    pub fn at_the_end(&self) -> Option<Table> {
        self.replay().last().map(|(_, table)| table)
    }

    fn replay(&self) -> impl Iterator<Item = (&Event, Table)> {
        self.events.iter().scan(Table::default(), |table, event| {
            table.apply(event);
            Some((event, table.clone()))
        })
    }
}
