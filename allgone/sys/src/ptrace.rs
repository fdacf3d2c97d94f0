//! The few requests of ptrace(2) that follow a tree without stopping it for long. nix's version
//! cannot pass on a real-time signal.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::check;

fn request(request: libc::c_uint, pid: Pid, data: libc::c_long) -> Result<(), Errno> {
    // SAFETY: for the requests used here the address is ignored or must be null, and the data is an
    // integer.
    let ret = unsafe {
        libc::ptrace(
            request,
            pid.as_raw(),
            std::ptr::null_mut::<libc::c_void>(),
            data,
        )
    };
    check(ret).map(|_| ())
}

/// All ways in which a process makes another.
const BIRTHS: libc::c_int =
    libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;

/// Attaches to `pid` without stopping it, and to all processes that it forks, vforks or clones,
/// from their birth (Linux 3.4).
///
/// Errors: `EPERM` (not dumpable, traced already, Yama), `ESRCH`.
pub fn seize(pid: Pid) -> Result<(), Errno> {
    let options = BIRTHS | libc::PTRACE_O_TRACEEXEC;
    request(libc::PTRACE_SEIZE, pid, libc::c_long::from(options))
}

/// As [`seize`], without a stop at exec; and when the calling thread ends, the kernel kills `pid`
/// and all that were attached to after it (`PTRACE_O_EXITKILL`, Linux 3.8). Async-signal-safe.
pub fn seize_until_exit(pid: Pid) -> Result<(), Errno> {
    let options = BIRTHS | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, pid, libc::c_long::from(options))
}

/// Lets a stopped tracee run, with `signal` (0: none) delivered. `ESRCH`: it was killed meanwhile.
pub fn cont(pid: Pid, signal: i32) -> Result<(), Errno> {
    request(libc::PTRACE_CONT, pid, libc::c_long::from(signal))
}

/// Leaves a tracee in its group stop, but keeps listening for its end of it.
pub fn listen(pid: Pid) -> Result<(), Errno> {
    request(libc::PTRACE_LISTEN, pid, 0)
}

/// `PTRACE_EVENT_STOP`, in the second byte of the status of a stop: a group stop, or the first stop
/// of a new tracee.
pub const EVENT_STOP: i32 = libc::PTRACE_EVENT_STOP;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_exist_cannot_be_seized() {
        assert_eq!(seize(Pid::from_raw(i32::MAX)), Err(Errno::ESRCH));
        assert_eq!(cont(Pid::this(), 0), Err(Errno::ESRCH), "not a tracee");
    }
}
