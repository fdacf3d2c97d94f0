//! What the user asks for, resolved against what exists. Needs no operating system: every mistake is found before anything starts.

use std::time::Duration;

use harness::detect::DETECTORS;
use harness::expect::Plane;
use harness::kill::STRATEGIES;
use harness::trial::Limits;

use super::args::RunArgs;
use super::exit::Failure;
use super::select::{Selection, Unknown, select};
use crate::Scenario;
use crate::cases::SCENARIOS;

/// Trials of each row when several scenarios or both planes are run.
const FEW_TRIALS: u32 = 2;
/// Trials of each row for a single scenario in one plane.
const SOME_TRIALS: u32 = 10;

/// A resolved command line.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Scenarios whose end is to be detected.
    pub watched: Vec<&'static dyn Scenario>,
    /// Scenarios that are to be killed.
    pub killed: Vec<&'static dyn Scenario>,
    /// Detectors.
    pub detectors: Selection,
    /// Strategies.
    pub strategies: Selection,
    /// `--set`, as given: axis and values.
    pub sets: Vec<(String, Vec<String>)>,
    /// Trials of each row.
    pub trials: u32,
    /// `--seed`.
    pub seed: Option<u64>,
    /// How long a detector may wait, and death may take.
    pub deadline: Duration,
    /// Idle time before each trial.
    pub gap: Duration,
    /// Limits around each workload.
    pub limits: Limits,
    /// Detectors and strategies whose rows are run twice, to see what difference chance makes.
    pub twins: Vec<&'static str>,
}

/// Resolves a command line.
pub(super) fn resolve(args: &RunArgs) -> Result<Request, Failure> {
    let named = named_scenarios(&args.scenarios)?;
    let ids = |list: &[&'static str], kind, include: &[String], exclude: &[String]| {
        select(kind, list, include, exclude).map_err(|e| Failure::usage(format!("{e} (`scenario list` shows all)")))
    };
    let detectors: Vec<&'static str> = DETECTORS.iter().map(|d| d.spec().id).collect();
    let strategies: Vec<&'static str> = STRATEGIES.iter().map(|s| s.spec().id).collect();
    let detectors = ids(&detectors, "detector", &args.detector, &args.no_detector)?;
    let strategies = ids(&strategies, "strategy", &args.kill, &args.no_kill)?;
    let (watched, killed) = planes(&named, !args.kill.is_empty());
    let watched = if detectors.ids.is_empty() { Vec::new() } else { watched };
    let killed = if strategies.ids.is_empty() { Vec::new() } else { killed };
    if watched.is_empty() && killed.is_empty() {
        return Err(Failure::usage(
            "nothing is left to run: no detector for a scenario that ends, and no strategy for one that can be killed",
        ));
    }
    let single = watched.len() == 1 && killed.is_empty();
    Ok(Request {
        trials: args.trials.unwrap_or(if single { SOME_TRIALS } else { FEW_TRIALS }),
        sets: args.set.iter().map(|text| assignment(text)).collect::<Result<_, _>>()?,
        seed: args.seed,
        deadline: args.deadline,
        gap: args.gap,
        limits: Limits {
            tasks: args.tasks,
            memory_bytes: args.memory,
        },
        twins: Vec::new(),
        watched,
        killed,
        detectors,
        strategies,
    })
}

fn named_scenarios(names: &[String]) -> Result<Vec<&'static dyn Scenario>, Failure> {
    let known: Vec<&'static str> = SCENARIOS.iter().map(|s| s.spec().id).collect();
    let mut with_commands = known.clone();
    with_commands.extend(["all", "measure", "list", "doctor", "clean"]);
    let chosen = select("scenario", &known, names, &[]).map_err(|_| {
        let wrong = names
            .iter()
            .find(|name| select("scenario", &known, std::slice::from_ref(name), &[]).is_err());
        Failure::usage(Unknown::new("scenario", wrong.map_or("", |w| w), &with_commands))
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

/// Two planes, never a cube. A bomb brings every scenario that ends by itself and undisturbed with it, so that its run shows both planes.
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
        .filter(|s| ends(s) && (named_too(s) || bomb && !s.spec().stage.owner_removes));
    // `all` names more than one scenario, bombs among them: then everything that can be killed is.
    let every = named.len() == SCENARIOS.len();
    let killed = named
        .iter()
        .copied()
        .filter(|s| has(s, Plane::Kill) && (!ends(s) || kill_asked || every));
    (watched.collect(), killed.collect())
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
mod tests {
    use clap::Parser;

    use super::super::args::Cli;
    use super::*;

    fn request(words: &[&str]) -> Result<Request, String> {
        let cli = Cli::try_parse_from([&["scenario"], words].concat()).unwrap();
        resolve(&cli.run).map_err(|f| f.error.to_string())
    }

    fn ids(scenarios: &[&'static dyn Scenario]) -> Vec<&'static str> {
        scenarios.iter().map(|s| s.spec().id).collect()
    }

    #[test]
    fn a_bomb_brings_both_planes() {
        let request = request(&["forkbomb"]).unwrap();
        assert_eq!(ids(&request.killed), ["forkbomb"]);
        let watched = ids(&request.watched);
        assert!(watched.contains(&"exit-now") && watched.contains(&"setsid"));
        assert!(
            !watched.contains(&"forkbomb") && !watched.contains(&"owner-removes"),
            "{watched:?}"
        );
        assert_eq!(request.trials, FEW_TRIALS);
    }

    #[test]
    fn a_scenario_that_ends_is_only_watched_unless_a_kill_is_asked_for() {
        let plain = request(&["setsid"]).unwrap();
        assert_eq!(
            (ids(&plain.watched), plain.killed.len(), plain.trials),
            (vec!["setsid"], 0, SOME_TRIALS)
        );
        let both = request(&["setsid", "--kill", "killpg"]).unwrap();
        assert_eq!(
            (ids(&both.watched), ids(&both.killed)),
            (vec!["setsid"], vec!["setsid"])
        );
    }

    #[test]
    fn a_plane_can_be_left_out() {
        assert!(request(&["forkbomb", "--detector", "none"]).unwrap().watched.is_empty());
        assert!(request(&["forkbomb", "--kill", "none"]).unwrap().killed.is_empty());
        assert!(
            request(&["setsid", "--detector", "none"])
                .unwrap_err()
                .contains("nothing is left to run")
        );
    }

    #[test]
    fn wrong_names_are_answered_with_the_nearest() {
        for (words, nearest) in [
            (vec!["forkbom"], "forkbomb"),
            (vec!["exit-now", "--detector", "waitpid-mian"], "waitpid-main"),
            (vec!["forkbomb", "--kill", "cgroup-kil"], "cgroup-kill"),
            (vec!["docter"], "doctor"),
        ] {
            let error = request(&words).unwrap_err();
            assert!(error.contains("nearest are") && error.contains(nearest), "{error}");
        }
    }

    #[test]
    fn assignments_need_an_axis_and_values() {
        assert_eq!(
            assignment("a=1,2").unwrap(),
            ("a".to_owned(), vec!["1".to_owned(), "2".to_owned()])
        );
        for bad in ["a", "a=", "=1", "a=1,,2"] {
            assert!(assignment(bad).is_err(), "{bad:?}");
        }
    }
}
