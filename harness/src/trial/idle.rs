//! What an observer costs while the tree that it watches sleeps, sampled from outside.
//!
//! The harness reads the observer's CPU clock and its count of voluntary switches at intervals; the
//! observer does nothing for this and is not woken by it. The samples that count are chosen
//! afterwards, when the start and the end of the tree are known.
//!
//! Sources: clock_getcpuclockid(3), proc_pid_status(5) (`voluntary_ctxt_switches`).

use std::time::Duration;

use nix::errno::Errno;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::MonoNs;
use crate::error::SysError;
use crate::proc;
use crate::record::Verdict;
use crate::record::{IdleRecord, TrialRecord};
use crate::sys::time;

/// Time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// How long after the spawn the first sample is counted: attaching, a warm-up, and the event of the
/// start itself are over by then.
const SETTLED: Duration = Duration::from_millis(300);

/// The samples of one trial.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: MonoNs,
    cpu_ns: u64,
    wakeups: u64,
}

impl Samples {
    /// Samples `observer`, a child that has not been reaped. If it has just ended, there is nothing
    /// to sample.
    pub(super) fn take(&mut self, observer: Pid) -> Result<(), SysError> {
        match Sample::of(observer) {
            Ok(sample) => self.0.push(sample),
            Err(e) if proc::vanished(&e) || e.errno == Errno::EINVAL => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// What was sampled while the tree slept and the detector waited for it.
    pub(super) fn of(&self, record: &TrialRecord) -> Option<IdleRecord> {
        let spoke = match record.verdict.as_ref()? {
            Verdict::Empty { decided_ns: at, .. }
            | Verdict::SiteRemoved { at_ns: at }
            | Verdict::Unknown { at_ns: at, .. }
            | Verdict::DeadlinePassed { at_ns: at } => *at,
        };
        let end = record
            .stamps
            .over_lower_ns
            .map_or(spoke, |over| over.min(spoke));
        self.between(MonoNs(record.stamps.spawned_ns?), MonoNs(end))
    }

    /// From the first sample after the tree, started at `spawned`, has come to rest, to the last
    /// one before `end`. `None`: fewer than two.
    fn between(&self, spawned: MonoNs, end: MonoNs) -> Option<IdleRecord> {
        let rest = spawned + SETTLED;
        let idle: Vec<&Sample> = self
            .0
            .iter()
            .filter(|s| s.at >= rest && s.at < end)
            .collect();
        let (first, last) = (idle.first()?, idle.last()?);
        (idle.len() > 1).then(|| IdleRecord {
            window_ns: last.at.0 - first.at.0,
            cpu_ns: last.cpu_ns.saturating_sub(first.cpu_ns),
            wakeups: last.wakeups.saturating_sub(first.wakeups),
            samples: u32::try_from(idle.len()).unwrap_or(u32::MAX),
        })
    }
}

impl Sample {
    fn of(observer: Pid) -> Result<Self, SysError> {
        let fail = |op| move |errno| SysError::pid(op, observer.as_raw(), errno);
        let clock = clock_getcpuclockid(observer).map_err(fail("find the CPU clock"))?;
        let wakeups = proc::status(observer.as_raw())?.voluntary_switches;
        let cpu = clock_gettime(clock).map_err(fail("read the CPU clock"))?;
        Ok(Self {
            at: time::now(),
            cpu_ns: u64::try_from(Duration::from(cpu).as_nanos()).unwrap_or(u64::MAX),
            wakeups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: &[u64]) -> Samples {
        let sample = |ms: &u64| Sample {
            at: MonoNs(ms * 1_000_000),
            cpu_ns: ms * 7,
            wakeups: *ms,
        };
        Samples(ms.iter().map(sample).collect())
    }

    #[test]
    fn only_the_rest_counts() {
        let all = samples(&[0, 100, 200, 300, 400, 500, 600]);
        let idle = all
            .between(MonoNs(50_000_000), MonoNs(550_000_000))
            .unwrap();
        let expected = IdleRecord {
            window_ns: 100_000_000,
            cpu_ns: 700,
            wakeups: 100,
            samples: 2,
        };
        assert_eq!(idle, expected, "from 400 ms to 500 ms");
        assert_eq!(
            all.between(MonoNs(50_000_000), MonoNs(450_000_000)),
            None,
            "one sample"
        );
        assert_eq!(samples(&[]).between(MonoNs(0), MonoNs(u64::MAX)), None);
    }

    #[test]
    fn one_can_be_looked_at() {
        let mut samples = Samples::default();
        samples.take(Pid::this()).unwrap();
        samples.take(Pid::this()).unwrap();
        assert!(samples.0[0].cpu_ns > 0 && samples.0[0].cpu_ns <= samples.0[1].cpu_ns);
    }
}
