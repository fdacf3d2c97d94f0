//! `bpf(2)` without a compiler: programs are arrays of instructions, each with its meaning beside
//! it.
//!
//! Only what is needed: a ring buffer, a raw tracepoint program and its attachment, all released by
//! closing a descriptor; and programs on a cgroup's network, which outlive that. Sources: bpf(2),
//! Documentation/bpf/ringbuf.rst, include/uapi/linux/bpf.h. Ring buffers since Linux 5.8.
//! Privilege: `CAP_BPF` and `CAP_PERFMON` (`CAP_SYS_ADMIN` before 5.8).

mod assembler;
mod insn;
mod network;
mod ring;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::check;

pub use insn::{
    CURRENT_ANCESTOR_CGROUP_ID, FORCE_WAKEUP, Insn, KTIME_GET_NS, MAP_LOOKUP_ELEM,
    PROBE_READ_KERNEL_STR, RINGBUF_OUTPUT, Reg, TO_END, Width, finish,
};
pub use network::{Addresses, Family, Hook, PORTS, attach};
pub use ring::RingBuffer;

const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `bpf(2)` for a command that returns a descriptor.
pub(crate) fn bpf_fd<T>(command: libc::c_int, attr: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: `attr` is live for the call and its size is passed; the kernel reads it and, for
    // these commands, writes nothing to it.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

/// `bpf(2)` for a command that returns nothing. Async-signal-safe.
fn bpf_call<T>(command: libc::c_int, attr: &T) -> Result<(), Errno> {
    // SAFETY: `attr`, and what it points to, is live for the call, which only reads it.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    check(ret).map(|_| ())
}

/// A program that runs at a tracepoint until this is dropped.
#[derive(Debug)]
pub struct RawTracepoint {
    _link: OwnedFd,
}

/// Why a program could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachError {
    /// `load` or `attach`.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
    /// The end of what the verifier says, if it was the verifier.
    pub log: String,
}

impl RawTracepoint {
    /// Loads `program` (licence `Dual MIT/GPL`) and attaches it to the tracepoint `name`.
    ///
    /// Errors: `EPERM`; `EINVAL` or `EACCES` from the verifier, with its log; `ENOENT` there is no
    /// such tracepoint.
    pub fn attach(name: &std::ffi::CStr, program: &[Insn]) -> Result<Self, AttachError> {
        let program = load(program)?;
        #[repr(C)]
        struct Attr {
            name: u64,
            prog_fd: u32,
            pad: u32,
        }
        let attr = Attr {
            name: name.as_ptr() as u64,
            prog_fd: program.as_raw_fd().unsigned_abs(),
            pad: 0,
        };
        let link = bpf_fd(RAW_TRACEPOINT_OPEN, &attr).map_err(|errno| AttachError {
            step: "attach",
            errno,
            log: String::new(),
        })?;
        Ok(Self { _link: link })
    }
}

/// Loads a raw tracepoint program; on refusal once more with the verifier's log.
fn load(program: &[Insn]) -> Result<OwnedFd, AttachError> {
    #[repr(C)]
    struct Attr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
    }
    let mut attr = Attr {
        prog_type: PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let refused = match bpf_fd(PROG_LOAD, &attr) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let mut log = vec![0u8; 16_384];
    attr.log_level = 1;
    attr.log_size = 16_384;
    attr.log_buf = log.as_mut_ptr() as u64;
    match bpf_fd(PROG_LOAD, &attr) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(&log[..end]);
            let tail: Vec<&str> = text.lines().rev().take(4).collect();
            Err(AttachError {
                step: "load",
                errno: refused,
                log: tail.into_iter().rev().collect::<Vec<_>>().join("; "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_program_that_reports_is_heard() {
        let mut ring = match RingBuffer::create(4096) {
            Ok(ring) => ring,
            Err(errno) => {
                assert!(
                    matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EINVAL),
                    "{errno}"
                );
                return;
            }
        };
        // Reports the second argument (the system call's number) of every sys_enter.
        let mut body = vec![
            Insn::load(Width::Dw, Reg::R3, Reg::R1, 8),
            Insn::store(Width::Dw, Reg::R10, -8, Reg::R3),
        ];
        body.extend(Insn::set_map(Reg::R1, ring.as_fd()));
        body.extend([
            Insn::mov(Reg::R2, Reg::R10),
            Insn::add(Reg::R2, -8),
            Insn::set(Reg::R3, 8),
            Insn::set(Reg::R4, FORCE_WAKEUP),
            Insn::call(RINGBUF_OUTPUT),
        ]);
        let attached = RawTracepoint::attach(c"sys_enter", &finish(body).unwrap()).unwrap();
        nix::unistd::getppid();
        drop(attached);
        let mut seen = Vec::new();
        assert!(ring.drain(|number| seen.push(number)) > 0);
        assert!(
            seen.iter().all(|n| *n < 1000),
            "system call numbers: {seen:?}"
        );
        assert_eq!(ring.drain(|_| ()), 0);
    }

    #[test]
    fn the_verifier_is_quoted() {
        let Err(refused) = RawTracepoint::attach(c"sys_enter", &[Insn::exit()]) else {
            panic!("a program without a result must be refused")
        };
        assert_eq!(refused.step, "load");
        assert!(
            refused.errno == Errno::EPERM || refused.log.contains("R0"),
            "{refused:?}"
        );
    }
}
