//! A program that a host of any size, with any number of threads, starts and that is no child of
//! it.
//!
//! The host makes a process that shares its memory and descriptors, and waits until it has ended
//! (`CLONE_VM | CLONE_VFORK | CLONE_FILES`, vfork(2)): nothing is copied. That one makes another of
//! the same kind, which executes the program; then it ends, and so leaves the program to the
//! nearest subreaper or to init. It has no exit signal, so the host gets no `SIGCHLD` and a
//! `waitpid(-1)` elsewhere in it does not see it. Sources: clone(2), vfork(2), wait(2),
//! execveat(2).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::sharing::{self, CLONE_PIDFD, CLONE_VFORK, CLONE_VM, clone_sharing};
use super::steps::pointers;
use super::{close_all_but, exit_now};
use crate::bare::raw::{self, number};
use crate::check;

/// What a step of the start failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The system call.
    pub step: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

/// How many descriptors may be given to it.
const GIVEN: usize = 8;
/// Numbers from here on are free for copies.
const FREE: libc::c_int = 16;

/// What host, go-between and program share until the program is executed. Numbers, because
/// descriptors are the processes' own.
struct Shared {
    given: [RawFd; GIVEN],
    count: usize,
    exe: RawFd,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    pidfd: RawFd,
    failed: Option<Failure>,
}

/// Starts the open file `exe`, in a session of its own and in `/`, with `given` as its descriptors
/// 0, 1, …, and no others; returns its pidfd. Waits until it has been executed.
///
/// All signals are blocked in it, as they are meanwhile in the calling thread. Nothing else of this
/// process changes. Errors: `EINVAL` too many descriptors; `EACCES` or `ENOEXEC` at `execveat`;
/// `EAGAIN` at `clone`.
pub fn start(
    exe: BorrowedFd<'_>,
    argv: &[CString],
    envp: &[CString],
    given: &[BorrowedFd<'_>],
) -> Result<OwnedFd, Failure> {
    let fail = |step| move |errno| Failure { step, errno };
    let (argv, envp) = (pointers(argv), pointers(envp));
    let mut shared = Shared {
        given: [-1; GIVEN],
        count: given.len(),
        exe: exe.as_raw_fd(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        pidfd: -1,
        failed: None,
    };
    if given.len() > GIVEN {
        return Err(fail("give it so many descriptors")(Errno::EINVAL));
    }
    for (room, fd) in shared.given.iter_mut().zip(given) {
        *room = fd.as_raw_fd();
    }
    // SAFETY: `between` makes system calls alone and ends.
    unsafe { sharing::through_a_go_between(between, &mut shared) }
        .map_err(|(step, errno)| Failure { step, errno })?;
    // SAFETY: stored by the kernel, in the table of descriptors that the go-between shared.
    let pidfd = (shared.pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(shared.pidfd) });
    match (shared.failed, pidfd) {
        (None, Some(pidfd)) => Ok(pidfd),
        (Some(failed), _) => Err(failed),
        (None, None) => Err(fail("clone")(Errno::EIO)),
    }
}

/// The go-between's life.
extern "C" fn between(shared: *mut Shared) -> ! {
    // SAFETY: of the host, which waits.
    let pidfd = unsafe { &raw mut (*shared).pidfd };
    let flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | libc::SIGCHLD.unsigned_abs() as usize;
    let args = [flags, 0, pidfd as usize, 0, 0];
    // SAFETY: `program` makes system calls alone until it executes or ends, and this process waits
    // for that.
    let cloned = unsafe { clone_sharing(number::CLONE, args, program, shared) };
    if let Err(raw::Errno(errno)) = cloned {
        let errno = Errno::from_raw(errno);
        // SAFETY: of the host, which waits; there is no other process that uses it.
        unsafe {
            (*shared).failed = Some(Failure {
                step: "clone",
                errno,
            })
        };
    }
    exit_now(0)
}

/// The program, until it is executed.
extern "C" fn program(shared: *mut Shared) -> ! {
    // SAFETY: of the host, which waits, as does the go-between.
    let me = unsafe { &mut *shared };
    let (step, errno) = match become_program(me) {
        Ok(()) => ("execveat", Errno::last()),
        Err(failed) => failed,
    };
    me.failed = Some(Failure { step, errno });
    exit_now(127)
}

/// Returns if it was not executed.
fn become_program(me: &Shared) -> Result<(), (&'static str, Errno)> {
    let called = |step, ret: libc::c_int| check(ret.into()).map_err(|errno| (step, errno));
    // SAFETY: no arguments.
    called("setsid", unsafe { libc::setsid() })?;
    // SAFETY: a literal.
    called("chdir", unsafe { libc::chdir(c"/".as_ptr()) })?;
    let above = |fd| {
        // SAFETY: integers.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FREE) };
        called("fcntl", copy).map(|_| copy)
    };
    // First out of the way of the numbers that they get. `given` is the host's, too.
    let mut given = me.given;
    let given = given.get_mut(..me.count).unwrap_or_default();
    for fd in given.iter_mut() {
        *fd = above(*fd)?;
    }
    let exe = above(me.exe)?;
    let mut kept = [exe; GIVEN + 1];
    for ((room, target), fd) in kept.iter_mut().zip(0..).zip(given.iter()) {
        // SAFETY: integers.
        called("dup3", unsafe { libc::dup3(*fd, target, 0) })?;
        *room = target;
    }
    let kept = kept.get(..=me.count).unwrap_or_default();
    close_all_but(kept).map_err(|errno| ("close_range", errno))?;
    // SAFETY: two arrays of strings that end in null, of the host, which waits.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            exe,
            c"".as_ptr(),
            me.argv,
            me.envp,
            libc::AT_EMPTY_PATH,
        )
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Whose, waitid};
    use nix::sys::wait::WaitPidFlag;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn it_runs_and_is_no_child() {
        let shell = std::fs::File::open("/bin/sh").unwrap();
        let (mut read, write) = std::io::pipe().unwrap();
        let argv = [c"sh", c"-c", c"pwd; ls /proc/self/fd | wc -w; echo $A"].map(CString::from);
        let null = std::fs::File::open("/dev/null").unwrap();
        let envp = [c"A=b", c"PATH=/bin:/usr/bin"].map(CString::from);
        let given = [null.as_fd(), write.as_fd(), null.as_fd()];
        let pidfd = start(shell.as_fd(), &argv, &envp, &given).unwrap();
        drop(write);
        let mut said = String::new();
        read.read_to_string(&mut said).unwrap();
        // 0, 1, 2, and that of the directory.
        let said: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(said, ["/", "4", "b"]);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        let whose = Whose::Pidfd(pidfd.as_fd());
        assert_eq!(waitid(whose, flags), Err(Errno::ECHILD));
    }

    #[test]
    fn what_is_no_program_is_said() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let failed = start(null.as_fd(), &[], &[], &[]).unwrap_err();
        assert_eq!((failed.step, failed.errno), ("execveat", Errno::EACCES));
        let many = [null.as_fd(); GIVEN + 1];
        let failed = start(null.as_fd(), &[], &[], &many).unwrap_err();
        assert_eq!(failed.errno, Errno::EINVAL);
    }
}
