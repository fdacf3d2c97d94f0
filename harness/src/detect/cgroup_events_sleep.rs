//! Read `cgroup.events` at growing intervals.

use std::time::Duration;

use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::MonoNs;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::{Level, entered};
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// Each sleep is an eighth of the time waited so far, so the answer is late in proportion.
#[derive(Debug)]
pub(super) struct CgroupEventsSleep;

const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(50);
const SHARE: u32 = 8;

static SPEC: DetectorSpec = DetectorSpec {
    id: "cgroup-events-sleep",
    summary: "Reads populated at intervals of an eighth of the time waited so far, from 50 us to \
        50 ms.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(4, 5),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to an eighth of the time waited, at most 50 ms, and the timer slack (50 us)",
    idle_cost: "about 55 reads in the first 100 ms, 20 a second after half a second",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["cgroups(7)", "clock_nanosleep(2)"],
    axes: &[],
};

impl Detector for CgroupEventsSleep {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::events(host)
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Sleeping {
            level: Level::open(set.cgroup())?,
            begun: None,
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Sleeping {
    level: Level,
    /// The first look.
    begun: Option<MonoNs>,
    tally: Tally,
}

/// How long to sleep after having waited for `waited`.
fn pause(waited: Duration) -> Duration {
    (waited / SHARE).clamp(SHORTEST, LONGEST)
}

impl Watch for Sleeping {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let verdict = self.level.look(now, self.tally.check());
        let begun = *self.begun.get_or_insert(now);
        Ok(Progress::of(verdict).look_at(now + pause(now.since(begun))))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_in_proportion_between_their_bounds() {
        assert_eq!(pause(Duration::ZERO), SHORTEST);
        assert_eq!(pause(Duration::from_millis(80)), Duration::from_millis(10));
        assert_eq!(pause(Duration::from_secs(3600)), LONGEST);
    }

    #[test]
    fn the_stated_cost_is_the_real_one() {
        let (mut at, mut looks) = (Duration::ZERO, 0);
        while at < Duration::from_millis(100) {
            at += pause(at);
            looks += 1;
        }
        assert!((45..65).contains(&looks), "{looks}");
    }
}
