//! Mechanisms that do something wrong on purpose, in place of a real one.

use std::os::fd::AsFd;

use allgone::host::{Host, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::spawn::{Child, SpawnOptions};
use allgone::{MonoNs, ProcessSet};
use harness::detect::{
    BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict,
};
use harness::error::SysError;
use harness::kill::{self, BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use harness::sys::ledger::Ledger;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send};

use super::common::{reference, wait_until};

/// A strategy under the name of another one.
#[derive(Debug)]
pub(crate) struct StandIn {
    of: &'static str,
    attach: fn(&Child) -> Result<(), KillError>,
    kill: fn(&Child) -> KillReport,
}

/// Ends the main process before the strategy is asked to act, as a kill from outside would.
pub(crate) static VANDAL: StandIn = StandIn {
    of: "cgroup-kill",
    attach: |child| {
        let entered = || ledger().is_some_and(|ledger| ledger.entries().count() > 0);
        let failed = |errno| SysError::pid("end", child.pid.as_raw(), errno);
        wait_until("it plays", entered).map_err(|_| failed(Errno::ETIMEDOUT))?;
        send(child.pid, Signal::SIGKILL).map_err(failed)?;
        let ended = || harness::sys::pidfd::has_exited(child.pidfd.as_fd()) == Ok(true);
        wait_until("it has ended", ended).map_err(|_| failed(Errno::ETIMEDOUT).into())
    },
    kill: |_| KillReport::begin().issued(),
};

/// Stops the main process, and gives up.
pub(crate) static STOPPER: StandIn = StandIn {
    of: "stop-then-kill",
    attach: |_| Ok(()),
    kill: |child| {
        let mut report = KillReport::begin();
        by_number(&mut report, child.pid.as_raw(), Signal::SIGSTOP);
        report.gave_up = true;
        report.issued()
    },
};

impl BlockingStrategy for StandIn {
    fn spec(&self) -> &'static KillSpec {
        kill::by_id(self.of).expect("it is registered").spec()
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(Box::new(Self { ..*self }))
    }
}

impl BlockingKiller for StandIn {
    fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        (self.attach)(child)
    }

    fn kill(&mut self, child: &Child, _: MonoNs) -> Result<KillReport, KillError> {
        Ok((self.kill)(child))
    }
}

/// The ledger of the trial that this process observes: the one that it holds open.
pub(crate) fn ledger() -> Option<Ledger> {
    let mut open = std::fs::read_dir("/proc/self/fd")
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let own = open.find(|fd| {
        std::fs::read_link(fd).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:ledger"))
    })?;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(own)
        .ok()?;
    Ledger::open(file.as_fd()).ok()
}

/// A detector that has no descriptor left when it wants to read.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl BlockingDetector for Exhausted {
    fn spec(&self) -> &'static DetectorSpec {
        reference().spec()
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn arm(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Self))
    }
}

impl BlockingWatch for Exhausted {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn wait(&mut self, _: MonoNs) -> Result<Verdict, DetectError> {
        Ok(Verdict::unknown(SysError::path(
            "open",
            "cgroup.events",
            Errno::EMFILE,
        )))
    }

    fn finish(self: Box<Self>) -> Counters {
        Counters::default()
    }
}
