//! One BPF program on the tracepoint `cgroup_notify_populated` for all sites: it looks the path up
//! in a map and reports the site's number.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::roster::{Roster, State};
use super::{Completion, Fleet, Mechanism, MechanismSpec};
use crate::MonoNs;
use crate::cgroup::Cgroup;
use crate::detect::sleep::{self, Slept};
use crate::detect::{Counters, DetectError, kernel_path, limit};
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::sys::bpf::{
    FORCE_WAKEUP, Insn, MAP_LOOKUP_ELEM, PROBE_READ_KERNEL_STR, RINGBUF_OUTPUT, RawTracepoint, Reg,
    RingBuffer, TO_END, Width, finish,
};
use crate::sys::bpf_map::HashMap;
use crate::sys::fork::Worker;
use crate::sys::time::now;

/// The mechanism.
#[derive(Debug)]
pub(super) struct BpfNotifyPopulated;

static SPEC: MechanismSpec = MechanismSpec {
    id: "bpf-notify-populated",
    summary: "One BPF program on cgroup_notify_populated finds the site by its path in a map and \
        reports it; the reader reads that site.",
    descriptors_per_site: 0,
    cost: "does not depend on the number of sites: one look-up in a hash map; a full ring costs a \
        read of each of them",
    limit: "memory of the map: about 250 bytes for each site",
    sources: &[
        "include/trace/events/cgroup.h: cgroup_notify_populated",
        "Documentation/bpf/map_hash.rst",
        "Documentation/bpf/ringbuf.rst",
    ],
};

/// The longest path, with its end; a longer one cannot be watched.
const KEY_BYTES: i16 = 192;
/// Room for 16 384 reports of 16 bytes: every site of a large fleet may end before the reader runs.
const RING_BYTES: u32 = 1 << 18;
/// Bytes of a report: header and number.
const REPORT_BYTES: u64 = 16;

impl Mechanism for BpfNotifyPopulated {
    fn spec(&self) -> &'static MechanismSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match crate::detect::by_id(SPEC.id) {
            // The same tracepoint, ring and privileges; that it reports a cgroup of ours is tried
            // there.
            Some(detector) => detector.probe(host),
            None => Ok(Support::missing(
                "the detector of that name is not registered",
                "register it",
            )),
        }
    }

    fn open(&self, sites: usize) -> Result<Box<dyn Fleet>, DetectError> {
        let failed = |op| move |e| limit::descriptor(SysError::plain(op, e));
        let entries = u32::try_from(sites.max(1))
            .map_err(|_| SysError::plain("count sites", Errno::E2BIG))?;
        let ring = RingBuffer::create(RING_BYTES).map_err(failed("create a BPF ring buffer"))?;
        let numbers = HashMap::create(KEY_BYTES.unsigned_abs().into(), entries)
            .map_err(failed("create a BPF map"))?;
        let program =
            program(numbers.as_fd(), ring.as_fd()).map_err(failed("assemble the BPF program"))?;
        let attached =
            RawTracepoint::attach(c"cgroup_notify_populated", &program).map_err(|e| {
                SysError::path(
                    "attach a BPF program to",
                    "cgroup_notify_populated",
                    e.errno,
                )
            })?;
        Ok(Box::new(Listening {
            ring,
            numbers,
            _attached: attached,
            roster: Roster::default(),
        }))
    }
}

/// The program. Arguments of the tracepoint: `(struct cgroup *cgrp, const char *path, int val)`.
fn program(numbers: BorrowedFd<'_>, ring: BorrowedFd<'_>) -> Result<Vec<Insn>, Errno> {
    const NUMBER: i16 = -KEY_BYTES - 8;
    let mut body = vec![
        Insn::load(Width::Dw, Reg::R3, Reg::R1, 8), // r3 = path
        Insn::load(Width::W, Reg::R4, Reg::R1, 16), // r4 = (u32)val
        Insn::skip_ne(Reg::R4, 0, TO_END),          // if r4 != 0 goto end
        Insn::set(Reg::R1, 0),                      // r1 = 0
    ];
    // The key is compared whole, so what is behind the path has to be zero.
    for at in (-KEY_BYTES..0).step_by(8) {
        body.push(Insn::store(Width::Dw, Reg::R10, at, Reg::R1)); // *(u64 *)(fp + at) = r1
    }
    body.extend([
        Insn::mov(Reg::R1, Reg::R10),              // r1 = fp
        Insn::add(Reg::R1, -i32::from(KEY_BYTES)), // r1 -= KEY_BYTES
        Insn::set(Reg::R2, i32::from(KEY_BYTES)),  // r2 = KEY_BYTES
        Insn::call(PROBE_READ_KERNEL_STR),         // bpf_probe_read_kernel_str(r1, r2, r3)
    ]);
    body.extend(Insn::set_map(Reg::R1, numbers)); //  r1 = numbers ll
    body.extend([
        Insn::mov(Reg::R2, Reg::R10),                      // r2 = fp
        Insn::add(Reg::R2, -i32::from(KEY_BYTES)),         // r2 -= KEY_BYTES
        Insn::call(MAP_LOOKUP_ELEM),                       // r0 = bpf_map_lookup_elem(r1, r2)
        Insn::skip_eq(Reg::R0, 0, TO_END),                 // if r0 == 0 goto end
        Insn::load(Width::Dw, Reg::R1, Reg::R0, 0),        // r1 = *(u64 *)r0
        Insn::store(Width::Dw, Reg::R10, NUMBER, Reg::R1), // *(u64 *)(fp + NUMBER) = r1
    ]);
    body.extend(Insn::set_map(Reg::R1, ring)); //     r1 = ring ll
    body.extend([
        Insn::mov(Reg::R2, Reg::R10),          // r2 = fp
        Insn::add(Reg::R2, i32::from(NUMBER)), // r2 += NUMBER
        Insn::set(Reg::R3, 8),                 // r3 = 8
        Insn::set(Reg::R4, FORCE_WAKEUP),      // r4 = BPF_RB_FORCE_WAKEUP
        Insn::call(RINGBUF_OUTPUT),            // bpf_ringbuf_output(r1, r2, r3, r4)
    ]);
    finish(body)
}

#[derive(Debug)]
struct Listening {
    ring: RingBuffer,
    numbers: HashMap,
    _attached: RawTracepoint,
    roster: Roster,
}

impl Fleet for Listening {
    fn watch(&mut self, site: usize, cgroup: &Cgroup) -> Result<(), DetectError> {
        let path = kernel_path::of(cgroup.path())?;
        let name = path.as_os_str().as_encoded_bytes();
        // One byte stays for the end: a longer path is cut there by the program, and then matches
        // no site.
        if name.len() + 2 > usize::from(KEY_BYTES.unsigned_abs()) {
            return Err(SysError::path("watch", path, Errno::ENAMETOOLONG).into());
        }
        let number = u64::try_from(site).unwrap_or(u64::MAX);
        self.numbers
            .insert(name, number)
            .map_err(|e| SysError::path("enter into the BPF map", &path, e))?;
        self.roster.add(site, State::path(cgroup))
    }

    fn started(&mut self, site: usize, _: &Worker) -> Result<(), DetectError> {
        self.roster.start(site);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs, over: &mut Vec<Completion>) -> Result<(), DetectError> {
        let found = over.len();
        self.roster.look_at_fresh(now(), over);
        while over.len() == found {
            let mut fds = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
            let Slept::Woken(woke) = sleep::on(&mut fds, deadline)? else {
                return Ok(());
            };
            let roster = &mut self.roster;
            roster.counters.wakeups += 1;
            let taken = self.ring.drain(|number| {
                let site = usize::try_from(number).unwrap_or(usize::MAX);
                if !roster.look(site, woke, over) {
                    roster.counters.spurious += 1;
                }
            });
            // Full: reports may have been dropped, for unknown sites.
            if (taken + 1) * REPORT_BYTES >= u64::from(RING_BYTES) {
                roster.counters.overflows += 1;
                roster.look_at_all(woke, over);
            }
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.roster.counters
    }
}
