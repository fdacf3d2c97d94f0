//! One process, born where it belongs: `clone3(CLONE_INTO_CGROUP | CLONE_PIDFD)`, then `execveat`.
//!
//! It works in any host process: one with threads, signal handlers, any number of open descriptors
//! and limits of its own. The parent turns a [`Plan`] into a complete sequence of steps
//! (`steps.rs`: what is done, in which order); the child executes one after the other (`child.rs`:
//! how). It only makes system calls: it allocates nothing, takes no lock, formats nothing and
//! cannot unwind. The step that fails comes back as a [`ChildFailure`] through a pipe that closes
//! by itself at exec.
//!
//! Sources: clone3(2) (Linux 5.3; `CLONE_INTO_CGROUP` 5.7), execveat(2), kernel/fork.c.

mod changes;
mod child;
mod clone;
pub mod copy;
mod descriptors;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod detached;
mod files;
mod filter;
mod finish;
mod gate;
mod init;
pub mod launch;
mod locks;
mod orders;
mod orphans;
mod report;
pub mod results;
mod setup;
mod shared;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod sharing;
pub(crate) mod signals;
pub(crate) mod step;
mod steps;
#[cfg(test)]
mod tests;
mod tracees;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::CpuSet;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

pub use crate::privilege::Credentials;
pub use clone::{CLONE_AUTOREAP, CLONE_NEWPID, CLONE_NNP, CLONE_PARENT, CLONE_PIDFD_AUTOKILL};
pub(crate) use clone::{clone_with_pidfd, clone3};
#[cfg(feature = "instrument")]
pub(crate) use clone::{clone3_as, raw_fork_as};
pub(crate) use descriptors::close_all_but;
pub use report::{ChildFailure, Report as ReportPipe};
pub use shared::{Executed, NotExecuted, execute};
pub use step::Step;
pub use steps::Rlimit;

use report::Report;
use steps::{Handlers, Sequence};

/// Which session and process group the child belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Session {
    /// `setsid(2)`: a session and a group of its own.
    #[default]
    New,
    /// `setpgid(2)`: a group of its own in the caller's session.
    Group,
    /// Those of the caller.
    Inherit,
}

/// How the child came into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Born there (`CLONE_INTO_CGROUP`): no moment outside, no migration.
    Born,
    /// Wrote itself into `cgroup.procs` before exec, because the kernel refused to let it be born
    /// there, with this error. It has already been forked by then, and the migration itself costs
    /// about 15 ms (an RCU grace period).
    Moved(Errno),
    /// No cgroup was asked for.
    None,
}

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub enum Exe<'a> {
    /// A file that has been opened (`execveat` with `AT_EMPTY_PATH`), so that it need not be
    /// reachable for the child's user. Closed at exec; so it may not be a script (`ENOENT`: its
    /// interpreter could not open it).
    Open(BorrowedFd<'a>),
    /// The first of these paths that there is, as execvp(3) takes it: looked up by the child, in
    /// its directory and with its user's rights.
    Paths(&'a [CString]),
}

impl<'a> From<BorrowedFd<'a>> for Exe<'a> {
    fn from(exe: BorrowedFd<'a>) -> Self {
        Self::Open(exe)
    }
}

/// Everything the child will do. All of it is prepared by the parent.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The program.
    pub exe: Exe<'a>,
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// Environment, complete.
    pub envp: &'a [CString],
    /// Directory of the cgroup (v2) to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Further clone flags, such as `CLONE_NEWPID`: those that share nothing with the caller.
    pub clone_flags: u64,
    /// Session and group.
    pub session: Session,
    /// The user to become.
    pub credentials: Option<Credentials>,
    /// `PR_SET_NO_NEW_PRIVS`: no exec gives it privileges (set-user-id, file capabilities). Implied
    /// by `credentials`.
    pub no_new_privs: bool,
    /// With `credentials`: leaves out the `no_new_privs` that comes with them, so that set-user-ID
    /// programs get their users.
    pub heeds_setuid: bool,
    /// Descriptors to keep, any number of them, each with the number it gets. All others are
    /// closed.
    pub inherit: &'a [(BorrowedFd<'a>, RawFd)],
    /// If set, the child reads one byte from it (or its end) before it goes on to exec.
    pub gate: Option<BorrowedFd<'a>>,
    /// Stay behind as a minimal init: fork, let the fork exec, reap until no process is left, exit.
    /// For a new PID namespace.
    pub init: bool,
    /// `PR_SET_PDEATHSIG`, set after the credentials change (which would clear it). The kernel
    /// sends it when the *thread* ends that called [`spawn`].
    pub parent_death_signal: Option<Signal>,
    /// Processors that it, and all processes that it forks, may run on; otherwise the caller's.
    pub affinity: Option<CpuSet>,
    /// Open `tasks` files of v1 cgroups that it enters. It is a single thread that moves itself, so
    /// it does not wait for an RCU grace period.
    pub tasks: &'a [BorrowedFd<'a>],
    /// Limits of the process, set one by one, before it becomes another user.
    pub rlimits: &'a [Rlimit],
    /// File mode creation mask; otherwise the caller's.
    pub umask: Option<u32>,
    /// Directory to change to, as the user that it has become; otherwise the caller's.
    pub dir: Option<&'a CStr>,
}

impl<'a> Plan<'a> {
    /// The default plan: a session of its own, in the caller's cgroup and with its privileges, no
    /// environment, no descriptors.
    pub fn new(exe: impl Into<Exe<'a>>, argv: &'a [CString]) -> Self {
        Self {
            exe: exe.into(),
            argv,
            envp: &[],
            cgroup: None,
            clone_flags: 0,
            session: Session::New,
            credentials: None,
            no_new_privs: false,
            heeds_setuid: false,
            inherit: &[],
            gate: None,
            init: false,
            parent_death_signal: None,
            affinity: None,
            tasks: &[],
            rlimits: &[],
            umask: None,
            dir: None,
        }
    }
}

/// A child that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id in this PID namespace.
    pub pid: Pid,
    /// Its descriptor, open before it ran.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
    report: Report,
}

impl Spawned {
    /// Asks, without sleeping, whether the child reported a failure before exec.
    ///
    /// `None`: it has exec'd, or is still on its way there. Ask after the child is known to have
    /// ended for a final answer.
    pub fn failure(&self) -> Result<Option<ChildFailure>, Errno> {
        self.report.take()
    }

    /// The read end of the failure pipe: end of file means that the child has exec'd (or died
    /// without a report).
    pub fn exec_signal(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// Starts the child that `plan` describes.
///
/// If the kernel refuses `clone3` with `ENOSYS`, `EPERM` or `E2BIG` (old kernel, seccomp), the
/// child is made by clone(2) and moves itself into its cgroup; [`Spawned::entry`] says so. Other
/// errors are returned: `EAGAIN` a pids limit or `RLIMIT_NPROC`, `EBUSY` the cgroup has controllers
/// enabled for its children, `EOPNOTSUPP` it is threaded, `ENODEV` it has been removed, `EACCES`;
/// `EINVAL` a flag that is unknown here or shares something with the caller, or two descriptors for
/// one number.
pub fn spawn(plan: &Plan<'_>) -> io::Result<Spawned> {
    let (report, child_end) = Report::new()?;
    let told = Some(child_end.as_fd());
    let (sequence, slot) = Sequence::of(plan, Handlers::Inherited, told, None)?;
    let blocked = signals::Blocked::all()?;
    // SAFETY: in the child only `Sequence::run` executes, which makes system calls and never
    // returns.
    let (forked, entry) = match unsafe { clone3(plan.clone_flags, plan.cgroup) } {
        // Unless it needs flags that only clone3 takes.
        Err(errno @ (Errno::ENOSYS | Errno::EPERM | Errno::E2BIG))
            if plan.clone_flags >> 32 == 0 =>
        {
            let procs = plan.cgroup.map(procs_of).transpose()?;
            let join = procs.as_ref().map(AsFd::as_fd);
            let (sequence, slot) = Sequence::of(plan, Handlers::Inherited, told, join)?;
            // SAFETY: as above.
            match unsafe { clone_with_pidfd(plan.clone_flags) }? {
                None => sequence.run(slot),
                parent => (parent, Entry::Moved(errno)),
            }
        }
        other => (other?, Entry::Born),
    };
    let Some((pid, pidfd)) = forked else {
        sequence.run(slot)
    };
    drop(blocked);
    Ok(Spawned {
        pid,
        pidfd,
        entry: if plan.cgroup.is_some() {
            entry
        } else {
            Entry::None
        },
        report,
    })
}

fn procs_of(cgroup: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(
        cgroup,
        "cgroup.procs",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// `exit_group(2)` without atexit handlers or destructors. Async-signal-safe.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}
