//! Kill strategies with a fault, and the same without it.

use std::sync::Arc;
use std::time::Duration;

use allgone::ProcessSet;
use allgone::cgroup::Cgroup;
use allgone::host::{Host, ProbeError, Support};
use allgone::kill::signal::{by_number, by_pidfd};
use allgone::spawn::{Child, SpawnOptions};
use harness::MonoNs;
use harness::error::SysError;
use harness::kill::{
    self, AnyStrategy, BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec,
};
use harness::sys::ledger::Ledger;
use harness::sys::{pidfd, time};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::stand_ins::ledger;

/// Reads the list of members once and signals those; without the fault it freezes them before.
pub(super) fn one_pass(faulty: bool) -> AnyStrategy {
    pick(
        faulty,
        [&Made(OnePass::make, true), &Made(OnePass::make, false)],
    )
}

/// Signals by numbers that it read long ago; without the fault it makes sure of each.
pub(super) fn remembering(faulty: bool) -> AnyStrategy {
    pick(
        faulty,
        [
            &Made(Remembering::make, true),
            &Made(Remembering::make, false),
        ],
    )
}

/// How many orphans the tree has whose numbers are remembered.
pub(super) const ORPHANS: u32 = 4;

fn pick(faulty: bool, [with, without]: [&'static Made; 2]) -> AnyStrategy {
    AnyStrategy::Blocking(if faulty { with } else { without })
}

/// A strategy, and whether it has its fault.
#[derive(Debug)]
struct Made(fn(&ProcessSet, bool) -> Box<dyn BlockingKiller>, bool);

impl BlockingStrategy for Made {
    /// Of a strategy that hits nobody else.
    fn spec(&self) -> &'static KillSpec {
        kill::by_id("freeze-kill").expect("it is registered").spec()
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok((self.0)(set, self.1))
    }
}

/// Pauses until `done`, checked each millisecond.
fn pause(deadline: MonoNs, mut done: impl FnMut() -> bool) -> Result<(), KillError> {
    while !done() {
        if deadline.has_passed() {
            return Err(SysError::plain("see the fault's moment come", Errno::ETIMEDOUT).into());
        }
        nix::poll::poll(&mut [], 1u8).map_err(|e| SysError::plain("poll", e))?;
    }
    Ok(())
}

fn the_ledger() -> Result<Ledger, KillError> {
    ledger().ok_or_else(|| SysError::plain("find the ledger", Errno::ENOENT).into())
}

#[derive(Debug)]
struct OnePass {
    cgroup: Arc<Cgroup>,
    holds: bool,
}

impl OnePass {
    fn make(set: &ProcessSet, faulty: bool) -> Box<dyn BlockingKiller> {
        Box::new(Self {
            cgroup: set.cgroup().clone(),
            holds: !faulty,
        })
    }
}

impl BlockingKiller for OnePass {
    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let births = || Ok::<_, KillError>(the_ledger()?.sums().births);
        if self.holds {
            self.cgroup.freeze(true)?;
            pause(deadline, || self.cgroup.events().is_ok_and(|e| e.frozen))?;
        }
        let members = self.cgroup.procs()?.pids;
        let then = births()?;
        // Whoever can fork has done so twice by now.
        let held = self.cgroup.events()?.frozen;
        pause(deadline, || {
            held || births().is_ok_and(|now| now > then + 2)
        })?;
        for pid in members {
            match pidfd::open(Pid::from_raw(pid)) {
                Ok(fd) => {
                    // The answer is in the report.
                    let _sent = by_pidfd(&mut report, &fd, pid, Signal::SIGKILL);
                }
                Err(errno) => report.sent(Err(errno), pid),
            }
        }
        Ok(report.issued())
    }
}

#[derive(Debug)]
struct Remembering {
    cgroup: Arc<Cgroup>,
    makes_sure: bool,
    numbers: Vec<i32>,
}

impl Remembering {
    fn make(set: &ProcessSet, faulty: bool) -> Box<dyn BlockingKiller> {
        Box::new(Self {
            cgroup: set.cgroup().clone(),
            makes_sure: !faulty,
            numbers: Vec::new(),
        })
    }

    /// Whether an outsider has one of the numbers: the harness gives it one, in its own cgroup. A
    /// process that has ended is in none.
    fn is_reused(&self) -> bool {
        self.numbers.iter().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| text.lines().any(|line| line.ends_with("/control")))
        })
    }
}

impl BlockingKiller for Remembering {
    /// The orphans wait until this is done: they are alive.
    fn attach(&mut self, _: &Child) -> Result<(), KillError> {
        let ledger = the_ledger()?;
        let whole = usize::try_from(ORPHANS)
            .unwrap_or(usize::MAX)
            .saturating_add(2);
        pause(time::now() + Duration::from_secs(10), || {
            ledger.entries().count() == whole
        })?;
        self.numbers = self.cgroup.procs()?.pids;
        Ok(())
    }

    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        pause(deadline, || self.is_reused())?;
        for pid in &self.numbers {
            if !self.makes_sure {
                by_number(&mut report, *pid, Signal::SIGKILL);
                continue;
            }
            match pidfd::open(Pid::from_raw(*pid)) {
                // Alive and listed after it was opened: it has had the number all along.
                Ok(fd) if self.cgroup.procs()?.pids.contains(pid) => {
                    let _sent = by_pidfd(&mut report, &fd, *pid, Signal::SIGKILL);
                }
                Ok(_) => {}
                Err(errno) => report.sent(Err(errno), *pid),
            }
        }
        Ok(report.issued())
    }
}
