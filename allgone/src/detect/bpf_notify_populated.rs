//! Listen to the kernel's own tracepoint on the flip of `populated`, before the rate limit that
//! holds `cgroup.events` back.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::bpf::{Reporter, report, support};
use super::level::{Level, entered};
use super::sleep::{self, Slept};
use super::{
    Counters, DetectError, Detector, DetectorSpec, Progress, Signal, Sources, Tally, Wake, Watch,
    kernel_path,
};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::effects::Effects;
use crate::error::SysError;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};
use crate::sys::bpf::{Insn, PROBE_READ_KERNEL_STR, Reg, TO_END, Width, finish};
use crate::sys::time::now;

/// A raw tracepoint program on `cgroup_notify_populated` that reports the flips to 0 of one cgroup
/// through a ring buffer.
#[derive(Debug)]
pub struct BpfNotifyPopulated;

static SPEC: DetectorSpec = DetectorSpec {
    id: "bpf-notify-populated",
    summary: "A BPF program on the tracepoint cgroup_notify_populated wakes the reader, which \
        reads populated.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects::descriptors(3),
    since: KernelVersion(5, 8),
    privilege: "CAP_BPF and CAP_PERFMON in the initial user namespace, and the initial cgroup \
        namespace",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "one wake-up through irq_work; not rate limited",
    idle_cost: "a read a second here; every flip of any cgroup on the machine runs a program of \
        about 40 instructions and has its path built",
    overflow: "a report that finds the ring full is dropped, but then the reader has unread ones \
        and reads the state anyway",
    loses_on_removal: false,
    sources: &[
        "include/trace/events/cgroup.h: cgroup_notify_populated",
        "kernel/cgroup/cgroup.c: cgroup_update_populated() (css_update_populated() since 7.2)",
        "Documentation/bpf/ringbuf.rst",
    ],
    axes: &[],
};

impl Detector for BpfNotifyPopulated {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| {
            support(attach(cgroup).and_then(|reporter| {
                probe::passer_by(cgroup, 0)
                    .map_err(|e| SysError::path("start a process in", cgroup.path(), e))?;
                let mut fds = [PollFd::new(reporter.as_fd(), PollFlags::POLLIN)];
                match sleep::on(&mut fds, now() + HEARING)? {
                    Slept::Woken(_) => Ok(()),
                    // The program runs but the name did not match: this namespace shows another one
                    // than the kernel's.
                    Slept::Deadline => {
                        Err(SysError::path("hear of", cgroup.path(), Errno::EXDEV).into())
                    }
                }
            }))
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Listening {
            reporter: attach(set.cgroup())?,
            level: Level::open(set.cgroup())?,
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Listening {
    reporter: Reporter,
    level: Level,
    tally: Tally,
}

/// How long it may take to notice that another process has removed the cgroup before its emptiness
/// was read.
const REMOVAL: Duration = Duration::from_secs(1);

impl Watch for Listening {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.reporter)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let counters = self.tally.check();
        if let Some(at) = self.reporter.drain() {
            counters.event_ns = at;
        }
        Ok(Progress::of(self.level.look(now, counters)).look_at(now + REMOVAL))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}

/// How long a probe waits for an event that takes microseconds.
const HEARING: Duration = Duration::from_millis(500);

/// The stack of a BPF program is 512 bytes; the path gets half of it.
const LONGEST_PATH: usize = 256;

fn attach(cgroup: &Cgroup) -> Result<Reporter, DetectError> {
    let path = kernel_path::of(cgroup.path())?;
    Reporter::attach(c"cgroup_notify_populated", |ring| {
        program(path.as_os_str().as_encoded_bytes(), ring)
    })
}

/// The program. Arguments of the tracepoint: `(struct cgroup *cgrp, const char *path, int val)`.
///
/// The path is compared here and not in the reader, so that events of other cgroups do not wake the
/// reader. It is read with room for one byte more than expected: a longer path with the same
/// beginning then has another length.
fn program(path: &[u8], ring: BorrowedFd<'_>) -> Result<Vec<Insn>, Errno> {
    let mut name = path.to_vec();
    name.push(0);
    if name.len() >= LONGEST_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    let number = |n: usize| i32::try_from(n).map_err(|_| Errno::ERANGE);
    let offset = |n: usize| i16::try_from(n).map_err(|_| Errno::ERANGE);
    let length = number(name.len())?;
    let room = offset((name.len() + 1).next_multiple_of(8))?;
    let mut body = vec![
        Insn::load(Width::Dw, Reg::R3, Reg::R1, 8), // r3 = path
        Insn::load(Width::W, Reg::R4, Reg::R1, 16), // r4 = (u32)val
        Insn::skip_ne(Reg::R4, 0, TO_END),          // if r4 != 0 goto end
        Insn::mov(Reg::R1, Reg::R10),               // r1 = fp
        Insn::add(Reg::R1, -i32::from(room)),       // r1 -= room
        Insn::set(Reg::R2, length + 1),             // r2 = length + 1
        Insn::call(PROBE_READ_KERNEL_STR),          // r0 = bpf_probe_read_kernel_str(r1, r2, r3)
        Insn::skip_ne(Reg::R0, length, TO_END),     // if r0 != length goto end
    ];
    let mut at = 0;
    for (width, expected) in words(&name) {
        let from = offset(at)? - room;
        body.push(Insn::load(width, Reg::R1, Reg::R10, from)); // r1 = *(width *)(fp - room + at)
        body.extend(Insn::set64(Reg::R2, expected)); //           r2 = expected ll
        body.push(Insn::skip_ne_reg(Reg::R1, Reg::R2, TO_END)); // if r1 != r2 goto end
        at += width.bytes();
    }
    body.extend(report(ring, -room - 8));
    finish(body)
}

/// Cuts bytes into the words that a program can load.
fn words(mut bytes: &[u8]) -> Vec<(Width, u64)> {
    let mut words = Vec::new();
    for width in [Width::Dw, Width::W, Width::H, Width::B] {
        while bytes.len() >= width.bytes() {
            let (word, rest) = bytes.split_at(width.bytes());
            let mut padded = [0u8; 8];
            if cfg!(target_endian = "little") {
                padded[..word.len()].copy_from_slice(word);
            } else {
                padded[8 - word.len()..].copy_from_slice(word);
            }
            words.push((width, u64::from_ne_bytes(padded)));
            bytes = rest;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_into_words_without_loss() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).collect();
            let cut = words(&bytes);
            let total: usize = cut.iter().map(|(w, _)| w.bytes()).sum();
            assert_eq!(total, bytes.len());
            let joined: Vec<u8> = cut
                .iter()
                .flat_map(|(w, v)| v.to_le_bytes()[..w.bytes()].to_vec())
                .collect();
            assert_eq!(joined, bytes);
        }
    }

    #[test]
    fn a_path_that_does_not_fit_the_stack_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(
            program(&[b'a'; 300], null.as_fd()),
            Err(Errno::ENAMETOOLONG)
        );
        let short = program(b"/run/trial/site", null.as_fd()).unwrap();
        assert!(short.len() < 60, "{}", short.len());
    }
}
