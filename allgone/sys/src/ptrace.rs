//! The few requests of ptrace(2) that follow a tree without stopping it for long. nix's version
//! cannot pass on a real-time signal.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::check;

/// As the C library declares it.
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;
/// As the C library declares it.
#[cfg(target_env = "musl")]
type Request = libc::c_int;

fn request(request: Request, pid: Pid, data: libc::c_long) -> Result<(), Errno> {
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

/// As [`seize_until_exit`], and stops at system calls are told from signals. A tracee that is to
/// stop at them is let go on by [`cont_to_call`].
pub fn seize_for_calls(pid: Pid) -> Result<(), Errno> {
    let options = BIRTHS | libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    request(libc::PTRACE_SEIZE, pid, libc::c_long::from(options))
}

/// As [`cont`], up to the beginning or the end of the next system call.
pub fn cont_to_call(pid: Pid, signal: i32) -> Result<(), Errno> {
    request(libc::PTRACE_SYSCALL, pid, libc::c_long::from(signal))
}

/// The signal of a stop at a system call.
pub const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// Where a tracee has stopped at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStop {
    /// Before it.
    Entry {
        /// Its number.
        number: u64,
        /// Its arguments.
        args: [u64; 6],
    },
    /// After it.
    Exit {
        /// What it returned: a negative number is an error.
        value: i64,
    },
    /// At no system call.
    None,
}

/// `struct ptrace_syscall_info`.
#[repr(C)]
#[derive(Default)]
struct CallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    /// Number and arguments, or what is returned.
    data: [u64; 8],
}

/// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3). Errors: `ESRCH` it was killed in the stop; `EIO` before
/// Linux 5.3.
pub fn call_stop(pid: Pid) -> Result<CallStop, Errno> {
    const GET_SYSCALL_INFO: Request = 0x420e;
    let mut info = CallInfo::default();
    // SAFETY: the structure is writable, and its size is passed: the kernel writes no more.
    let ret = unsafe {
        libc::ptrace(
            GET_SYSCALL_INFO,
            pid.as_raw(),
            size_of::<CallInfo>(),
            &raw mut info,
        )
    };
    check(ret)?;
    let [first, args @ .., _] = info.data;
    Ok(match info.op {
        1 => CallStop::Entry {
            number: first,
            args,
        },
        2 => CallStop::Exit {
            value: first.cast_signed(),
        },
        _ => CallStop::None,
    })
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
