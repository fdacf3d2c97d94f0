//! A kill, watched from the harness: the canaries beside it, the moment when nothing of the tree is
//! alive, and the proof that a process will survive.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::TrialError;
use super::canary::LiveCanary;
use super::oracle::{self, State, SurvivalProof};
use super::prepare::Trial;
use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::{Recorded, SysError};
use crate::expect::Canary;
use crate::sys::time;
use crate::sys::wait::Change;

/// How long after the kill the oracle starts to look for survivors.
const DYING: Duration = Duration::from_millis(50);
/// The same for strategies whose signals follow only when another process has ended, which takes
/// time on a busy machine.
const DYING_INDIRECTLY: Duration = Duration::from_secs(1);

/// The canaries of one trial.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    pub(super) live: Vec<LiveCanary>,
    /// How those ended that were dead and reaped before they were reported.
    pub(super) dead: Vec<(Canary, Change)>,
}

/// What is watched while a strategy acts.
#[derive(Debug)]
pub(super) struct Killing {
    pub(super) canaries: Canaries,
    /// The last canary has been reported.
    canaries_ready: bool,
    /// An outsider is still to get the pid of a member that has been reaped.
    reusing: bool,
    /// When the harness learned that the strategy had issued its kill.
    said_at: Option<MonoNs>,
    survival: SurvivalProof,
    /// It is proved that a process survives.
    pub(super) lives_on: bool,
}

impl Killing {
    /// Nothing is started yet. `reusing`: with the canary that gets a member's pid.
    pub(super) fn new(reusing: bool) -> Self {
        Self {
            canaries: Canaries::default(),
            canaries_ready: false,
            reusing,
            said_at: None,
            survival: SurvivalProof::default(),
            lives_on: false,
        }
    }

    /// Starts the canaries that do not need the tree. After an error some may be there.
    pub(super) fn start_canaries(&mut self, trial: &Trial<'_, '_>) -> Result<(), SysError> {
        self.canaries.live.push(LiveCanary::same_uid(&trial.site)?);
        self.canaries
            .live
            .push(LiveCanary::parent_cgroup(&trial.site)?);
        Ok(())
    }

    /// The observer has started a canary.
    pub(super) fn take_canary(&mut self, trial: &mut Trial<'_, '_>, pid: i32) {
        self.canaries_ready = true;
        // A kill may be over before its bystander is reported.
        if let Some(status) = trial.run.reaper.status_of(Pid::from_raw(pid)) {
            self.canaries.dead.push((Canary::SameGroup, status));
            return;
        }
        match LiveCanary::adopt(Canary::SameGroup, pid) {
            Ok(canary) => self.canaries.live.push(canary),
            Err(e) => trial.record.errors.push(e.recorded()),
        }
    }

    /// The strategy has sent all that it will send.
    pub(super) fn take_issued(&mut self, trial: &mut Trial<'_, '_>) {
        for canary in &mut self.canaries.live {
            trial
                .record
                .errors
                .extend(canary.issued().err().map(|e| e.recorded()));
        }
    }

    /// Looks once at everything that a kill changes.
    pub(super) fn look(&mut self, trial: &mut Trial<'_, '_>) -> Result<(), TrialError> {
        for canary in &mut self.canaries.live {
            canary.look()?;
        }
        self.look_at_tree(trial)?;
        if self.reusing && self.canaries_ready {
            self.reusing = !self.reuse_pid(trial);
        }
        Ok(())
    }

    /// When is the site unpopulated, and if it is not, will a process survive?
    fn look_at_tree(&mut self, trial: &mut Trial<'_, '_>) -> Result<(), CgroupError> {
        let Trial { site, record, .. } = trial;
        let started = record.stamps.spawn_ns.is_some();
        if !started || record.stamps.unpopulated_ns.is_some() {
            return Ok(());
        }
        if oracle::look(site)? != State::Populated {
            record.stamps.unpopulated_ns = Some(time::now().0);
            return Ok(());
        }
        if let Some(report) = &record.kill {
            let now = time::now();
            let said = *self.said_at.get_or_insert(now);
            let patience = if report.indirect {
                DYING_INDIRECTLY
            } else {
                DYING
            };
            if now.since(said) > patience && self.survival.is_proved(site)? {
                self.lives_on = true;
            }
        }
        Ok(())
    }

    /// The trap for strategies that kill by number: an outsider gets the pid that a member of the
    /// set has just freed, once the tree is in the state in which it is to be killed. True: it is
    /// done, or cannot be done.
    fn reuse_pid(&mut self, trial: &mut Trial<'_, '_>) -> bool {
        let Trial {
            run, site, record, ..
        } = trial;
        let freed = run.reaper.take_last();
        let (true, Some(freed)) = (site.ledger.wait_ready(MonoNs(0)), freed) else {
            return false;
        };
        let live = &mut self.canaries.live;
        if live.iter().any(|canary| canary.pid == freed) {
            return false;
        }
        match LiveCanary::with_number(site, freed) {
            Ok(mut canary) => {
                record.stamps.reused_ns = Some(time::now().0);
                run.reaper.has_new_owner(freed);
                if record.kill.as_ref().is_some_and(|report| !report.indirect) {
                    record
                        .errors
                        .extend(canary.issued().err().map(|e| e.recorded()));
                }
                live.push(canary);
                true
            }
            // Another process has the pid already; the next one that is freed will do.
            Err(Errno::EEXIST) => false,
            // A process may be given a number by root (CAP_CHECKPOINT_RESTORE) and since Linux 5.5;
            // the record has no stamp then.
            Err(_) => true,
        }
    }
}
