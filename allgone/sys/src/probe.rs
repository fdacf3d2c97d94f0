//! Minimal uses of interfaces that may not be available to this process: each function tries one
//! and releases everything.
//!
//! Reasons and remedies in words are left to `harness::host`.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::bpf::{RAW_TRACEPOINT, call, finish};
use crate::check;

/// Makes an io_uring with one entry (`io_uring_setup`, Linux 5.1).
///
/// Errors: `ENOSYS` not built in or hidden by seccomp, `EPERM` the sysctl
/// `kernel.io_uring_disabled` or seccomp, `ENOMEM`. Source: io_uring_setup(2), io_uring/io_uring.c.
pub fn io_uring() -> Result<OwnedFd, Errno> {
    // struct io_uring_params is 120 bytes; all zero asks for nothing special.
    let mut params = [0u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes, which `params` has, and keeps no reference to
    // them.
    let fd = check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, params.as_mut_ptr()) })?;
    owned(fd)
}

/// Loads the program `return 0` for raw tracepoints (Linux 4.17).
///
/// Privilege: `CAP_BPF` and `CAP_PERFMON` (Linux 5.8), before that `CAP_SYS_ADMIN`. Errors:
/// `EPERM`, `ENOSYS`, `EINVAL` not built in. Source: bpf(2), kernel/bpf/syscall.c.
pub fn bpf_program() -> Result<OwnedFd, Errno> {
    call::Program::load(RAW_TRACEPOINT, 0, &finish(Vec::new())?, None)
}

/// Attaches a raw tracepoint program to `tracepoint`; closing the result detaches it. Errors:
/// `ENOENT` no such tracepoint, `EPERM`.
pub fn bpf_attach(program: BorrowedFd<'_>, tracepoint: &CStr) -> Result<OwnedFd, Errno> {
    call::open_raw_tracepoint(tracepoint, program)
}

/// Opens a datagram socket of a netlink protocol that [`nix`] has no name for. Source: netlink(7).
///
/// Errors: `EPROTONOSUPPORT` not built in.
pub fn netlink_socket(protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: socket takes integers.
    let fd = check(libc::c_long::from(unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            protocol,
        )
    }))?;
    owned(fd)
}

/// Takes a real-time priority for the calling thread, and gives it back.
///
/// Errors: `EPERM` neither `CAP_SYS_NICE` nor `RLIMIT_RTPRIO`, or a v1 cpu cgroup without real-time
/// bandwidth. Source: sched_setscheduler(2).
pub fn realtime() -> Result<(), Errno> {
    let mut before = libc::sched_param { sched_priority: 0 };
    // SAFETY: integers only; 0 is the calling thread. The C library of musl knows none of these.
    let policy = check(unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) })?;
    // SAFETY: `before` is written to.
    check(unsafe { libc::syscall(libc::SYS_sched_getparam, 0, &raw mut before) })?;
    crate::actor::set_realtime(nix::unistd::Pid::from_raw(0))?;
    // SAFETY: `before` is valid: the kernel has written it.
    check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const before) })
        .map(|_| ())
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_descriptor_or_one_of_the_documented_errors() {
        match io_uring() {
            Ok(_) | Err(Errno::ENOSYS | Errno::EPERM | Errno::ENOMEM) => {}
            Err(other) => panic!("io_uring_setup: {other}"),
        }
        match bpf_program() {
            Ok(_) | Err(Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => {}
            Err(other) => panic!("bpf: {other}"),
        }
        assert_eq!(netlink_socket(-1).unwrap_err(), Errno::EPROTONOSUPPORT);
    }
}
