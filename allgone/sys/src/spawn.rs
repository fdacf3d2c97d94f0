//! One process, born where it belongs: `clone3(CLONE_INTO_CGROUP | CLONE_PIDFD)`, then `execveat`.
//!
//! The parent prepares a [`Plan`] completely (pointer arrays included); the child only makes system calls. It allocates nothing,
//! takes no lock, formats nothing and cannot unwind. What fails in the child comes back as a [`ChildFailure`] through a pipe that
//! closes by itself at exec.
//!
//! Sources: clone3(2) (Linux 5.3; `CLONE_INTO_CGROUP` 5.7), execveat(2), close_range(2), kernel/fork.c.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::{check, privilege};

/// Which session and process group the child belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Session {
    /// `setsid(2)`: a session and a group of its own.
    #[default]
    New,
    /// `setpgid(2)`: a group of its own in the caller's session.
    Group,
    /// Whatever the caller has.
    Inherit,
}

/// User and group that the child becomes, with no supplementary groups, no capabilities and `no_new_privs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
}

/// How the child came into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Born there (`CLONE_INTO_CGROUP`): no moment outside, no migration.
    Born,
    /// Wrote itself into `cgroup.procs` before exec, because the kernel refused to let it be born there, with this error. It has
    /// already been forked by then, and the migration itself costs about 15 ms (an RCU grace period).
    Moved(Errno),
    /// No cgroup was asked for.
    None,
}

/// Everything the child will do. All of it is prepared by the parent.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The program, opened before (`execveat` with `AT_EMPTY_PATH`), so that it need not be reachable for the child's user.
    pub exe: BorrowedFd<'a>,
    /// Arguments, the zeroth included.
    pub argv: &'a [CString],
    /// Environment, complete.
    pub envp: &'a [CString],
    /// Directory of the cgroup (v2) to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Further clone flags, such as `CLONE_NEWPID`.
    pub clone_flags: u64,
    /// Session and group.
    pub session: Session,
    /// Whom to become.
    pub credentials: Option<Credentials>,
    /// Descriptors to keep, each with the number it gets. Everything else is closed at exec.
    pub inherit: &'a [(BorrowedFd<'a>, RawFd)],
    /// If set, the child reads one byte from it (or its end) before it goes on to exec.
    pub gate: Option<BorrowedFd<'a>>,
    /// Stay behind as a tiny init: fork, let the fork exec, reap until nobody is left, exit. For a new PID namespace.
    pub init: bool,
    /// `PR_SET_PDEATHSIG`, set after the credentials change (which would clear it).
    pub parent_death_signal: Option<Signal>,
    /// Processors that it, and whoever it forks, may run on; otherwise the caller's.
    pub affinity: Option<CpuSet>,
    /// Open `tasks` files of v1 cgroups that it enters. It is one thread, and moves itself, so it waits for no RCU grace period.
    pub tasks: &'a [BorrowedFd<'a>],
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
    failure: OwnedFd,
}

/// The steps of the child, in the order they are made; named in failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// `rt_sigprocmask`.
    Signals = 1,
    /// `sched_setaffinity`.
    Affinity,
    /// write of `0` to `cgroup.procs`.
    JoinCgroup,
    /// write of `0` to `tasks` (v1).
    Tasks,
    /// `setsid` or `setpgid`.
    Session,
    /// `dup3` of the descriptors to keep.
    Descriptors,
    /// `setgroups`, `setresgid`, `setresuid`, `capset`, `PR_SET_NO_NEW_PRIVS`.
    Credentials,
    /// `PR_SET_PDEATHSIG`.
    DeathSignal,
    /// fork of the tiny init.
    InitFork,
    /// read of the gate.
    Gate,
    /// `execveat`.
    Exec,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Signals,
        Self::Affinity,
        Self::JoinCgroup,
        Self::Tasks,
        Self::Session,
        Self::Descriptors,
        Self::Credentials,
        Self::DeathSignal,
        Self::InitFork,
        Self::Gate,
        Self::Exec,
    ];

    /// The name used in messages and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signals => "rt_sigprocmask",
            Self::Affinity => "sched_setaffinity",
            Self::JoinCgroup => "write cgroup.procs",
            Self::Tasks => "write tasks",
            Self::Session => "setsid",
            Self::Descriptors => "dup3",
            Self::Credentials => "setresuid",
            Self::DeathSignal => "prctl(PR_SET_PDEATHSIG)",
            Self::InitFork => "fork",
            Self::Gate => "read gate",
            Self::Exec => "execveat",
        }
    }
}

/// What failed between clone and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildFailure {
    /// The step.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Spawned {
    /// Asks, without sleeping, whether the child reported a failure before exec.
    ///
    /// `None`: it has exec'd, or is still on its way there. Ask after the child is known to have ended for a final answer.
    pub fn failure(&self) -> Result<Option<ChildFailure>, Errno> {
        let mut buf = [0u8; 5];
        match nix::unistd::read(&self.failure, &mut buf) {
            Ok(5) => {
                let step = Step::ALL.into_iter().find(|s| *s as u8 == buf[0]).unwrap_or(Step::Exec);
                Ok(Some(ChildFailure {
                    step,
                    errno: Errno::from_raw(i32::from_ne_bytes([buf[1], buf[2], buf[3], buf[4]])),
                }))
            }
            Ok(_) | Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The read end of the failure pipe: end-of-file means that the child has exec'd (or died without a word).
    pub fn exec_signal(&self) -> BorrowedFd<'_> {
        self.failure.as_fd()
    }
}

/// `struct clone_args` up to `cgroup` (`CLONE_ARGS_SIZE_VER2`, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `CLONE_PARENT`: the new process becomes a child of the caller's parent.
pub const CLONE_PARENT: u64 = 0x8000;
/// `CLONE_NEWPID`: the new process is the init of a new PID namespace. Needs `CAP_SYS_ADMIN`.
pub const CLONE_NEWPID: u64 = 0x2000_0000;
/// `CLONE_AUTOREAP` (Linux 7.1): no zombie, no `SIGCHLD`.
pub const CLONE_AUTOREAP: u64 = 1 << 34;
/// `CLONE_NNP` (Linux 7.1): `no_new_privs` for the child.
pub const CLONE_NNP: u64 = 1 << 35;
/// `CLONE_PIDFD_AUTOKILL` (Linux 7.1): the process is killed when the last reference to this pidfd is closed.
pub const CLONE_PIDFD_AUTOKILL: u64 = 1 << 36;

/// Forks without exec, with a pidfd and optionally into a cgroup. Returns `None` in the child.
///
/// # Safety
///
/// The child is a copy of the calling thread alone. If the process has other threads, the child may only make
/// async-signal-safe calls until it execs or exits.
pub(crate) unsafe fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    // SAFETY: the caller's duty.
    unsafe { clone3_as(None, flags, cgroup) }
}

/// As [`clone3`], with a process id of one's choice (`set_tid`, Linux 5.5; needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`).
///
/// # Safety
///
/// As [`clone3`].
pub(crate) unsafe fn clone3_as(
    number: Option<Pid>,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: RawFd = -1;
    let number = number.map(Pid::as_raw);
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        // CLONE_AUTOREAP demands that there is no exit signal.
        exit_signal: if flags & (CLONE_AUTOREAP | CLONE_PARENT) == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    if let Some(number) = &number {
        args.set_tid = std::ptr::from_ref(number) as u64;
        args.set_tid_size = 1;
    }
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(dir.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    // SAFETY: `args`, `pidfd` and `number` are live; there is no CLONE_VM, so the child has its own copy of this stack. The rest is the caller's duty.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: CLONE_PIDFD stored a descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some((
        Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?),
        pidfd,
    )))
}

/// Starts the child that `plan` describes.
///
/// If the kernel refuses `clone3` into the cgroup with `ENOSYS`, `EPERM` or `E2BIG` (old kernel, seccomp), the child is forked
/// with `fork(2)` semantics and moves itself; [`Spawned::entry`] says so. Other errors are returned: `EAGAIN` a pids limit or
/// `RLIMIT_NPROC`, `EBUSY` the cgroup has controllers enabled for its children, `EOPNOTSUPP` it is threaded, `ENODEV` it has been
/// removed, `EACCES`.
pub fn spawn(plan: &Plan<'_>) -> io::Result<Spawned> {
    let (failure, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let argv = pointers(plan.argv);
    let envp = pointers(plan.envp);
    let procs = match plan.cgroup {
        // Opened beforehand, for the case that the child has to move itself.
        Some(dir) => Some(nix::fcntl::openat(
            dir,
            "cgroup.procs",
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )?),
        None => None,
    };
    let mut side = ChildSide {
        plan,
        argv: &argv,
        envp: &envp,
        report: report.as_raw_fd(),
        join: None,
        exe: plan.exe.as_raw_fd(),
        gate: plan.gate.map(|fd| fd.as_raw_fd()),
    };

    // SAFETY: in the child only `ChildSide::run` executes, which makes system calls and never returns.
    let first = unsafe { clone3(plan.clone_flags, plan.cgroup) };
    let (forked, entry) = match first {
        // Without clone3 there is still a fork, unless it is to have flags that only clone3 takes.
        Err(errno @ (Errno::ENOSYS | Errno::EPERM | Errno::E2BIG))
            if plan.cgroup.is_some() || (errno == Errno::ENOSYS && plan.clone_flags >> 32 == 0) =>
        {
            side.join = procs.as_ref().map(AsRawFd::as_raw_fd);
            // SAFETY: as above.
            let forked = unsafe { fork_with_pidfd(plan.clone_flags) }?;
            let entry = plan.cgroup.map_or(Entry::None, |_| Entry::Moved(errno));
            (forked, entry)
        }
        other => (
            other?,
            if plan.cgroup.is_some() {
                Entry::Born
            } else {
                Entry::None
            },
        ),
    };
    match forked {
        None => side.run(),
        Some((pid, pidfd)) => Ok(Spawned {
            pid,
            pidfd,
            entry,
            failure,
        }),
    }
}

/// `clone(2)` with the legacy interface, for machines whose seccomp policy hides `clone3`.
///
/// # Safety
///
/// As [`clone3`].
pub(crate) unsafe fn fork_with_pidfd(flags: u64) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: RawFd = -1;
    let bits =
        libc::c_ulong::try_from(flags | CLONE_PIDFD).map_err(|_| Errno::EINVAL)? | libc::SIGCHLD as libc::c_ulong;
    // SAFETY: no stack and no CLONE_VM, so this is fork(2) that stores a pidfd through the third argument.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            bits,
            0usize,
            std::ptr::from_mut(&mut pidfd),
            0usize,
            0usize,
        )
    })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: CLONE_PIDFD stored a descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some((
        Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?),
        pidfd,
    )))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

/// The child between clone and exec. Nothing in here allocates, locks, formats or unwinds.
struct ChildSide<'a> {
    plan: &'a Plan<'a>,
    argv: &'a [*const libc::c_char],
    envp: &'a [*const libc::c_char],
    report: RawFd,
    join: Option<RawFd>,
    exe: RawFd,
    gate: Option<RawFd>,
}

impl ChildSide<'_> {
    fn run(mut self) -> ! {
        let failed = match self.prepare_and_exec() {
            Ok(never) => match never {},
            Err(failed) => failed,
        };
        let errno = (failed.errno as i32).to_ne_bytes();
        let message = [failed.step as u8, errno[0], errno[1], errno[2], errno[3]];
        // SAFETY: `message` is live; the descriptor was inherited. A short or failed write cannot be reported to anyone.
        unsafe { libc::write(self.report, message.as_ptr().cast(), message.len()) };
        exit_now(127)
    }

    fn prepare_and_exec(&mut self) -> Result<std::convert::Infallible, ChildFailure> {
        let at = |step: Step| move |errno: Errno| ChildFailure { step, errno };
        default_signals().map_err(at(Step::Signals))?;
        if let Some(cpus) = &self.plan.affinity {
            sched_setaffinity(Pid::from_raw(0), cpus).map_err(at(Step::Affinity))?;
        }
        if let Some(procs) = self.join {
            write_self(procs).map_err(at(Step::JoinCgroup))?;
        }
        for tasks in self.plan.tasks {
            write_self(tasks.as_raw_fd()).map_err(at(Step::Tasks))?;
        }
        match self.plan.session {
            // SAFETY: setsid takes no arguments.
            Session::New => check(libc::c_long::from(unsafe { libc::setsid() })),
            // SAFETY: setpgid takes integers.
            Session::Group => check(libc::c_long::from(unsafe { libc::setpgid(0, 0) })),
            Session::Inherit => Ok(0),
        }
        .map_err(at(Step::Session))?;
        self.place_descriptors().map_err(at(Step::Descriptors))?;
        self.finish(&at)
    }

    fn finish<F: Fn(Errno) -> ChildFailure>(
        &self,
        at: &dyn Fn(Step) -> F,
    ) -> Result<std::convert::Infallible, ChildFailure> {
        if let Some(credentials) = self.plan.credentials {
            privilege::become_user(credentials).map_err(at(Step::Credentials))?;
        }
        if self.plan.init {
            // SAFETY: both sides only make system calls until they exec or exit.
            if let Some(child) = unsafe { raw_fork() }.map_err(at(Step::InitFork))? {
                // Only the workload may hold the failure pipe open, or its exec would not be seen, and whatever else it inherits, or an
                // end of that would not be. The init needs none of it. (Not before Linux 5.9: then both come late.)
                // SAFETY: integers only; nothing here uses a descriptor again.
                unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) };
                reap_until_alone(child);
            }
        }
        if let Some(signal) = self.plan.parent_death_signal {
            // SAFETY: PR_SET_PDEATHSIG takes integers.
            check(libc::c_long::from(unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0)
            }))
            .map_err(at(Step::DeathSignal))?;
        }
        if let Some(gate) = self.gate {
            pass_gate(gate).map_err(at(Step::Gate))?;
        }
        // SAFETY: both arrays end in null and all strings live in the parent's plan, which this process has a copy of.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                self.exe,
                c"".as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Err(ChildFailure {
            step: Step::Exec,
            errno: Errno::last(),
        })
    }

    /// Gives the inherited descriptors their numbers and marks all others close-on-exec. Those that are needed until exec move away.
    fn place_descriptors(&mut self) -> Result<(), Errno> {
        let first_free = self
            .plan
            .inherit
            .iter()
            .map(|(_, target)| *target + 1)
            .max()
            .unwrap_or(0);
        // A target may be the number of another source, of the program or of the gate, so everything is copied out of the way first: above
        // all targets, and no higher than that, because the limit on descriptors may be low.
        let mut scratch = [-1; 16];
        let pairs = self.plan.inherit.iter().zip(scratch.iter_mut());
        for ((source, _), copy) in pairs {
            *copy = duplicate(source.as_raw_fd(), first_free)?;
        }
        self.report = duplicate(self.report, first_free)?;
        self.exe = duplicate(self.exe, first_free)?;
        if let Some(gate) = self.gate {
            self.gate = Some(duplicate(gate, first_free)?);
        }
        for ((_, target), copy) in self.plan.inherit.iter().zip(scratch) {
            // SAFETY: dup2 takes integers; whatever had this number belongs to this process alone and is not used any more.
            check(libc::c_long::from(unsafe { libc::dup2(copy, *target) }))?;
        }
        // SAFETY: close_range takes integers. Since Linux 5.11; before, all descriptors of this workspace are close-on-exec anyway.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first_free,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        Ok(())
    }
}

/// Writes `0`, which stands for the writer, to a file of a cgroup that lists its members.
fn write_self(file: RawFd) -> Result<(), Errno> {
    // SAFETY: a two-byte literal and an inherited descriptor.
    check(unsafe { libc::write(file, c"0".as_ptr().cast(), 1) } as libc::c_long).map(|_| ())
}

fn duplicate(fd: RawFd, at_least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: fcntl with integers.
    let copy = check(libc::c_long::from(unsafe {
        libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, at_least)
    }))?;
    RawFd::try_from(copy).map_err(|_| Errno::EBADF)
}

/// Unblocks every signal and gives `SIGPIPE` (which Rust ignores) its default action back.
pub(crate) fn default_signals() -> Result<(), Errno> {
    // SAFETY: SIG_DFL is a valid disposition, and no handler of ours is replaced: the workspace installs none for SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: an all-zero sigset_t is the empty set on Linux.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: one live set to read, and nowhere to store the old one.
    let ret = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &empty, std::ptr::null_mut()) };
    check(libc::c_long::from(ret)).map(|_| ())
}

fn pass_gate(gate: RawFd) -> Result<(), Errno> {
    let mut byte = 0u8;
    loop {
        // SAFETY: one writable byte.
        match check(unsafe { libc::read(gate, std::ptr::from_mut(&mut byte).cast(), 1) } as libc::c_long) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `fork(2)` by its bare system call: no atfork handlers.
///
/// # Safety
///
/// The child may only make async-signal-safe calls until it execs or exits, unless the process has a single thread.
pub(crate) unsafe fn raw_fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: without CLONE_VM and without a stack, clone is fork.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::SIGCHLD as libc::c_ulong,
            0usize,
            0usize,
            0usize,
            0usize,
        )
    })?;
    Ok(if pid == 0 {
        None
    } else {
        Some(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::ERANGE)?))
    })
}

/// The tiny init of a PID namespace: reaps everybody, then ends with the first child's exit status.
fn reap_until_alone(first: Pid) -> ! {
    let mut code = 0;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
        if pid < 0 && Errno::last() != Errno::EINTR {
            exit_now(code)
        }
        if pid == first.as_raw() {
            code = if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            };
        }
    }
}

/// `exit_group(2)` without atexit handlers or destructors. Async-signal-safe.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    use std::fs::File;

    fn plan<'a>(exe: &'a File, argv: &'a [CString]) -> Plan<'a> {
        Plan {
            exe: exe.as_fd(),
            argv,
            envp: &[],
            cgroup: None,
            clone_flags: 0,
            session: Session::New,
            credentials: None,
            inherit: &[],
            gate: None,
            init: false,
            parent_death_signal: None,
            affinity: None,
            tasks: &[],
        }
    }

    fn status(spawned: &Spawned) -> WaitStatus {
        waitid(Id::PIDFd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap()
    }

    #[test]
    fn a_program_runs_and_its_status_comes_back() {
        let exe = File::open("/bin/sh").unwrap();
        let argv = [c"sh".to_owned(), c"-c".to_owned(), c"exit 7".to_owned()];
        let spawned = spawn(&plan(&exe, &argv)).unwrap();
        assert_eq!(status(&spawned), WaitStatus::Exited(spawned.pid, 7));
        assert_eq!(spawned.failure().unwrap(), None);
    }

    #[test]
    fn a_file_that_is_no_program_is_a_failure_of_exec() {
        let exe = File::open("/proc/self/status").unwrap();
        let argv = [c"x".to_owned()];
        let spawned = spawn(&plan(&exe, &argv)).unwrap();
        assert_eq!(status(&spawned), WaitStatus::Exited(spawned.pid, 127));
        let failure = spawned.failure().unwrap().unwrap();
        assert_eq!(failure.step, Step::Exec);
    }

    #[test]
    fn descriptors_get_their_numbers_even_when_they_cross() {
        let exe = File::open("/bin/sh").unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let argv = [
            c"sh".to_owned(),
            c"-c".to_owned(),
            c"echo hello >&5; read line <&4 || exit 3; ls /proc/self/fd | wc -l >&5".to_owned(),
        ];
        let null = File::open("/dev/null").unwrap();
        let inherit = [(null.as_fd(), 4), (write.as_fd(), 5), (null.as_fd(), 0)];
        let spawned = spawn(&Plan {
            inherit: &inherit,
            ..plan(&exe, &argv)
        })
        .unwrap();
        assert_eq!(
            status(&spawned),
            WaitStatus::Exited(spawned.pid, 3),
            "descriptor 4 is /dev/null, at its end"
        );
        drop(write);
        let mut buf = [0u8; 16];
        let n = nix::unistd::read(&read, &mut buf).unwrap();
        assert_eq!(&buf[..n], b"hello\n");
    }

    #[test]
    fn a_gate_holds_the_child_until_it_opens() {
        let exe = File::open("/bin/true").unwrap();
        let argv = [c"true".to_owned()];
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let spawned = spawn(&Plan {
            gate: Some(read.as_fd()),
            ..plan(&exe, &argv)
        })
        .unwrap();
        assert_eq!(crate::pidfd::has_exited(spawned.pidfd.as_fd()), Ok(false));
        nix::unistd::write(&write, b"g").unwrap();
        assert_eq!(status(&spawned), WaitStatus::Exited(spawned.pid, 0));
    }
}
