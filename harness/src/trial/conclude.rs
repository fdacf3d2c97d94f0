//! The fourth phase of a trial: from what was seen to a conclusion, which is outcome, expectation,
//! held.

use std::time::Duration;

use super::broken::{Broken, end_in_words};
use super::canary::LiveCanary;
use super::judge::{self, Truth};
use super::observe::End;
use super::oom::OomKills;
use super::others::canaries_hit;
use super::prepare::Trial;
use super::reaper::Ending;
use super::settle::Settled;
use super::{Expected, TrialError, TrialSpec, objects};
use crate::expect::Canary;
use crate::record::{Cause, LedgerRecord, Note, Outcome, TrialRecord};

/// A trial whose record is complete but for the stamps of cleaning.
#[derive(Debug)]
pub(super) struct Concluded<'t, 'b> {
    pub(super) trial: Trial<'t, 'b>,
    /// Canaries to be ended.
    pub(super) canaries: Vec<LiveCanary>,
}

impl<'t, 'b> Settled<'t, 'b> {
    /// Looks first for everything that the mechanism did not do, then at the mechanism.
    pub(super) fn conclude(mut self) -> Concluded<'t, 'b> {
        // What breaks while a run is interrupted is not the mechanism's fault.
        let ending = self.trial.run.reaper.ending();
        if ending.is_some() {
            self.end = End::Interrupted;
        }
        let oom = OomKills::so_far(&self.trial.site).since(self.trial.oom);
        let hit = match &self.end {
            End::Interrupted => Ok(Vec::new()),
            End::Broken(broken) => Err(broken.clone()),
            End::Whole | End::LivesOn | End::Damaged(_) | End::ObserverGone(..) => {
                canaries_hit(&self, oom)
            }
        };
        let hit = hit.and_then(|hit| match self.failed {
            Some(error @ TrialError::Canary) => Err(Broken::by(Cause::CanaryKilled, error)),
            Some(error) => Err(Broken::harness(error)),
            None => Ok(hit),
        });
        let site = &self.trial.site;
        let hit = match hit {
            // They have outlived what made them; a trial without them would have shown nothing.
            Ok(_) if self.trial.spec.stage.leaves_objects => objects::are_there(site.ledger.tag())
                .map_err(Broken::harness)
                .and(hit),
            _ => hit,
        };
        let stalled = self.trial.stalled();
        let Trial {
            run,
            spec,
            site,
            record,
            outside,
            ..
        } = &mut self.trial;
        let sums = site.ledger.sums();
        record.ledger = LedgerRecord {
            births: sums.births,
            deaths: sums.deaths,
            refused: sums.refused,
        };
        record.program = outside.as_ref().map(|outside| {
            let status = outside.main().and_then(|pid| run.reaper.status_of(pid));
            outside.record(status.map(|status| end_in_words(Some(status))))
        });
        match (ending, hit) {
            (Some(Ending::Guard(pid)), _) => broken(record, guard_killed(pid)),
            (Some(Ending::Signal(_)), _) => {
                record.outcome = Outcome::Interrupted;
                record.note = Some(Note::Interrupted);
            }
            (None, Err(what)) => broken(record, what),
            (None, Ok(hit)) => {
                judged(spec, record, hit, self.tree.witness);
                if !stalled.is_zero() && blamed_for_lateness(record) {
                    broken(record, not_scheduled(stalled));
                }
            }
        }
        Concluded {
            trial: self.trial,
            canaries: self.canaries.live,
        }
    }
}

fn guard_killed(pid: nix::unistd::Pid) -> Broken {
    Broken::new(
        Cause::GuardKilled,
        format!("a guard of the run (process {pid}) was killed, so the run was ended"),
    )
}

/// Whether the mechanism failed by being late. An early verdict or a canary that was hit cannot be
/// explained by a machine that stood still.
fn blamed_for_lateness(record: &TrialRecord) -> bool {
    let late = matches!(
        record.outcome,
        Outcome::Missed | Outcome::StillRunning | Outcome::Survived
    );
    !record.held && late && record.canaries_hit.is_empty()
}

fn not_scheduled(stalled: Duration) -> Broken {
    Broken::new(
        Cause::NotScheduled,
        format!(
            "the harness did not run for {:.1} s in which it was to: the machine was suspended or \
                overloaded, and a deadline passed meanwhile",
            stalled.as_secs_f64()
        ),
    )
}

/// Nothing that was seen in such a trial counts for or against a mechanism.
fn broken(record: &mut TrialRecord, Broken { cause, what, errno }: Broken) {
    record.outcome = Outcome::Broken;
    record.cause = Some(cause);
    record.note = Some(Note::Broke { what, errno });
    record.survivors.clear();
}

/// The mechanism is measured by what is expected of it.
fn judged(spec: &TrialSpec<'_>, record: &mut TrialRecord, hit: Vec<Canary>, witness: Option<i32>) {
    record.canaries_hit = hit;
    let hit = &record.canaries_hit;
    let stamps = &record.stamps;
    let truth = Truth {
        lower_ns: stamps.over_lower_ns,
        upper_ns: stamps.over_upper_ns,
        witness: witness.is_some(),
        from_outside: record.program.is_some(),
    };
    let (held, expected, expectation) = match (spec.expected, &record.verdict) {
        (Expected::Detect(expected), Some(verdict)) => {
            record.outcome = judge::outcome(verdict, truth);
            judge::held(
                expected,
                record.outcome,
                spec.detector.spec().loses_on_removal,
            )
        }
        (Expected::Detect(_), None) => (false, "a verdict".to_owned(), "a-verdict"),
        (Expected::Kill(expected), _) => {
            let emptied = stamps.unpopulated_ns.is_some();
            record.outcome = if emptied {
                Outcome::Emptied
            } else {
                Outcome::Survived
            };
            judge::kill_held(expected, emptied, hit, &spec.may_hit())
        }
    };
    record.held = held;
    record.expected = expected;
    record.expectation = Some(expectation.to_owned());
    if let Some(pid) = witness {
        record.note = Some(Note::WasAlive { pid });
    } else if !held && !hit.is_empty() {
        record.note = Some(Note::CanariesHit {
            canaries: hit.clone(),
        });
    }
}
