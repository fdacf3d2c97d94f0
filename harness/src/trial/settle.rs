//! The third phase of a trial, after the verdict: the truth, and, after a kill that left nothing
//! alive, its last stages, reaping and removal.

use std::time::Duration;

use allgone::survivors::{self, Survivor};
use nix::errno::Errno;

use super::broken::Broken;
use super::killing::Canaries;
use super::observe::{End, Observed, Tree};
use super::oracle::{self, State, SurvivalProof};
use super::prepare::Trial;
use super::{Site, TrialError, leaks};
use crate::error::Recorded;
use crate::proc;
use crate::sys::time;

/// How long reaping and removing may take before they count as not seen.
const LAST_STAGES: Duration = Duration::from_secs(1);

/// A trial of which everything is known that can be known.
#[derive(Debug)]
pub(super) struct Settled<'t, 'b> {
    pub(super) trial: Trial<'t, 'b>,
    pub(super) end: End,
    pub(super) failed: Option<TrialError>,
    pub(super) canaries: Canaries,
    pub(super) tree: Tree,
}

impl<'t, 'b> Observed<'t, 'b> {
    /// Waits for the end of an undisturbed tree, or for the death of the last process after a kill,
    /// and then for the last stages of the kill. After a failure nothing is waited for.
    pub(super) fn settle(mut self) -> Settled<'t, 'b> {
        if self.failed.is_none() {
            let settled = self.truth().and_then(|()| self.reap_and_remove());
            self.failed = settled.err();
        }
        Settled {
            trial: self.trial,
            end: self.end,
            failed: self.failed,
            canaries: self.canaries,
            tree: self.tree,
        }
    }

    /// Establishes since when nothing has been alive, and otherwise what survives.
    fn truth(&mut self) -> Result<(), TrialError> {
        match self.end {
            End::Whole => {
                if let Some(stopped) = self.wait_for_end()? {
                    self.end = End::Broken(stopped);
                    return Ok(());
                }
            }
            End::LivesOn => {}
            End::Damaged(_) | End::ObserverGone(..) | End::Broken(_) | End::Interrupted => {
                return Ok(());
            }
        }
        let kills = self.trial.kills();
        let Trial {
            site,
            record,
            outside,
            ..
        } = &mut self.trial;
        record.stamps.over_upper_ns = record.stamps.unpopulated_ns;
        record.stamps.over_lower_ns = match (kills, outside) {
            // A program's last sign of life, if it came after the first signal.
            (true, outside) => {
                let first = record.kill.as_ref().map(|k| k.first_signal_ns);
                first.max(outside.as_ref().and_then(|outside| outside.bounds().0))
            }
            (false, None) => site.ledger.sums().last_exit.map(|at| at.0),
            (false, Some(outside)) => outside.bounds().0,
        };
        record.stamps.running_ns = site.ledger.entries().map(|entry| entry.born.0).min();
        record.idle = self.samples.of(record);
        if kills && record.stamps.unpopulated_ns.is_none() {
            match survivors::diagnose(&site.cgroup) {
                Ok(survivors) => record.survivors = survivors.into_iter().map(recorded).collect(),
                Err(e) => record.errors.push(e.recorded()),
            }
            record.survivors.extend(survivors_outside(site)?);
        }
        Ok(())
    }

    /// Waits until the site is unpopulated, or the deadline has passed, or the run has to end. Not
    /// if something has stopped a process: that is returned.
    fn wait_for_end(&mut self) -> Result<Option<Broken>, TrialError> {
        let kills = self.trial.kills();
        let Trial {
            run,
            spec,
            site,
            record,
            outside,
            ..
        } = &mut self.trial;
        let deadline = match kills {
            true => oracle::settle_deadline(spec.deadline),
            false => oracle::settle_deadline(spec.patience()),
        };
        let mut survival = SurvivalProof::default();
        while record.stamps.unpopulated_ns.is_none() {
            if let (Some(outside), false) = (outside.as_mut(), kills) {
                outside.look(site)?;
                record.stamps.unpopulated_ns = outside.bounds().1;
                if record.stamps.unpopulated_ns.is_some()
                    || deadline.has_passed()
                    || run.reaper.ending().is_some()
                {
                    break;
                }
                let told: Vec<_> = outside.fd().into_iter().collect();
                run.rest(&told, oracle::SETTLE_TICK)?;
                continue;
            }
            let state = oracle::look(site)?;
            let sums = site.ledger.sums();
            // Before 6.19 `populated 0` comes before the exit is reported, since then after it;
            // stamps come before both. So a stamp that is missing in an empty site will never come.
            // A tree of which nothing is known yet may be on its way into the site.
            let begun = sums.births > 0 || self.tree.main_ended;
            if state != State::Populated && (kills || begun) {
                record.stamps.unpopulated_ns = Some(time::now().0);
                break;
            }
            if deadline.has_passed() || run.reaper.ending().is_some() {
                break;
            }
            // What lives outside has not been watched while the strategy acted: the site is empty.
            if kills && site.outside && survival.is_proved(site)? {
                break;
            }
            if !kills && !spec.workload.stops {
                // Nothing of such a trial stops anything.
                let stopped = oracle::stopped(site)?;
                if !stopped.is_empty() {
                    return Ok(Some(Broken::stopped(&stopped)));
                }
            }
            run.rest(&[], oracle::SETTLE_TICK)?;
        }
        Ok(None)
    }

    /// The last stages of a kill that left nothing alive: every child and orphan is reaped, and the
    /// directory is removed. What does not come to pass in [`LAST_STAGES`] has no stamp; cleaning
    /// up is done later and for all.
    fn reap_and_remove(&mut self) -> Result<(), TrialError> {
        let kills = self.trial.kills();
        let Trial {
            run, site, record, ..
        } = &mut self.trial;
        if !kills
            || record.stamps.unpopulated_ns.is_none()
            || matches!(self.end, End::Broken(_) | End::Interrupted)
        {
            return Ok(());
        }
        let deadline = time::now() + LAST_STAGES;
        let mut expected = run.expected_children();
        expected.extend(self.canaries.live.iter().map(|canary| canary.pid));
        loop {
            if record.stamps.reaped_ns.is_none() && leaks::stray_children(&expected)?.is_empty() {
                record.stamps.reaped_ns = Some(time::now().0);
            }
            if record.stamps.removed_ns.is_none() {
                match site.cgroup.try_clone()?.remove_tree() {
                    Ok(()) => record.stamps.removed_ns = Some(time::now().0),
                    Err((_, e)) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => {
                        record.stamps.removed_ns = Some(time::now().0);
                    }
                    // The kernel has not released the dead processes yet.
                    Err((_, e)) if e.errno() == Some(Errno::EBUSY) => {}
                    Err((_, e)) => return Err(e.into()),
                }
            }
            let both = record.stamps.reaped_ns.is_some() && record.stamps.removed_ns.is_some();
            if both || deadline.has_passed() {
                return Ok(());
            }
            run.rest(&[], oracle::KILL_TICK)?;
        }
    }
}

/// The survivors that live outside of the site.
fn survivors_outside(site: &Site) -> Result<Vec<crate::record::Survivor>, TrialError> {
    let mut survivors = Vec::new();
    for pid in oracle::outside(site)? {
        let stat = match proc::stat(pid) {
            Err(e) if proc::vanished(&e) => continue,
            other => other?,
        };
        survivors.push(crate::record::Survivor {
            pid,
            comm: stat.comm,
            state: stat.state.to_string(),
            cgroup: site.control.path().display().to_string(),
            reason: "not-signalled".to_owned(),
            evidence: "it lives in a cgroup outside of the site".to_owned(),
        });
    }
    Ok(survivors)
}

/// A survivor as it stands in a record.
fn recorded(survivor: Survivor) -> crate::record::Survivor {
    crate::record::Survivor {
        pid: survivor.pid,
        comm: survivor.comm,
        state: survivor.state.to_string(),
        cgroup: survivor.cgroup,
        reason: survivor.reason.id().to_owned(),
        evidence: survivor.evidence,
    }
}
