//! A trial while its observer runs: the observer's messages are read until the last one, or until
//! no more can come; tracepoints, samples and a kill are looked at meanwhile.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::broken::Broken;
use super::idle::{self, Samples};
use super::killing::Killing;
use super::messages::Message;
use super::observe::{End, Observed, Tree};
use super::oracle;
use super::prepare::Trial;
use super::program::Outside;
use super::start::RunningObserver;
use super::{Beside, TrialError};
use crate::error::Recorded;
use crate::record::{Cause, Verdict};
use crate::sys::time;
use crate::sys::wait::Change;

/// How much longer than its own deadlines an observer may take before it is called hung.
const OBSERVER_SLACK: Duration = Duration::from_secs(15);

/// A trial while its observer runs.
#[derive(Debug)]
pub(super) struct Watch<'t, 'b> {
    trial: Trial<'t, 'b>,
    /// In the kill plane.
    killing: Option<Killing>,
    tree: Tree,
    samples: Samples,
    /// The last message has come.
    done: bool,
    broken: Option<Broken>,
    /// Processes that were ended before the strategy acted.
    damaged: Option<Vec<i32>>,
    /// The observer, if it ended without its last message, and how.
    gone: Option<(Pid, Option<Change>)>,
    interrupted: bool,
}

impl<'t, 'b> Watch<'t, 'b> {
    /// Nothing is started yet.
    pub(super) fn new(trial: Trial<'t, 'b>) -> Self {
        let stage = trial.spec.stage;
        let reusing = stage.hostile || stage.beside == Beside::ReusedPid;
        let killing = trial.kills().then(|| Killing::new(reusing));
        Self {
            trial,
            killing,
            tree: Tree::default(),
            samples: Samples::default(),
            done: false,
            broken: None,
            damaged: None,
            gone: None,
            interrupted: false,
        }
    }

    /// Starts canaries and observer, and returns when the observer has been reaped. After an error
    /// it may still run.
    pub(super) fn until_end(&mut self) -> Result<(), TrialError> {
        if let Some(killing) = &mut self.killing {
            killing
                .start_canaries(&self.trial)
                .map_err(|e| match e.errno {
                    // It ended without an answer.
                    Errno::ECHILD => TrialError::Canary,
                    _ => e.into(),
                })?;
        }
        let mut observer = RunningObserver::start(&self.trial)?;
        if let Some(outside) = &mut self.trial.outside {
            outside.observed_by(observer.pid());
        }
        self.follow(&mut observer)?;
        let patience = match self.done {
            true => Duration::from_secs(1),
            false => Duration::ZERO,
        };
        self.trial.run.reap(&observer.worker.pidfd, patience)?;
        // Its last words may have come together with its end.
        for message in observer.messages.drain()? {
            self.take(message);
        }
        let explained = self.done
            || self.broken.is_some()
            || self.damaged.is_some()
            || self.interrupted
            || self.lives_on();
        if !explained {
            let status = self.trial.run.reaper.status_of(observer.pid());
            self.gone = Some((observer.pid(), status));
        }
        let Trial { site, record, .. } = &mut self.trial;
        if let (Some(tracer), Some(Verdict::Empty { decided_ns, .. })) =
            (observer.tracer, &record.verdict)
        {
            match tracer.stages(site, *decided_ns) {
                Ok(stages) => record.stages = Some(stages),
                Err(e) => record.errors.push(e.recorded()),
            }
        }
        Ok(())
    }

    /// Reads messages, and looks at the kill, until there is nothing more to wait for.
    fn follow(&mut self, observer: &mut RunningObserver) -> Result<(), TrialError> {
        let spec = self.trial.spec;
        let begin = spec
            .conditions
            .intended
            .map_or_else(time::now, |at| at.max(time::now()));
        let program = spec.workload.program.as_ref();
        let runs = program.map_or(Duration::ZERO, |program| program.kill_after);
        let limit = spec.ready_timeout() + runs + spec.deadline * 2 + spec.gap + OBSERVER_SLACK;
        let tick = match (self.killing.is_some(), program, spec.conditions.idle) {
            (true, _, _) => oracle::KILL_TICK,
            (false, Some(_), _) => oracle::SETTLE_TICK,
            (false, None, true) => idle::INTERVAL,
            (false, None, false) => Duration::from_secs(1),
        };
        loop {
            let Trial { run, outside, .. } = &mut self.trial;
            let told = outside.as_ref().and_then(Outside::fd);
            run.rest(&[observer.fds(), Vec::from_iter(told)].concat(), tick)?;
            if let Some(tracer) = &mut observer.tracer {
                tracer.read();
            }
            let ended = observer.has_ended()?;
            for message in observer.messages.drain()? {
                self.take(message);
            }
            let Trial { site, outside, .. } = &mut self.trial;
            if let Some(outside) = outside {
                outside.look(site)?;
            }
            if let Some(killing) = &mut self.killing {
                killing.look(&mut self.trial)?;
            } else if spec.conditions.idle && !ended {
                let sampled = self.samples.take(observer.pid());
                let errors = &mut self.trial.record.errors;
                errors.extend(sampled.err().map(|e| e.recorded()));
            }
            self.interrupted = self.trial.run.reaper.ending().is_some();
            if ended || self.interrupted || self.lives_on() {
                return Ok(());
            }
            if let Some(broken) = self.stopped(observer.pid()) {
                self.broken = Some(broken);
                return Ok(());
            }
            // While the harness did not run, the observer presumably did not run either.
            if (begin + limit + self.trial.stalled()).has_passed() {
                self.broken = Some(Broken::new(
                    Cause::ObserverHung,
                    format!(
                        "the observer ({}) did not come back in time",
                        spec.detector.spec().id
                    ),
                ));
                return Ok(());
            }
        }
    }

    /// Whether it is proved that a process survives the kill.
    pub(super) fn lives_on(&self) -> bool {
        self.killing
            .as_ref()
            .is_some_and(|killing| killing.lives_on)
    }

    /// Whether something has stopped the observer or, where nothing is killed, an orphan of the
    /// tree: what is measured from then on is the length of the stop. The harness is told of its
    /// own children alone, but of these even where they go on at once.
    fn stopped(&self, observer: Pid) -> Option<Broken> {
        let Trial {
            run, spec, site, ..
        } = &self.trial;
        let foreign = self.killing.is_none() && !spec.workload.stops;
        let of_trial = |pid: &i32| {
            *pid == observer.as_raw()
                || foreign && site.ledger.entries().any(|entry| entry.pid == *pid)
        };
        let stopped = run.reaper.stopped().iter().copied();
        let pids: Vec<i32> = stopped.filter(of_trial).collect();
        (!pids.is_empty()).then(|| Broken::stopped(&pids))
    }

    fn take(&mut self, message: Message) {
        let record = &mut self.trial.record;
        match message {
            Message::Started {
                armed_ns,
                spawn_ns,
                pid,
                entry,
                renumbered,
            } => {
                self.tree.renumbered = renumbered;
                record.stamps.armed_ns = Some(armed_ns);
                record.stamps.spawn_ns = Some(spawn_ns.0);
                record.stamps.spawned_ns = Some(spawn_ns.1);
                record.entry = Some(entry);
                if let Some(outside) = &mut self.trial.outside {
                    outside.started(pid);
                }
            }
            Message::Canary { pid } => {
                if let Some(killing) = &mut self.killing {
                    killing.take_canary(&mut self.trial, pid);
                }
            }
            Message::Killed { ready_ns, report } => {
                record.stamps.ready_ns = ready_ns;
                let direct = !report.indirect;
                record.kill = Some(report);
                if let (true, Some(killing)) = (direct, &mut self.killing) {
                    killing.take_issued(&mut self.trial);
                }
            }
            Message::Done {
                verdict,
                counters,
                cpu_ns,
                main_ended,
            } => {
                self.tree.main_ended = main_ended;
                if matches!(verdict, Verdict::Empty { .. }) && self.killing.is_none() {
                    match oracle::witness(&self.trial.site) {
                        Ok(witness) => self.tree.witness = witness,
                        Err(e) => record.errors.push(e.recorded()),
                    }
                }
                record.verdict = Some(verdict);
                record.counters = counters;
                record.cpu_ns = Some(cpu_ns);
                self.done = true;
            }
            Message::Damaged { pids } => self.damaged = Some(pids),
            Message::Broken(broken) => self.broken = Some(broken),
        }
    }

    /// Hands on what the next phases need.
    pub(super) fn ended(self, failed: Option<TrialError>) -> Observed<'t, 'b> {
        let lives_on = self.lives_on();
        let end = if self.interrupted {
            End::Interrupted
        } else {
            End::of(self.broken, self.damaged, self.gone, lives_on)
        };
        Observed {
            trial: self.trial,
            end,
            failed,
            canaries: self.killing.map(|k| k.canaries).unwrap_or_default(),
            tree: self.tree,
            samples: self.samples,
        }
    }
}
