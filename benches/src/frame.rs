//! Where benchmarks run: below a cgroup of their own, which is protected and removed afterwards.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use harness::detect::AnyDetector;
use harness::expect::Expectation;
use harness::fleet::Mechanism;
use harness::host::{Base, Detected, Host, Options, ProbeError, Support, detect, run_name};
use harness::kill::AnyStrategy;
use harness::record::TrialRecord;
use harness::trial::{Protection, Run, RunOptions, Site, TrialSpec, Words};

use crate::left_out;

/// A run on this machine.
#[derive(Debug)]
pub struct Frame<'h> {
    host: &'h Host,
    run: Run<'h>,
    group: &'static str,
    trials: u32,
}

/// A signal has asked the program to end.
struct Interrupted;

/// The message when it does so outside of a run.
static INTERRUPTED: Words = Words {
    removed: "interrupted; nothing was left behind\n",
    left: "interrupted, and not everything could be removed: `scenario clean` tries again\n",
    guard: "a guard was killed; nothing was left behind\n",
};

/// Calls `body` with a frame, and removes the frame in any case. If no cgroup can be had, the group
/// is left out.
///
/// An error says what went wrong or what was left behind.
pub(crate) fn with(group: &'static str, body: impl FnOnce(&mut Frame<'_>)) -> Result<(), String> {
    // Nothing here is hostile, so a machine without a limit on tasks will do. Nor is this program
    // run again by systemd.
    let options = Options {
        allow_no_limits: true,
        program: None,
        ..Options::default()
    };
    let protection = Rc::new(Protection::begin(None, 1, &INTERRUPTED).map_err(|e| e.to_string())?);
    let mut here = match detect(&options).map_err(|e| e.to_string())? {
        Detected::Here(host) => *host,
        Detected::Rerun(rerun) => {
            left_out(group, rerun.why);
            return Ok(());
        }
    };
    let Some(base) = &here.host.base else {
        let why = here
            .no_base
            .map_or_else(|| "no cgroup was found".to_owned(), |none| none.to_string());
        left_out(format_args!("{group}, what needs a cgroup of it"), why);
        return Ok(());
    };
    let ended = in_run(group, &protection, &here.host, base, body);
    match here.give_back().first() {
        Some(error) => Err(format!("could not undo a change: {error}")),
        None => ended,
    }
}

fn in_run<'h>(
    group: &'static str,
    protection: &Rc<Protection>,
    host: &'h Host,
    base: &'h Base,
    body: impl FnOnce(&mut Frame<'_>),
) -> Result<(), String> {
    let options = RunOptions {
        name: run_name().map_err(|e| e.to_string())?,
        no_limits: true,
    };
    let mut frame = Frame {
        host,
        run: Run::start(Rc::clone(protection), base, options).map_err(|e| e.to_string())?,
        group,
        trials: 0,
    };
    // Criterion calls closures that cannot fail, so only a panic ends them early; it is caught
    // here.
    let ended = catch_unwind(AssertUnwindSafe(|| body(&mut frame)));
    let left = frame.run.finish().map_err(|e| e.to_string())?;
    match ended {
        Err(why) if why.is::<Interrupted>() => Err("interrupted".to_owned()),
        Err(why) => Err(format!("a benchmark broke: {}", said(why.as_ref()))),
        Ok(()) if !left.is_clean() => Err(left.to_string()),
        Ok(()) => Ok(()),
    }
}

/// The message of a panic.
fn said(why: &(dyn Any + Send)) -> &str {
    why.downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| why.downcast_ref::<&str>().copied())
        .unwrap_or("no reason was given")
}

impl Frame<'_> {
    /// The number of the next trial or site.
    pub fn next_seq(&mut self) -> u32 {
        self.trials += 1;
        self.trials
    }

    /// Plays one trial. Panics, and so ends the group, if the run cannot go on; ends it as well if
    /// a signal has asked for that.
    pub fn trial(&mut self, spec: &TrialSpec<'_>) -> TrialRecord {
        self.look_for_signals();
        match self.run.trial(spec) {
            Ok(record) => record,
            Err(e) => panic!("could not run a trial of {}: {e}", spec.detector.spec().id),
        }
    }

    /// A site without a trial, for what is done by hand in this process. It goes with the frame.
    pub fn site(&mut self, spec: &TrialSpec<'_>) -> Site {
        self.look_for_signals();
        match self.run.site(spec) {
            Ok(site) => site,
            Err(e) => panic!("could not make a site: {e}"),
        }
    }

    /// Whether `detector` is offered here and gives a verdict without a kill or a removal of the
    /// site. If not, says why.
    pub fn offers(&self, detector: AnyDetector) -> bool {
        let id = detector.spec().id;
        match detector.expectation(Expectation::Sound, false) {
            Expectation::NotApplicable(why) => self.leave_out(id, why),
            _ => self.available(id, detector.probe(self.host)),
        }
    }

    /// Whether `strategy` is offered here. If not, says why.
    pub fn offers_kill(&self, strategy: AnyStrategy) -> bool {
        self.available(strategy.spec().id, strategy.probe(self.host))
    }

    /// Whether `mechanism` is offered here. If not, says why.
    pub fn offers_fleet(&self, mechanism: &dyn Mechanism) -> bool {
        self.available(mechanism.spec().id, mechanism.probe(self.host))
    }

    fn available(&self, id: &str, probed: Result<Support, ProbeError>) -> bool {
        match probed {
            Ok(Support::Available) => true,
            Ok(Support::Missing { why, remedy }) => {
                self.leave_out(id, format_args!("{why}; help: {remedy}"))
            }
            Err(e) => self.leave_out(id, format_args!("the probe failed: {e}")),
        }
    }

    /// Says that `id` of this group is left out; returns false.
    pub fn leave_out(&self, id: impl std::fmt::Display, why: impl std::fmt::Display) -> bool {
        left_out(format_args!("{}/{id}", self.group), why);
        false
    }

    fn look_for_signals(&mut self) {
        if self.run.interrupted() {
            resume_unwind(Box::new(Interrupted));
        }
    }
}
