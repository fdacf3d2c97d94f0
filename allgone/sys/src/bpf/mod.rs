//! `bpf(2)` without a compiler: programs are arrays of instructions, each with its meaning beside
//! it.
//!
//! Only what is needed: a ring buffer, a raw tracepoint program and its attachment, all released by
//! closing a descriptor; and programs on a cgroup's network, which outlive that. Sources: bpf(2),
//! Documentation/bpf/ringbuf.rst, include/uapi/linux/bpf.h. Ring buffers since Linux 5.8.
//! Privilege: `CAP_BPF` and `CAP_PERFMON` (`CAP_SYS_ADMIN` before 5.8).

mod assembler;
pub(crate) mod call;
mod insn;
mod network;
mod ring;

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

pub use insn::{
    CURRENT_ANCESTOR_CGROUP_ID, FORCE_WAKEUP, Insn, KTIME_GET_NS, MAP_LOOKUP_ELEM,
    PROBE_READ_KERNEL_STR, RINGBUF_OUTPUT, Reg, TO_END, Width, finish,
};
pub use network::{Addresses, Family, Hook, PORTS, attach};
pub use ring::RingBuffer;

pub(crate) const RAW_TRACEPOINT: u32 = 17;

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
        let link =
            call::open_raw_tracepoint(name, program.as_fd()).map_err(|errno| AttachError {
                step: "attach",
                errno,
                log: String::new(),
            })?;
        Ok(Self { _link: link })
    }
}

/// Loads a raw tracepoint program; on refusal once more with the verifier's log.
fn load(program: &[Insn]) -> Result<OwnedFd, AttachError> {
    let refused = match call::Program::load(RAW_TRACEPOINT, 0, program, None) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let mut log = vec![0u8; 16_384];
    match call::Program::load(RAW_TRACEPOINT, 0, program, Some(&mut log)) {
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
