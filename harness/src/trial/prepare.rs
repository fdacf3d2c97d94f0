//! The first phase of a trial: its site, the counters as they stand before it, and an empty record.

use std::time::Duration;

use super::oom::OomKills;
use super::program::Outside;
use super::{Run, Site, TrialError, TrialSpec};
use crate::expect::Plane;
use crate::record::TrialRecord;

/// One trial, as every phase of it has it.
///
/// A phase consumes the one before: `Trial` -> [`Observed`](super::observe::Observed) ->
/// [`Settled`](super::settle::Settled) -> [`Concluded`](super::conclude::Concluded) -> record. An
/// error in one of them is kept, the next ones leave out what it has made pointless, and cleaning
/// undoes everything.
#[derive(Debug)]
pub(super) struct Trial<'t, 'b> {
    pub(super) run: &'t mut Run<'b>,
    pub(super) spec: &'t TrialSpec<'t>,
    pub(super) site: Site,
    /// The OOM kills before the trial.
    pub(super) oom: OomKills,
    /// [`Run::stalled`] before the trial.
    stalled_before: Duration,
    /// How the truth is known, if the workload is not an actor.
    pub(super) outside: Option<Outside>,
    /// What is known so far.
    pub(super) record: TrialRecord,
}

impl<'t, 'b> Trial<'t, 'b> {
    /// Makes the site. After an error nothing of it is there, and the run cannot go on.
    pub(super) fn prepare(
        run: &'t mut Run<'b>,
        spec: &'t TrialSpec<'t>,
    ) -> Result<Self, TrialError> {
        let outside = Outside::of(&spec.workload)?;
        let site = Site::make(run, spec)?;
        let record = blank(run, spec);
        let oom = OomKills::so_far(&site);
        run.begins_to_wait();
        let stalled_before = run.stalled();
        Ok(Self {
            run,
            spec,
            site,
            oom,
            stalled_before,
            outside,
            record,
        })
    }

    /// For how long the harness has not run during the trial although it was to.
    pub(super) fn stalled(&self) -> Duration {
        self.run.stalled().saturating_sub(self.stalled_before)
    }

    /// Whether something is killed in it.
    pub(super) fn kills(&self) -> bool {
        self.spec.plane() == Plane::Kill
    }
}

fn blank(run: &Run<'_>, spec: &TrialSpec<'_>) -> TrialRecord {
    let detector = spec.detector.spec().id;
    let mut record =
        TrialRecord::blank(run.name(), spec.seq, spec.plane(), spec.scenario, detector);
    record.strategy = spec.strategy.map(|s| s.spec().id.to_owned());
    let values = spec.params.iter();
    record.params = values
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    record.seed = spec.seed;
    record.gap_ns = u64::try_from(spec.gap.as_nanos()).ok();
    record.stamps.intended_ns = spec.conditions.intended.map(|at| at.0);
    record
}
