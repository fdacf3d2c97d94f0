//! What is started in the trials of a row: the actor of a scenario, or any program.

use std::rc::Rc;
use std::time::Duration;

use harness::detect::AnyDetector;
use harness::expect::Plane;
use harness::kill::AnyStrategy;
use harness::param::{Axis, ParamPoint};
use harness::trial::{Expected, Stage, Workload};

use super::exit::Failure;
use super::feasible;
use super::program::Program;
use super::request::Request;
use crate::Scenario;

/// What is started.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// The actor that plays this.
    Scenario(&'static dyn Scenario),
    /// This.
    Program(Rc<Program>),
}

/// One trial of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    /// Name of the run.
    pub run: &'a str,
    /// Number of the trial.
    pub seq: u32,
    /// The values of all axes.
    pub params: &'a ParamPoint,
    /// Detect or kill.
    pub plane: Plane,
    /// Seed of a script.
    pub seed: u64,
}

impl Subject {
    /// Its name in records and tables.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Scenario(scenario) => scenario.spec().id,
            Self::Program(program) => program.id(),
        }
    }

    /// What can be varied.
    pub(super) fn axes(&self) -> &'static [Axis] {
        match self {
            Self::Scenario(scenario) => scenario.spec().axes,
            Self::Program(_) => &[],
        }
    }

    /// Features of the machine that it needs.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Self::Scenario(scenario) => scenario.needs(),
            Self::Program(_) => &[],
        }
    }

    /// Why it can be played nowhere, if that is so.
    pub(super) fn unfit(&self) -> Option<&'static str> {
        match self {
            Self::Scenario(scenario) => scenario.unfit(),
            Self::Program(_) => None,
        }
    }

    /// What it requires of its surroundings. Of a program nothing is known, so it may be a bomb.
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Scenario(scenario) => scenario.spec().stage,
            Self::Program(_) => Stage {
                hostile: true,
                ..Stage::default()
            },
        }
    }

    /// Whether it sleeps for so long that what a detector does meanwhile can be measured.
    pub(super) fn sleeps(&self, at: &ParamPoint) -> bool {
        match self {
            Self::Scenario(scenario) => crate::cases::sleeps(*scenario, at),
            Self::Program(_) => false,
        }
    }

    /// Refuses what cannot work, and returns how long the tree lives at most, if it ends. A valid
    /// value may still give no valid script (more tasks than a script can have). That is the user's
    /// mistake, and is found here.
    pub(super) fn check(
        &self,
        request: &Request,
        label: &str,
        plane: Plane,
        params: &ParamPoint,
    ) -> Result<Duration, Failure> {
        let Self::Scenario(scenario) = self else {
            return Ok(Duration::ZERO);
        };
        let script = scenario
            .script(params, plane, 0)
            .map_err(|e| Failure::usage(format!("{label}: {e}")))?;
        feasible::check(request, label, plane, scenario.spec().stage, &script)
    }

    /// What is expected of a mechanism.
    pub(super) fn expected(
        &self,
        params: &ParamPoint,
        detector: AnyDetector,
        strategy: Option<AnyStrategy>,
    ) -> Expected {
        match self {
            Self::Scenario(scenario) => crate::expected(*scenario, params, detector, strategy),
            Self::Program(_) => crate::expectations::of_program(detector, strategy),
        }
    }

    /// What a trial starts. Errors: no memory for a script, `/proc` is not mounted.
    pub(super) fn workload(&self, start: &Start<'_>) -> anyhow::Result<Workload> {
        match self {
            Self::Scenario(scenario) => {
                let script = scenario.script(start.params, start.plane, start.seed)?;
                Ok(crate::workload(&script)?)
            }
            Self::Program(program) => program.workload(start),
        }
    }
}
