//! One sitting: trials of a plan, one after another, from the place where the last sitting stopped.
//! A plain run is a single sitting.

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use harness::MonoNs;
use harness::host::Base;
use harness::record::{Outcome, TrialRecord};
use harness::sys::time;
use harness::trial::{Conditions, LeakReport, Protection, Run, RunOptions, TrialSpec};

use super::args::RunArgs;
use super::exit::Failure;
use super::measure::{Schedule, noise};
use super::output::{self, Output};
use super::plan::{Cell, Plan, Planned};
use super::request::Request;
use super::subject::{Start, Subject};
use super::term::Progress;

/// What a sitting plays, and how.
#[derive(Debug)]
pub(super) struct TrialLoop<'a> {
    /// Limits and output.
    pub args: &'a RunArgs,
    /// Deadline, gap, limits.
    pub request: &'a Request,
    /// The trials.
    pub plan: &'a Plan,
    /// Name of the run.
    pub name: &'a str,
    /// Where its cgroup is made.
    pub base: &'a Base,
    /// Under which it runs.
    pub protection: &'a Rc<Protection>,
    /// What a campaign adds.
    pub pace: &'a CampaignOptions,
}

/// What a campaign adds to a run. The default adds nothing.
#[derive(Debug, Default)]
pub(super) struct CampaignOptions {
    /// Trials that are run first and not recorded.
    pub warm_up: usize,
    /// How long the control spins before each block; zero for not at all. In an open loop it spins
    /// before the first block alone.
    pub noise: Duration,
    /// How long all blocks together may wait for a quiet machine.
    pub patience: Duration,
    /// When trials are to start, in an open loop.
    pub schedule: Option<Schedule>,
    /// Processors of observer and workload.
    pub conditions: Conditions,
    /// Stop at the end of the block in which this time runs out.
    pub stop_after: Option<Duration>,
    /// Begin no trial that would end later than this after the beginning.
    pub budget: Option<Duration>,
    /// A trial that an interruption cut short is left out, because it will be run again.
    pub resumable: bool,
}

/// The result of a sitting.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// A signal asked the run to end.
    pub interrupted: bool,
    /// The time was up before the plan was done.
    pub paused: bool,
    /// The budget was used up before the plan was done.
    pub over_budget: bool,
    /// Rows of which no trial was run, because the budget did not allow it.
    pub left_out: Vec<usize>,
    /// Why it stopped before the end of the plan.
    pub stopped: Option<anyhow::Error>,
    /// What was left behind.
    pub left: Vec<String>,
}

impl TrialLoop<'_> {
    /// Plays all trials after those that `output` has. Whatever stops it, the run's cgroup is
    /// emptied and removed, and what was recorded stays. No records are kept in memory: they are on
    /// disk.
    pub(super) fn play(&self, output: &mut Output) -> Result<Played, Failure> {
        let options = RunOptions {
            name: self.name.to_owned(),
            no_limits: self.args.no_limits,
        };
        let mut run = Run::start(Rc::clone(self.protection), self.base, options)
            .context("could not begin the run")?;
        if let Err(error) = self.try_to_start(&run) {
            run.finish().context("could not clean up after the run")?;
            return Err(Failure::missing(error));
        }
        let progress = Progress::new(self.plan.order.len(), output.recorded(), self.args.quiet);
        let mut played = Played::default();
        let ended = self
            .warm_up(&mut run, output.recorded())
            .and_then(|()| self.blocks(&mut run, &progress, output, &mut played));
        played.stopped = ended.err();
        played.interrupted |= run.interrupted();
        if let Err(error) = run.check() {
            // The trial's own error is a consequence of it.
            played.stopped = Some(error.into());
        }
        progress.finish();
        let leaks: LeakReport = run.finish().context("could not clean up after the run")?;
        played.left = leaks.left;
        Ok(played)
    }

    /// An error if no workload can be started, for a reason that would break each trial.
    fn try_to_start(&self, run: &Run<'_>) -> anyhow::Result<()> {
        // That a program cannot be started is an outcome of its trials.
        let Some(Cell {
            subject: subject @ Subject::Scenario(_),
            params,
            key,
            ..
        }) = self.plan.cells.first()
        else {
            return Ok(());
        };
        let start = Start {
            run: self.name,
            seq: 0,
            params,
            plane: key.plane,
            seed: 0,
        };
        Ok(run.try_to_start(&subject.workload(&start)?)?)
    }

    /// The next trials, unrecorded: caches, page tables and the processor's clock are then as they
    /// will be.
    fn warm_up(&self, run: &mut Run<'_>, from: usize) -> anyhow::Result<()> {
        if from == self.plan.order.len() {
            return Ok(());
        }
        let next = self.plan.order.iter().cycle().skip(from);
        let gaps = self.request.gap.draws(self.plan.seed, 0);
        for (planned, gap) in next.take(self.pace.warm_up).zip(gaps) {
            if run.interrupted() {
                break;
            }
            self.trial(run, planned, gap, self.pace.conditions)?;
        }
        Ok(())
    }

    /// The trials that are left, block by block.
    fn blocks(
        &self,
        run: &mut Run<'_>,
        progress: &Progress,
        output: &mut Output,
        played: &mut Played,
    ) -> anyhow::Result<()> {
        let from = output.recorded();
        let began = time::now();
        let mut starts = self
            .pace
            .schedule
            .as_ref()
            .map(|schedule| schedule.starts(from));
        let mut opened: Option<MonoNs> = None;
        let mut patience = self.pace.patience;
        let gaps = self.request.gap.draws(self.plan.seed, from);
        for ((seq, planned), gap) in self.plan.order.iter().enumerate().skip(from).zip(gaps) {
            if run.interrupted() {
                played.interrupted = true;
                break;
            }
            let cost = self.plan.cells[planned.row].cost;
            let over = |budget| time::now().since(began) + cost > budget;
            if self.pace.budget.is_some_and(over) {
                played.over_budget = true;
                played.left_out = self.unplayed(seq);
                break;
            }
            let first = seq == from;
            if first || self.plan.order[seq - 1].block != planned.block {
                if !first
                    && self
                        .pace
                        .stop_after
                        .is_some_and(|limit| time::now().since(began) >= limit)
                {
                    played.paused = true;
                    break;
                }
                if !self.pace.noise.is_zero() && (first || starts.is_none()) {
                    let seen =
                        noise::before_block(planned.block, self.pace.noise, patience, || {
                            run.interrupted()
                        });
                    patience = patience.saturating_sub(Duration::from_nanos(seen.waited_ns));
                    output.noise(&seen)?;
                }
            }
            let mut conditions = self.pace.conditions;
            conditions.idle = {
                let cell = &self.plan.cells[planned.row];
                cell.subject.sleeps(&cell.params)
            };
            if let Some(starts) = &mut starts {
                let opened = *opened.get_or_insert_with(time::now);
                conditions.intended = starts.next().map(|after| opened + after);
            }
            let cell = &self.plan.cells[planned.row];
            progress.begin(&format!("{} on {}", cell.key.mechanism, cell.key.scenario));
            let record = self.trial(run, planned, gap, conditions)?;
            if self.pace.resumable && record.outcome == Outcome::Interrupted {
                played.interrupted = true;
                break;
            }
            output.record(&record)?;
            if self.args.json {
                output::json_line(&mut io::stdout().lock(), &record)?;
            }
            progress.done();
        }
        Ok(())
    }

    /// The rows that have no trial before number `seq`.
    fn unplayed(&self, seq: usize) -> Vec<usize> {
        let (before, after) = self.plan.order.split_at(seq);
        let begun: BTreeSet<usize> = before.iter().map(|planned| planned.row).collect();
        let rest: BTreeSet<usize> = after.iter().map(|planned| planned.row).collect();
        rest.difference(&begun).copied().collect()
    }

    /// One trial.
    fn trial(
        &self,
        run: &mut Run<'_>,
        planned: &Planned,
        gap: Duration,
        conditions: Conditions,
    ) -> anyhow::Result<TrialRecord> {
        let (cell, seq) = (&self.plan.cells[planned.row], planned.seq);
        let what = || {
            format!(
                "could not run trial {seq} ({} on {})",
                cell.key.mechanism, cell.key.scenario
            )
        };
        let start = Start {
            run: self.name,
            seq,
            params: &cell.params,
            plane: cell.key.plane,
            seed: planned.script_seed,
        };
        let spec = TrialSpec {
            seq,
            scenario: cell.subject.id(),
            workload: cell.subject.workload(&start).with_context(what)?,
            stage: cell.subject.stage(),
            params: cell.params.clone(),
            seed: planned.script_seed,
            detector: cell.detector(planned.block),
            strategy: cell.strategy,
            expected: cell.expected,
            deadline: cell.deadline(self.request),
            limits: self.request.limits,
            gap,
            conditions,
        };
        let mut record = run.trial(&spec).with_context(what)?;
        record.block = Some(planned.block);
        record.twin = cell.twin;
        Ok(record)
    }
}
