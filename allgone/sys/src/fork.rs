//! Forks that do not exec: the harness's own helpers, and the processes of an actor.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

pub use crate::spawn::copy::thread_count;
use crate::spawn::{self, signals};

/// A helper process of the harness (observer, guard, canary).
#[derive(Debug)]
pub struct Worker {
    /// Its process id.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
}

/// Runs `body` in a forked copy of this process, born in `cgroup` if one is given, and ends the
/// copy with the number it returns (101 if it panics). `flags` are further clone flags.
///
/// The copy has all the caller's memory and descriptors and an empty signal mask. Memory that other
/// threads were changing would be torn in it, so a process with more than one thread is refused
/// with `EDEADLK`. Where seccomp or an old kernel refuses `clone3`, the copy is made by clone(2)
/// and moves itself into `cgroup` before `body` runs (exit code 103 if it cannot). Errors: as
/// clone3(2) and clone(2).
pub fn worker(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Worker, Errno> {
    if thread_count()? != 1 {
        return Err(Errno::EDEADLK);
    }
    let blocked = signals::Blocked::all()?;
    // SAFETY: this process has exactly one thread, so its copy is complete and may run any code.
    let (forked, join) = match unsafe { spawn::clone3(flags, cgroup) } {
        Err(Errno::ENOSYS | Errno::EPERM | Errno::E2BIG) => {
            // SAFETY: as above.
            (unsafe { spawn::clone_with_pidfd(flags) }?, cgroup)
        }
        other => (other?, None),
    };
    match forked {
        Some((pid, pidfd)) => {
            drop(blocked);
            Ok(Worker { pid, pidfd })
        }
        None if join.is_some_and(|dir| move_into(dir).is_err()) => spawn::exit_now(103),
        None => {
            // There is no place to report an error yet; the body sets what it needs.
            let code = match signals::reset() {
                Ok(()) => catch_unwind(AssertUnwindSafe(body)).unwrap_or(101),
                Err(_) => 102,
            };
            spawn::exit_now(code)
        }
    }
}

/// As [`worker`], with a chosen process id: that of a process that is gone, to see which strategy
/// confuses the two.
///
/// Needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, and Linux 5.5. Errors: `EEXIST` the number is
/// in use; as [`worker`].
pub fn worker_as(
    number: Pid,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Worker, Errno> {
    if thread_count()? != 1 {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: this process has exactly one thread, so its copy is complete and may run any code.
    match unsafe { spawn::clone3_as(Some(number), 0, cgroup) }? {
        Some((pid, pidfd)) => Ok(Worker { pid, pidfd }),
        None => spawn::exit_now(catch_unwind(AssertUnwindSafe(body)).unwrap_or(101)),
    }
}

fn move_into(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let procs = nix::fcntl::openat(
        dir,
        "cgroup.procs",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    nix::unistd::write(&procs, b"0").map(|_| ())
}

/// How an actor makes a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorFork {
    /// As fork(2).
    Plain,
    /// `CLONE_PARENT`: a child of the caller's parent. `EINVAL` for the first process of a PID
    /// namespace.
    Beside,
    /// Without an exit signal: only a wait with `__WALL` or `__WCLONE` reaps it.
    Silent,
    /// `CLONE_VFORK`, with a copy of the memory: the caller sleeps until the child has ended or
    /// made an exec.
    Vfork,
    /// `CLONE_NEWUSER | CLONE_NEWPID`: the first process of a PID namespace. `EPERM` or `ENOSPC`
    /// where user namespaces are not to be had.
    Pidns,
}

/// `fork(2)` for an actor, the interpreter of a script, by its bare system call. `None` in the
/// child. Errors: `EAGAIN` at a limit. Source: clone(2).
///
/// Must only be called by an actor: other threads of it do nothing but sleep, so that the copy is
/// complete.
pub fn actor_fork(how: ActorFork) -> Result<Option<Pid>, Errno> {
    let flags = match how {
        ActorFork::Plain => libc::SIGCHLD,
        ActorFork::Beside => libc::CLONE_PARENT | libc::SIGCHLD,
        ActorFork::Silent => 0,
        ActorFork::Vfork => libc::CLONE_VFORK | libc::SIGCHLD,
        ActorFork::Pidns => libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::SIGCHLD,
    };
    // SAFETY: one thread of an actor plays (`main`, or the one that follows it), the others sleep
    // in the kernel and hold no lock, so the copy is complete. None of the flags shares memory.
    unsafe { spawn::raw_fork_as(flags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test runner itself has threads.
        let (keep, done) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || done.recv());
        assert_eq!(worker(0, None, || 0).unwrap_err(), Errno::EDEADLK);
        drop(keep);
        assert!(thread.join().unwrap().is_err());
    }
}
