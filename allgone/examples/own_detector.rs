//! A mechanism of one's own: a detector that looks at `pids.current` of the cgroup, and a loop that
//! plays it.
//!
//! `cargo run --example own_detector -- /sys/fs/cgroup/BASE` with a cgroup below which this process
//! may make others, and whose children have the pids controller.
#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use allgone::cgroup::{Cgroup, remove_when_empty};
use allgone::detect::{
    Counters, DetectError, Detector, DetectorSpec, Progress, Signal, Sources, Tally, Verdict, Wake,
    Watch,
};
use allgone::host::{Host, KernelVersion, ProbeError, Support, probe};
use allgone::job::Command;
use allgone::scope::Scope;
use allgone::spawn::{Child, SpawnOptions};
use allgone::sys::time;
use allgone::{Effects, MonoNs, ProcessSet};

/// Reads `pids.current` every two milliseconds.
#[derive(Debug)]
struct PidsCurrent;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pids-current",
    summary: "Reads pids.current at intervals.",
    scope: Scope::Cgroup,
    wake: Wake::Interval,
    signal: Signal::Emptiness,
    effects: Effects::NONE,
    since: KernelVersion(4, 5),
    privilege: "the pids controller",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "by up to one interval, and until the last process has been reaped: a zombie counts",
    idle_cost: "three system calls each interval",
    overflow: "cannot: it reads the state",
    loses_on_removal: false,
    sources: &["Documentation/admin-guide/cgroup-v2.rst: pids.current"],
    axes: &[],
};

impl Detector for PidsCurrent {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |cgroup| match cgroup.read("pids.current") {
            Ok(_) => Ok(Support::Available),
            Err(e) => Ok(Support::missing(
                e,
                "enable the pids controller for the children of the base",
            )),
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Reading {
            cgroup: set.cgroup().clone(),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Reading {
    cgroup: Arc<Cgroup>,
    tally: Tally,
}

impl Watch for Reading {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check().reads += 1;
        Ok(match self.cgroup.read("pids.current") {
            Ok(number) if number.trim() == "0" => Progress::done(Verdict::empty(now)),
            Ok(_) => Progress::pending().look_at(now + Duration::from_millis(2)),
            // Unknown is never empty.
            Err(e) => Progress::done(Verdict::from_cgroup(&e)),
        })
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args()
        .nth(1)
        .ok_or("name a cgroup below which others may be made")?;
    let base = Cgroup::open(base)?;
    let set = ProcessSet::new(Arc::new(
        base.create(&format!("own-detector-{}", std::process::id()))?,
    ));
    let mut options = SpawnOptions::default();
    let mut watch = PidsCurrent.arm(&set, &mut options)?;
    let child = Command::new("/bin/sleep")
        .arg("0.1")
        .spawn_in(&set, &options)?;
    watch.attach(&child)?;
    let mut reaped = false;
    // Instead of `watch.wait(...)`: between two checks this program could do other things.
    let verdict = loop {
        // A zombie counts in pids.current, and a program reaps its own children.
        if !reaped {
            reaped = child.try_reap()?.is_some();
        }
        let progress = watch.check(time::now())?;
        if let Some(verdict) = progress.verdict {
            break verdict;
        }
        if let Some(at) = progress.next_look {
            time::sleep_until(at)?;
        }
    };
    println!("{verdict:?} after {:?}", watch.finish());
    remove_when_empty(set.cgroup().try_clone()?)?;
    Ok(())
}
