//! What BPF detectors share: the part of the program that reports, and the error if the kernel
//! refuses.

use crate::detect::DetectError;
use crate::error::SysError;
use crate::host::{ProbeError, Support};
use crate::sys::bpf::{
    AttachError, FORCE_WAKEUP, Insn, KTIME_GET_NS, RINGBUF_OUTPUT, RawTracepoint, Reg, RingBuffer,
    Width,
};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// Room for a few hundred events. Each is only a hint, and wakes the reader long before the ring is
/// full.
const RING_BYTES: u32 = 1 << 14;

/// A program at a tracepoint and the ring buffer through which it reports.
#[derive(Debug)]
pub struct Reporter {
    ring: RingBuffer,
    _attached: RawTracepoint,
}

impl Reporter {
    /// Attaches what `body` makes for the ring buffer.
    pub fn attach(
        tracepoint: &'static std::ffi::CStr,
        body: impl FnOnce(BorrowedFd<'_>) -> Result<Vec<Insn>, Errno>,
    ) -> Result<Self, DetectError> {
        let ring = RingBuffer::create(RING_BYTES).map_err(|e| {
            super::limit::descriptor(SysError::plain("create a BPF ring buffer", e))
        })?;
        let program =
            body(ring.as_fd()).map_err(|e| SysError::plain("assemble the BPF program", e))?;
        let attached =
            RawTracepoint::attach(tracepoint, &program).map_err(|e| refused(tracepoint, &e))?;
        Ok(Self {
            ring,
            _attached: attached,
        })
    }

    /// Takes all reports; returns when the last of them happened.
    pub fn drain(&mut self) -> Option<u64> {
        let mut last = None;
        self.ring.drain(|at| last = Some(at));
        last
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn refused(tracepoint: &std::ffi::CStr, e: &AttachError) -> DetectError {
    let op = if e.step == "load" {
        "load a BPF program for"
    } else {
        "attach a BPF program to"
    };
    let target = tracepoint.to_string_lossy();
    if e.log.is_empty() {
        return SysError::path(op, target.as_ref(), e.errno).into();
    }
    DetectError::Verifier {
        tracepoint: target.into_owned(),
        errno: e.errno,
        log: e.log.clone(),
    }
}

/// Reports the time of the event: `bpf_ringbuf_output(ring, &bpf_ktime_get_ns(), 8, FORCE_WAKEUP)`.
/// Uses the stack down to `slot`.
pub fn report(ring: BorrowedFd<'_>, slot: i16) -> Vec<Insn> {
    let mut body = vec![
        Insn::call(KTIME_GET_NS),                        // r0 = now
        Insn::store(Width::Dw, Reg::R10, slot, Reg::R0), // *(u64 *)(fp + slot) = r0
    ];
    body.extend(Insn::set_map(Reg::R1, ring)); //             r1 = ring ll
    body.extend([
        Insn::mov(Reg::R2, Reg::R10),        // r2 = fp
        Insn::add(Reg::R2, i32::from(slot)), // r2 += slot
        Insn::set(Reg::R3, 8),               // r3 = 8
        Insn::set(Reg::R4, FORCE_WAKEUP),    // r4 = BPF_RB_FORCE_WAKEUP
        Insn::call(RINGBUF_OUTPUT),          // bpf_ringbuf_output(r1, r2, r3, r4)
    ]);
    body
}

/// Support, from an attempt to attach.
pub fn support(attempt: Result<(), DetectError>) -> Result<Support, ProbeError> {
    match attempt {
        Err(DetectError::Sys(e)) => match e.errno {
            Errno::EPERM | Errno::EACCES => Ok(Support::missing(
                e,
                "CAP_BPF and CAP_PERFMON, in the initial user namespace",
            )),
            Errno::ENOSYS => Ok(Support::missing(
                e,
                "a kernel with CONFIG_BPF_SYSCALL, and a seccomp policy that allows bpf",
            )),
            Errno::EINVAL | Errno::ENOENT => Ok(Support::missing(
                e,
                "Linux 5.8 or later with CONFIG_BPF_EVENTS and CONFIG_TRACEPOINTS",
            )),
            Errno::EXDEV => Ok(Support::missing(
                e,
                "the initial cgroup namespace: the kernel names cgroups from its root",
            )),
            _ => Err(e.into()),
        },
        other => super::armed(other),
    }
}
