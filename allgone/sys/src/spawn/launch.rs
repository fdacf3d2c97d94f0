//! A program with an init of its own: the launcher's way of starting.
//!
//! One `clone3` makes init in its namespaces, or as a tracer without any. Init sets up what
//! [`Launch::before`] says, makes the main process in its cgroup, and stays. The main process sets
//! up what [`Launch::after`] says and becomes the program. What became of each step stands in a
//! shared page.
//!
//! Only for a process with one thread that has blocked all signals ([`block_all`]): the launcher
//! itself. Sources: clone3(2), pid_namespaces(7), user_namespaces(7).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::descriptors::{Table, close_all_but};
use super::gate::{Gate, death_signal};
use super::init::{Init, Reach};
use super::results::Results;
use super::setup::{Made, join};
use super::steps::{Action, Sequence, pointers};
use super::tracees::{self, Tracees};
use super::{clone_with_pidfd, clone3, exit_now};
use crate::mapping::Mapping;

pub use super::files::{Bind, FileStep, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};
pub use super::filter::{Instruction, answer, instruction, jump, load, refusing_untraced};
pub use super::locks::LockStep;
pub use super::orders::{MESSAGE_BYTES, Message, Orders};
pub use super::setup::{File, Setup, remove_cgroup};
pub use super::signals::{block_all, die_of, every};
pub use super::steps::{Need, Rlimit};

/// `CLONE_NEW…` flags, as they are passed.
pub mod namespaces {
    /// A PID namespace.
    pub const PID: u64 = libc::CLONE_NEWPID.unsigned_abs() as u64;
    /// A user namespace.
    pub const USER: u64 = libc::CLONE_NEWUSER.unsigned_abs() as u64;
    /// A mount namespace.
    pub const MOUNT: u64 = libc::CLONE_NEWNS.unsigned_abs() as u64;
    /// A namespace of System V and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC.unsigned_abs() as u64;
    /// A namespace of host names.
    pub const UTS: u64 = libc::CLONE_NEWUTS.unsigned_abs() as u64;
    /// A cgroup namespace.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP.unsigned_abs() as u64;
    /// A network namespace.
    pub const NET: u64 = libc::CLONE_NEWNET.unsigned_abs() as u64;
}

/// Everything that is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Namespaces of init, of which a PID namespace is one if that is what holds it together.
    pub flags: u64,
    /// What holds all of it together.
    pub hold: Hold<'a>,
    /// Further namespaces of main: one of cgroups is rooted where it is made.
    pub main_flags: u64,
    /// Made by init, before main.
    pub before: &'a [(Setup<'a>, Need)],
    /// Made by main.
    pub after: &'a [(Setup<'a>, Need)],
    /// Where the program may be; the first that there is is executed.
    pub paths: &'a [CString],
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// The environment of the program, complete; `None`: this process's.
    pub envp: Option<&'a [CString]>,
    /// The signal mask of the program.
    pub mask: u64,
    /// A signalfd with SIGCHLD in its set.
    pub signals: BorrowedFd<'a>,
    /// Directory and name of the cgroup that `before` makes.
    pub cgroup: Option<(BorrowedFd<'a>, &'a CStr)>,
    /// Whether main may be born outside of it, if it cannot be born in it.
    pub cgroup_need: Need,
    /// Further cgroups that `before` makes, each by the directory above and its name; at most
    /// [`GROUPS`].
    pub groups: &'a [(BorrowedFd<'a>, &'a CStr)],
    /// What init reads before it removes the cgroup that limits memory.
    pub memory: Option<Memory<'a>>,
    /// What is written before everything is killed: a quota that would make it slow.
    pub lifts: &'a [File<'a>],
    /// What init holds open as long as it lives: locks.
    pub held: [Option<BorrowedFd<'a>>; 2],
    /// What init does.
    pub orders: Orders,
}

/// What a cgroup says about memory, by files below a directory.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// `memory.events`, or `memory.oom_control` in version 1: how often the kernel killed.
    pub events: &'a CStr,
    /// `memory.peak` (Linux 5.19), or `memory.max_usage_in_bytes`.
    pub peak: &'a CStr,
}

/// What holds a run together, so that all of it can be ended.
#[derive(Clone, Copy, Debug)]
pub enum Hold<'a> {
    /// A PID namespace: its end is init's. What others have moved into its cgroup, if it has one,
    /// is ended by writing this, `cgroup.kill` (Linux 5.14).
    Namespace(Option<File<'a>>),
    /// Init traces all that it starts (`PTRACE_O_EXITKILL`): its end is init's.
    Trace,
    /// A cgroup: it is ended by writing this, `cgroup.kill` (Linux 5.14).
    Cgroup(File<'a>),
}

/// How many further cgroups there may be: one for each v1 controller that limits something.
pub const GROUPS: usize = 4;
/// How many descriptors init keeps besides those.
const OWN: usize = 9;

/// The init that was started.
#[derive(Debug)]
pub struct Launched {
    /// Its number.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// To it; while this is open, it lives.
    pub socket: OwnedFd,
    /// An eventfd that is readable when it has said something. The socket would be so at its end,
    /// too, which wakes the launcher a moment before it can be told of that.
    pub bell: OwnedFd,
}

impl<'a> Launch<'a> {
    /// The steps in the order in which they are made, as system calls, with whether each is
    /// required. Their places are those in [`Results`].
    pub fn describe(&self) -> Vec<(String, Need)> {
        let setup = |steps: &[(Setup<'_>, Need)]| {
            let lines = steps.iter().map(|(setup, need)| (setup.to_string(), *need));
            lines.collect::<Vec<_>>()
        };
        let mut lines = setup(self.before);
        let seize = match self.hold {
            Hold::Trace => ", ptrace(PTRACE_SEIZE, PTRACE_O_EXITKILL)",
            Hold::Namespace(_) | Hold::Cgroup(_) => "",
        };
        let clone = format!("clone3({:#x}){seize}", self.main_flags);
        lines.push((clone, Need::Required));
        lines.extend(setup(self.after));
        lines.push(("rt_sigprocmask(SIG_SETMASK)".to_owned(), Need::Required));
        let name = self.argv.first().map(CString::as_c_str).unwrap_or(c"");
        lines.push((format!("execve({name:?})"), Need::Required));
        lines
    }

    /// The index of the step that makes the cgroup, if one does.
    pub fn cgroup_step(&self) -> Option<usize> {
        let makes = |(setup, _): &(Setup<'_>, Need)| matches!(setup, Setup::MakeCgroup { .. });
        self.before.iter().position(makes)
    }

    /// Whether all that is written to `file`, and the entry into its cgroup, has succeeded.
    pub fn is_written(&self, results: &Results, file: &CStr) -> bool {
        let before = self.before.iter().enumerate();
        let after = (self.before.len() + 1..).zip(self.after);
        let mut found = false;
        for (index, (setup, _)) in before.chain(after) {
            let Setup::WriteIn(File { path, .. }) = setup else {
                continue;
            };
            let of_it = *path == file;
            found |= of_it;
            let good = || results.step(index).is_some_and(|step| step.error.is_none());
            if (of_it || path.to_bytes().ends_with(b"/tasks")) && !good() {
                return false;
            }
        }
        found
    }

    /// Whether the step with this index is a limit that main sets for itself, or the user that it
    /// becomes: what no other tier could do either.
    pub fn is_limit(&self, index: usize) -> bool {
        let after = index.checked_sub(self.before.len() + 1);
        let step = after.and_then(|index| self.after.get(index));
        matches!(step, Some((Setup::Limit(_) | Setup::User(_), _)))
    }

    /// Whether the step with this index is the exec.
    pub fn is_exec(&self, index: usize) -> bool {
        index == self.before.len() + self.after.len() + 2
    }

    /// Starts it. What fails after `clone3` stands in `results`.
    ///
    /// Errors: as clone3(2); where that is refused with `ENOSYS` clone(2) is used. `EPERM`,
    /// `ENOSPC`: a namespace is not to be had.
    pub fn start(&self, results: &Results) -> Result<Launched, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let bell = OwnedFd::from(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let seen = match self.hold {
            Hold::Trace => Some(Mapping::anonymous(tracees::BYTES)?),
            Hold::Namespace(_) | Hold::Cgroup(_) => None,
        };
        let main = Main {
            orders: self.orders,
            held: self.held,
            socket: theirs.as_raw_fd(),
            bell: bell.as_raw_fd(),
            signals: self.signals.as_raw_fd(),
            cgroup: self.cgroup,
            groups: self.groups,
            memory: self.memory,
            lifts: self.lifts,
            need: self.cgroup_need,
            flags: self.main_flags,
            hold: self.hold,
            seen: seen.as_ref(),
        };
        let setup = |(setup, need): &(Setup<'a>, Need)| Action::Setup(*setup, *need);
        let mut actions: Vec<Action<'_>> = self.before.iter().map(setup).collect();
        actions.push(Action::Main(main));
        actions.extend(self.after.iter().map(setup));
        actions.extend([Action::Mask(self.mask), Action::ExecPaths]);
        let argv = pointers(self.argv);
        let mut shell = vec![c"/bin/sh".as_ptr(), c"".as_ptr()];
        shell.extend(argv.iter().skip(1));
        let sequence = Sequence {
            actions,
            table: Table::giving(&[])?,
            results: Some(results),
            made: Made::NOTHING,
            shell,
            paths: pointers(self.paths),
            argv,
            envp: self.envp.map_or_else(environment, pointers),
        };
        // SAFETY: in the child only `Sequence::run` executes, which makes system calls and never
        // returns.
        let forked = match unsafe { clone3(self.flags, None) } {
            // SAFETY: as above.
            Err(Errno::ENOSYS) => unsafe { clone_with_pidfd(self.flags) }?,
            other => other?,
        };
        let Some((pid, pidfd)) = forked else {
            // Init must not hold the launcher's end, or it would never see it close.
            // SAFETY: this process's copy, which nothing here uses again.
            unsafe { libc::close(socket.as_raw_fd()) };
            self.become_init(sequence)
        };
        Ok(Launched {
            pid,
            pidfd,
            socket,
            bell,
        })
    }
}

impl Launch<'_> {
    /// Makes the steps. If one fails before there is a main process, those before it are undone
    /// here, for the launcher may have been killed. Allocates nothing and drops nothing.
    fn become_init(&self, mut sequence: Sequence<'_>) -> ! {
        let failed = sequence
            .until_failure()
            .map(|failure| failure.index as usize);
        if failed.is_some_and(|index| index <= self.before.len()) {
            let own = self.cgroup.filter(|_| sequence.made.cgroup_made);
            for (parent, name) in own.iter().chain(self.groups) {
                match remove_cgroup(*parent, name) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        exit_now(127)
    }
}

/// Moves main into its cgroup. If init ends before that, so does main: what ends all members of the
/// cgroup then would come too early for it.
fn join_beside(cgroup: BorrowedFd<'_>, init: Pid) -> Result<(), Errno> {
    death_signal(libc::SIGKILL)?;
    if Pid::parent() != init {
        exit_now(127)
    }
    join(cgroup)?;
    death_signal(0)
}

/// The strings of this process's environment, without a copy, and a null behind them. environ(7).
fn environment() -> Vec<*const libc::c_char> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut strings = Vec::new();
    // SAFETY: the C library's variable; this process has one thread, so nothing changes it.
    let mut at = unsafe { environ };
    while !at.is_null() {
        // SAFETY: within the array, whose last entry is null.
        let string = unsafe { at.read() };
        if string.is_null() {
            break;
        }
        strings.push(string);
        // SAFETY: not the last entry, so there is one behind it.
        at = unsafe { at.add(1) };
    }
    strings.push(std::ptr::null());
    strings
}

/// Forking main, and becoming its init.
#[derive(Clone, Copy, Debug)]
pub(super) struct Main<'a> {
    orders: Orders,
    held: [Option<BorrowedFd<'a>>; 2],
    socket: RawFd,
    bell: RawFd,
    signals: RawFd,
    cgroup: Option<(BorrowedFd<'a>, &'a CStr)>,
    groups: &'a [(BorrowedFd<'a>, &'a CStr)],
    memory: Option<Memory<'a>>,
    lifts: &'a [File<'a>],
    need: Need,
    flags: u64,
    hold: Hold<'a>,
    /// Room for what is traced, if all of it is.
    seen: Option<&'a Mapping>,
}

impl<'a> Main<'a> {
    /// Returns in main only.
    pub(super) fn fork(self, made: Made, results: Option<&'a Results>) -> Result<(), Errno> {
        let results = results.ok_or(Errno::EINVAL)?;
        let gate = self.seen.map(|_| Gate::new()).transpose()?;
        let Some(main) = self.born(made, results)? else {
            return gate.map_or(Ok(()), Gate::pass);
        };
        if let Some(gate) = gate {
            gate.open_for(main)?;
        }
        let [lock, further] = self
            .held
            .map(|held| held.map_or(-1, |held| held.as_raw_fd()));
        let own: [RawFd; OWN] = [
            self.socket,
            self.bell,
            self.signals,
            self.orders.lease.unwrap_or(-1),
            self.cgroup.map_or(-1, |(parent, _)| parent.as_raw_fd()),
            made.cpu_stat,
            lock,
            further,
            self.memory.map_or(-1, |memory| memory.dir.as_raw_fd()),
        ];
        let groups = self.groups.iter().map(|(parent, _)| parent.as_raw_fd());
        let mut kept = [-1; OWN + GROUPS];
        for (room, number) in kept.iter_mut().zip(own.into_iter().chain(groups)) {
            *room = number;
        }
        kept.sort_unstable();
        // What init inherited it must not hold open: others wait for the end of it. If that cannot
        // be had, its end comes with init's own.
        match close_all_but(&kept) {
            Ok(()) | Err(_) => {}
        }
        let removed = self.cgroup.filter(|_| made.cgroup_made);
        Init {
            orders: self.orders,
            socket: self.socket,
            bell: self.bell,
            signals: self.signals,
            cpu_stat: made.cpu_stat,
            cgroup: removed,
            groups: self.groups,
            memory: self.memory,
            lifts: self.lifts,
            main: main.as_raw(),
            results,
            reach: match (self.seen, self.hold) {
                (Some(seen), _) => {
                    let mut tracees = Tracees::new(seen, results);
                    tracees.add(main.as_raw());
                    Reach::Tracees(tracees)
                }
                (None, Hold::Cgroup(kill)) => Reach::Cgroup(kill),
                (None, Hold::Namespace(kill)) => {
                    Reach::Namespace(kill.filter(|_| removed.is_some()))
                }
                (None, Hold::Trace) => Reach::Namespace(None),
            },
        }
        .run()
    }

    /// Makes main, in its cgroup if there is one. `None` in main.
    fn born(self, made: Made, results: &Results) -> Result<Option<Pid>, Errno> {
        // SAFETY: opened by a step of this process, and not closed before.
        let cgroup = (made.cgroup >= 0).then(|| unsafe { BorrowedFd::borrow_raw(made.cgroup) });
        // SAFETY: the copy goes on with the sequence, which only makes system calls.
        let forked = match unsafe { clone3(self.flags, cgroup) } {
            Err(Errno::ENOSYS) => {
                let init = Pid::this();
                // SAFETY: as above.
                let forked = unsafe { clone_with_pidfd(self.flags) }?;
                if forked.is_none()
                    && let Some(dir) = cgroup
                    && let Err(errno) = join_beside(dir, init)
                {
                    results.set_outside(errno);
                    if self.need == Need::Required {
                        exit_now(127)
                    }
                }
                forked
            }
            Err(errno) if cgroup.is_some() && self.need == Need::Optional => {
                results.set_outside(errno);
                // SAFETY: as above.
                unsafe { clone3(self.flags, None) }?
            }
            other => other?,
        };
        Ok(forked.map(|(pid, _pidfd)| pid))
    }
}
