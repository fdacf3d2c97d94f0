//! Let the notification window pass beforehand: the cgroup has been populated for a while when the
//! workload enters it.
//!
//! The kernel holds back an event of `cgroup.events` that follows another within 10 to 20 ms. The
//! start of a short job is such an event. If a placeholder has populated the cgroup earlier, the
//! start is no transition, and the end is the first event for a long time.

use std::sync::Arc;
use std::time::Duration;

use super::level::{Level, entered, entered_behind_gate};
use super::pool::{Placeholder, Pool};
use super::sleep::{self, Slept};
use super::{
    Counters, DetectError, Detector, DetectorSpec, Progress, Signal, Sources, Tally, Wake, Watch,
};
use nix::errno::Errno;

use crate::MonoNs;
use crate::cgroup::{Cgroup, remove_when_empty};
use crate::effects::Effects;
use crate::error::SysError;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::param::{Axis, Unit};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, Gate, SpawnOptions};
use crate::sys::time::now;

/// A placeholder in the cgroup, replaced by the workload after the window has passed; then as
/// `cgroup-events-poll`.
#[derive(Debug)]
pub struct PrepopulatedCgroup;

const WARM_UP: Axis = Axis {
    name: "warm-up",
    unit: Unit::Nanoseconds,
    default: 25_000_000,
    kill_default: None,
    doc: "how long prepopulated-cgroup keeps the cgroup populated beforehand; 0: the pool is \
        empty, fall back",
};

const PLACEHOLDER_EXECS: Axis = Axis {
    name: "placeholder-execs",
    unit: Unit::Count,
    default: 0,
    kill_default: None,
    doc: "1: the placeholder is the workload's own process, waiting before exec (no pool: it is \
        made for this launch); 0: another one from the pool, ended when the workload is in",
};

const POOL_SIZE: Axis = Axis {
    name: "pool-size",
    unit: Unit::Count,
    default: 1,
    kill_default: None,
    doc: "warm cgroups that prepopulated-cgroup keeps; 0: none, fall back",
};

const BURST: Axis = Axis {
    name: "burst",
    unit: Unit::Count,
    default: 0,
    kill_default: None,
    doc: "launches that have taken from the pool just before this one",
};

const REFILL: Axis = Axis {
    name: "refill",
    unit: Unit::Count,
    default: 1,
    kill_default: None,
    doc: "1: the pool is refilled after each launch of the burst, with cgroups that are cold at \
        first; 0: it is not",
};

/// How long it may take to notice that another process has removed the cgroup while an event was
/// held back.
const REMOVAL: Duration = Duration::from_secs(1);

static SPEC: DetectorSpec = DetectorSpec {
    id: "prepopulated-cgroup",
    summary: "Polls cgroup.events of a cgroup that a placeholder had populated for longer than the \
        kernel's notification window.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects {
        gates_spawn: true,
        ..Effects::descriptors(1)
    },
    since: KernelVersion(5, 7),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "one wake-up. 10 to 20 ms if the pool had no warm cgroup, if the placeholder outlived \
        the workload, or if the cgroup was empty in between or was frozen",
    idle_cost: "a read a second; a sleeping process per warm cgroup",
    overflow: "cannot: events merge, and the state is read again",
    loses_on_removal: false,
    sources: &[
        "cgroups(7)",
        "kernel/cgroup/cgroup.c: cgroup_file_notify(), CGROUP_FILE_NOTIFY_MIN_INTV (b12e35832805, \
            Linux 4.18)",
        "clone3(2): CLONE_INTO_CGROUP",
    ],
    axes: &[WARM_UP, PLACEHOLDER_EXECS, POOL_SIZE, BURST, REFILL],
};

impl Detector for PrepopulatedCgroup {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::events(host)
    }

    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Watch>, DetectError> {
        let warm_up = Duration::from_nanos(set.param(&WARM_UP));
        let level = Level::open(set.cgroup())?;
        let begun = now();
        let holder = match (warm_up.is_zero(), set.param(&PLACEHOLDER_EXECS)) {
            (true, _) => Holder::Nobody,
            (false, 0) => match from_pool(set, warm_up)? {
                Some(placeholder) => Holder::Other(placeholder, spawn.gate()?),
                None => Holder::Nobody,
            },
            (false, _) => Holder::Itself(spawn.gate()?, warm_up),
        };
        Ok(Box::new(Polling {
            cgroup: set.cgroup().clone(),
            holder,
            level,
            tally: Tally::from(Counters {
                prepare_ns: now().0 - begun.0,
                ..Counters::default()
            }),
        }))
    }
}

/// The placeholder of the site, if the site is what a pool would hand out for this launch. `None`:
/// the pool had no warm cgroup.
///
/// The launches of a burst take the cgroups beside the site. The pool's member number `burst` *is*
/// the site, so this launch gets it if each launch before got one. Those that are not needed leave
/// before the workload is born.
fn from_pool(set: &ProcessSet, warm_up: Duration) -> Result<Option<Placeholder>, DetectError> {
    let burst = set.param(&BURST);
    let mut beside = Vec::new();
    let mut make = |number: u64| {
        if number == burst {
            return set.cgroup().try_clone();
        }
        let parent = set
            .parent()
            .ok_or_else(|| SysError::plain("make a cgroup beside the set", Errno::ENOENT))?;
        let cgroup = parent.create(&format!("warm-{number}"))?;
        beside.push(cgroup.try_clone()?);
        Ok(cgroup)
    };
    let mut pool = Pool::new(
        usize::try_from(set.param(&POOL_SIZE)).unwrap_or(usize::MAX),
        warm_up,
    );
    pool.refill(&mut make)?;
    pool.wait_warm();
    for _ in 0..burst {
        if let Some(taken) = pool.take() {
            taken.placeholder.leave()?;
        }
        if set.param(&REFILL) != 0 {
            pool.refill(&mut make)?;
        }
    }
    let ours = pool.take();
    pool.drain()?;
    for cgroup in beside {
        remove_when_empty(cgroup)?;
    }
    Ok(ours.map(|warm| warm.placeholder))
}

/// What populates the cgroup before the workload runs.
#[derive(Debug)]
enum Holder {
    /// Nothing: there was no warm cgroup.
    Nobody,
    /// Another process, which leaves while the workload waits at the gate.
    Other(Placeholder, Gate),
    /// The workload's own process, which waits at the gate for as long as the window lasts.
    Itself(Gate, Duration),
}

#[derive(Debug)]
struct Polling {
    cgroup: Arc<Cgroup>,
    holder: Holder,
    level: Level,
    tally: Tally,
}

impl Watch for Polling {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let begun = now();
        let open = |gate: Gate| gate.open().map_err(|e| SysError::plain("open the gate", e));
        let counters = &mut self.tally.counters;
        match std::mem::replace(&mut self.holder, Holder::Nobody) {
            Holder::Nobody => {
                counters.fallbacks += 1;
                entered(child)?;
            }
            Holder::Other(placeholder, gate) => {
                entered_behind_gate(child, &self.cgroup)?;
                placeholder.leave()?;
                open(gate)?;
            }
            Holder::Itself(gate, warm_up) => {
                entered_behind_gate(child, &self.cgroup)?;
                let warm = begun + warm_up;
                match sleep::until(warm, warm) {
                    Slept::Woken(_) | Slept::Deadline => {}
                }
                let asked = now();
                open(gate)?;
                counters.asked_ns = asked.0;
                counters.prepare_ns = asked.0 - begun.0;
            }
        }
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().priority(&self.level.events)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let verdict = self.level.look(now, self.tally.check());
        Ok(Progress::of(verdict).look_at(now + REMOVAL))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}
