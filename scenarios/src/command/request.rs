//! The user's request, resolved against the registries. Needs no operating system: every mistake is
//! found before anything starts.

use std::rc::Rc;
use std::time::Duration;

use actor::text::Named;
use harness::detect::{self, DETECTORS, Signal};
use harness::expect::{KillExpectation, Plane, Scope};
use harness::kill::{self, KillSpec, STRATEGIES};
use harness::trial::Limits;

use super::args::{Context, RunArgs, reserved};
use super::exit::Failure;
use super::gap::Gap;
use super::list::kebab;
use super::program::Program;
use super::script_file;
use super::select::{Names, Selection, Unknown};
use super::subject::Subject;
use crate::cases::SCENARIOS;
use crate::{Scenario, below_pid_1};

/// Trials of each row when several scenarios or both planes are run.
///
/// As many as there are default references, so that each has its turn.
pub(super) const FEW_TRIALS: u32 = 3;
/// Trials of each row for a single scenario in one plane.
pub(super) const SOME_TRIALS: u32 = 10;

/// How long a detector may wait that is expected to see the end. On a machine that stalls for a
/// second a tree that lives for 50 ms is over after more than one.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long `all` may take.
const BUDGET: Duration = Duration::from_secs(300);

/// The detectors that watch kills by default: the kernel's event, a read at intervals, and the
/// event before the rate limit. None of them reaps, signals or stops a process, so the tree is the
/// same under each.
pub(super) const REFERENCES: [&str; 3] = [
    "bpf-notify-populated",
    "cgroup-events-poll",
    "cgroup-events-sleep",
];

/// The strategies that take part in a scenario, by their claims and expectations there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// All.
    Any,
    /// Those that claim to be sound and are expected to leave nothing alive.
    Sound,
    /// The others.
    Unsound,
}

impl Claim {
    /// Whether a strategy takes part of which this is `expected`.
    pub(super) fn admits(self, strategy: &KillSpec, expected: KillExpectation) -> bool {
        let sound = strategy.claims_sound && expected == KillExpectation::Empties;
        match self {
            Self::Any => true,
            Self::Sound => sound,
            Self::Unsound => !sound,
        }
    }
}

/// A resolved command line.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The script, if one was given instead of scenarios.
    pub script: Option<Named>,
    /// Scenarios with an end that is to be detected.
    pub watched: Vec<Subject>,
    /// Scenarios that are to be killed.
    pub killed: Vec<Subject>,
    /// Detectors.
    pub detectors: Selection,
    /// Strategies.
    pub strategies: Selection,
    /// Which of the strategies, scenario by scenario.
    pub claim: Claim,
    /// The detectors that watch kills.
    pub references: Selection,
    /// `--set`, as given: axis and values.
    pub sets: Vec<(String, Vec<String>)>,
    /// Trials of each row.
    pub trials: u32,
    /// `--seed`.
    pub seed: Option<u64>,
    /// How long a detector may wait, and how long the processes may take to die.
    pub deadline: Duration,
    /// The same for a detector that is expected to see the end: to wait longer costs nothing, and
    /// on a loaded machine the tree itself may outlive the deadline.
    pub patience: Duration,
    /// Idle time before each trial.
    pub gap: Gap,
    /// Limits around each workload.
    pub limits: Limits,
    /// Begin no trial that is expected to end later than this. Then the order is by what a trial is
    /// expected to cost, the cheapest first.
    pub budget: Option<Duration>,
    /// Detectors and strategies with rows that are run twice, to see how much differs by chance.
    pub twins: Vec<&'static str>,
}

/// Resolves a command line.
pub(super) fn resolve(args: &RunArgs) -> Result<Request, Failure> {
    let script = args.script.as_deref().map(script_file::read).transpose()?;
    let kill_asked = !args.kill.is_empty();
    let (watched, killed) = match &script {
        Some((name, script)) => script_file::planes(name, script, kill_asked),
        None => planes(&named_scenarios(&args.scenarios)?, kill_asked),
    };
    let placed = |scenario| match args.context {
        Context::Plain => scenario,
        Context::Pid1 => below_pid_1(scenario),
    };
    let subjects = |all: Vec<&'static dyn Scenario>| {
        all.into_iter().map(move |s| Subject::Scenario(placed(s)))
    };
    let of = (subjects(watched).collect(), subjects(killed).collect());
    let mut request = resolve_for(args, of, &args.detector, None)?;
    request.script = script.map(|(_, script)| script);
    Ok(request)
}

/// Resolves the command line of a plain run: `all` is every row once, within a budget, unless its
/// length is chosen.
pub(super) fn of_run(args: &RunArgs) -> Result<Request, Failure> {
    let every = args.scenarios.iter().any(|name| name == "all");
    if args.full && !every {
        return Err(Failure::usage(
            "--full belongs to `all`; --trials chooses how often a row is run",
        ));
    }
    if args.full && args.budget.is_some() {
        return Err(Failure::usage("--full has no --budget"));
    }
    let mut request = resolve(args)?;
    if args.deadline.is_none() {
        request.patience = PATIENCE;
    }
    if every && !args.full && args.trials.is_none() {
        request.trials = 1;
        request.budget = request.budget.or(Some(BUDGET));
    }
    Ok(request)
}

/// Resolves a command line about any program. It is watched by the detectors that also watch kills
/// if none is named, because each of them starts it once more; it is killed only if a strategy is
/// named, and then only watched if a detector is.
pub(super) fn of_program(args: &RunArgs, program: Program) -> Result<Request, Failure> {
    let program = Subject::Program(Rc::new(program));
    let named = |all: &[String]| match all.is_empty() {
        true => Vec::new(),
        false => vec![program.clone()],
    };
    let detectors = match (args.detector.is_empty(), args.kill.is_empty()) {
        (true, true) => REFERENCES.map(str::to_owned).to_vec(),
        _ => args.detector.clone(),
    };
    let of = (named(&detectors), named(&args.kill));
    let mut request = resolve_for(args, of, &detectors, Some(1))?;
    if args.detector.is_empty() {
        // They are only the default, so a missing one is a remark.
        request.detectors.by_name.clear();
    }
    Ok(request)
}

/// Resolves the part that is about mechanisms, for what is to be watched and killed.
fn resolve_for(
    args: &RunArgs,
    (watched, killed): (Vec<Subject>, Vec<Subject>),
    detectors: &[String],
    trials: Option<u32>,
) -> Result<Request, Failure> {
    let known: Vec<&'static str> = DETECTORS.iter().map(|d| d.spec().id).collect();
    let detectors = Names::new("detector", &known)
        .grouped("scope", |id| {
            detect::by_id(id).map(|d| kebab(&d.spec().scope))
        })
        .select(detectors, &args.no_detector)
        .map_err(unknown)?;
    let known: Vec<&'static str> = STRATEGIES.iter().map(|s| s.spec().id).collect();
    let (claim, kill) = claim(&args.kill);
    let strategies = Names::new("strategy", &known)
        .grouped("scope", |id| {
            kill::by_id(id).map(|s| kebab(&s.spec().reach.scope))
        })
        .select(&kill, &args.no_kill)
        .map_err(unknown)?;
    let watched = if detectors.ids.is_empty() {
        Vec::new()
    } else {
        watched
    };
    let killed = if strategies.ids.is_empty() {
        Vec::new()
    } else {
        killed
    };
    if watched.is_empty() && killed.is_empty() {
        return Err(Failure::usage(
            "nothing is left to run: no detector for a scenario that ends, and no strategy for one \
                that can be killed",
        ));
    }
    let single = watched.len() == 1 && killed.is_empty();
    let usual = if single { SOME_TRIALS } else { FEW_TRIALS };
    Ok(Request {
        trials: args.trials.or(trials).unwrap_or(usual),
        sets: assignments(&args.set)?,
        seed: args.seed,
        deadline: args.deadline(),
        patience: args.deadline(),
        gap: args.gap.unwrap_or(Gap::PLAIN),
        limits: Limits {
            tasks: args.tasks,
            memory_bytes: args.memory,
        },
        budget: args.budget,
        twins: Vec::new(),
        references: references(&args.reference)?,
        script: None,
        watched,
        killed,
        detectors,
        strategies,
        claim,
    })
}

fn unknown(e: Unknown) -> Failure {
    Failure::usage(format!("{e} (`scenario list` shows all)"))
}

/// Takes `sound` and `unsound` out of the words of `--kill`; what is left names strategies.
fn claim(words: &[String]) -> (Claim, Vec<String>) {
    let said = |word: &str| words.iter().any(|w| w == word);
    let claim = match (said("sound"), said("unsound")) {
        (true, false) => Claim::Sound,
        (false, true) => Claim::Unsound,
        _ => Claim::Any,
    };
    let others = words
        .iter()
        .filter(|w| !["sound", "unsound"].contains(&w.as_str()));
    (claim, others.cloned().collect())
}

/// The detectors that watch kills: only those that see the whole cgroup and are woken by its
/// emptiness.
fn references(words: &[String]) -> Result<Selection, Failure> {
    let can = |spec: &detect::DetectorSpec| {
        spec.scope == Scope::Cgroup && spec.signal == Signal::Emptiness
    };
    if let Some(spec) = words.iter().find_map(|word| {
        detect::by_id(word)
            .map(|d| d.spec())
            .filter(|spec| !can(spec))
    }) {
        return Err(Failure::usage(format!(
            "--reference {}: a detector that watches kills has to notice when the whole cgroup is \
                empty, and this one does not (it sees: {})",
            spec.id,
            kebab(&spec.scope)
        )));
    }
    let known: Vec<&'static str> = DETECTORS
        .iter()
        .map(|d| d.spec())
        .filter(|s| can(s))
        .map(|s| s.id)
        .collect();
    if words.is_empty() {
        // They are only the default, so a missing one is a remark.
        return Ok(Selection {
            ids: known
                .into_iter()
                .filter(|id| REFERENCES.contains(id))
                .collect(),
            ..Selection::default()
        });
    }
    let chosen = Names::new("reference", &known)
        .select(words, &[])
        .map_err(unknown)?;
    match chosen.ids.is_empty() {
        true => Err(Failure::usage(
            "--reference: at least one detector has to watch kills",
        )),
        false => Ok(chosen),
    }
}

fn named_scenarios(names: &[String]) -> Result<Vec<&'static dyn Scenario>, Failure> {
    let known: Vec<&'static str> = SCENARIOS.iter().map(|s| s.spec().id).collect();
    let reserved = reserved();
    let all = Names::new("scenario", &known);
    let chosen = all.select(names, &[]).map_err(|_| {
        let wrong = names
            .iter()
            .find(|name| all.select(std::slice::from_ref(name), &[]).is_err());
        let wrong = wrong.map_or("", |w| w);
        if reserved.iter().any(|word| word == wrong) {
            return Failure::usage(format!(
                "{wrong} is a command and no scenario: write `scenario {wrong}`, with nothing \
                    before it"
            ));
        }
        let known: Vec<&str> = known
            .iter()
            .copied()
            .chain(reserved.iter().map(String::as_str))
            .collect();
        Failure::usage(Unknown::new("scenario or command", wrong, &known))
    })?;
    if chosen.ids.is_empty() {
        return Err(Failure::usage("no scenario is named"));
    }
    Ok(SCENARIOS
        .iter()
        .copied()
        .filter(|s| chosen.ids.contains(&s.spec().id))
        .collect())
}

/// What is watched beside a bomb, which never ends by itself: a process, an orphan, a daemon.
const BESIDE_A_BOMB: [&str; 3] = ["exit-now", "fork-exit", "setsid"];

/// Two planes, never a cube. A bomb brings three scenarios that end by themselves with it, so that
/// its run shows both planes.
fn planes(
    named: &[&'static dyn Scenario],
    kill_asked: bool,
) -> (Vec<&'static dyn Scenario>, Vec<&'static dyn Scenario>) {
    let has = |s: &&'static dyn Scenario, plane| s.spec().planes.contains(&plane);
    let ends = |s: &&'static dyn Scenario| has(s, Plane::Detect);
    let bomb = named.iter().any(|s| !ends(s));
    let named_too = |s: &&'static dyn Scenario| named.iter().any(|n| n.spec().id == s.spec().id);
    let watched = SCENARIOS
        .iter()
        .copied()
        .filter(|s| ends(s) && (named_too(s) || bomb && BESIDE_A_BOMB.contains(&s.spec().id)));
    // `all` names more than one scenario, bombs among them: then everything that can be killed is.
    let every = named.len() == SCENARIOS.len();
    let killed = named
        .iter()
        .copied()
        .filter(|s| has(s, Plane::Kill) && (!ends(s) || kill_asked || every));
    (watched.collect(), killed.collect())
}

/// All of `--set`. An axis that is set twice would make unwanted rows, or the same row again.
pub(super) fn assignments(texts: &[String]) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut sets: Vec<(String, Vec<String>)> = Vec::new();
    for text in texts {
        let (axis, values) = assignment(text)?;
        if sets.iter().any(|(known, _)| *known == axis) {
            return Err(Failure::usage(format!(
                "--set {text}: {axis} is set twice; several values are written {axis}=VALUE,VALUE"
            )));
        }
        if let Some(value) = values
            .iter()
            .enumerate()
            .find_map(|(at, v)| values[..at].contains(v).then_some(v))
        {
            return Err(Failure::usage(format!(
                "--set {text}: {value} is given twice"
            )));
        }
        sets.push((axis, values));
    }
    Ok(sets)
}

/// `axis=value[,value...]`.
fn assignment(text: &str) -> Result<(String, Vec<String>), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--set {text:?}: an axis and one or more values are needed, such as lifetime=0,5ms"
        ))
    };
    let (axis, values) = text.split_once('=').ok_or_else(wrong)?;
    let values: Vec<String> = values.split(',').map(str::to_owned).collect();
    if axis.is_empty() || values.iter().any(String::is_empty) {
        return Err(wrong());
    }
    Ok((axis.to_owned(), values))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
