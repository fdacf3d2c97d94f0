//! Listen to the exits of the tree's processes, and read `populated` after each.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use allgone::detect::bpf::{Reporter, report, support};

use super::common::hinted::{Hinted, Reports};
use super::common::probe;
use super::{DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::bpf::{CURRENT_ANCESTOR_CGROUP_ID, Insn, Reg, TO_END, finish};
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::kernel_path;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::SpawnOptions;

/// A raw tracepoint program on `sched_process_exit`, filtered by
/// `bpf_get_current_ancestor_cgroup_id()`.
#[derive(Debug)]
pub(super) struct BpfSchedExit;

static SPEC: DetectorSpec = DetectorSpec {
    id: "bpf-sched-exit",
    summary: "A BPF program on sched_process_exit reports each exit in the cgroup's subtree; the \
        reader reads populated.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(5),
    since: KernelVersion(5, 8),
    privilege: "CAP_BPF and CAP_PERFMON in the initial user namespace, and the initial cgroup \
        namespace",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "the event comes before the process leaves the cgroup, so up to one of the bounded \
        re-reads that follow (20 us, doubling); after about 10 ms without a flip the next exit or \
        event of cgroup.events is waited for",
    idle_cost: "nothing here; every exit of a thread on the machine runs a program of 16 \
        instructions",
    overflow: "a report that finds the ring full is dropped, but then the reader has unread ones \
        and reads the state anyway",
    loses_on_removal: false,
    sources: &[
        "include/trace/events/sched.h: sched_process_exit",
        "kernel/exit.c: do_exit()",
        "Documentation/bpf/ringbuf.rst",
    ],
    axes: &[],
};

impl Detector for BpfSchedExit {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            support(attach(site).and_then(|reporter| {
                probe::passer_by(site, 0)
                    .map_err(|e| SysError::path("start a process in", site.path(), e))?;
                let mut fds = [PollFd::new(reporter.as_fd(), PollFlags::POLLIN)];
                match sleep::on(&mut fds, now() + HEARING)? {
                    Slept::Woken(_) => Ok(()),
                    Slept::Deadline => {
                        Err(SysError::path("hear of", site.path(), Errno::EXDEV).into())
                    }
                }
            }))
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Hinted::new(
            Reports::<true>(attach(set.cgroup())?),
            set.cgroup(),
        )?))
    }
}

/// How long a probe waits for an event that takes microseconds.
const HEARING: Duration = Duration::from_millis(500);

fn attach(cgroup: &Cgroup) -> Result<Reporter, DetectError> {
    let path = kernel_path::of(cgroup.path())?;
    // The root is level 0 and counts as the first component.
    let level = path.components().count().saturating_sub(1);
    let id = cgroup.id()?;
    Reporter::attach(c"sched_process_exit", |ring| program(level, id, ring))
}

/// The program. At this tracepoint the current task is the one that exits, and still a member of
/// its cgroup.
fn program(level: usize, id: u64, ring: BorrowedFd<'_>) -> Result<Vec<Insn>, Errno> {
    let level = i32::try_from(level).map_err(|_| Errno::ERANGE)?;
    let mut body = vec![
        Insn::set(Reg::R1, level),              // r1 = level
        Insn::call(CURRENT_ANCESTOR_CGROUP_ID), // r0 = bpf_get_current_ancestor_cgroup_id(r1)
    ];
    body.extend(Insn::set64(Reg::R1, id)); //                 r1 = id ll
    body.push(Insn::skip_ne_reg(Reg::R0, Reg::R1, TO_END)); // if r0 != r1 goto end
    body.extend(report(ring, -8));
    finish(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_as_long_as_its_cost_says() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(program(3, 77, null.as_fd()).unwrap().len(), 16);
    }
}
