//! Plans are complete, have two planes and never a cube, and what cannot work is found before
//! anything starts.

use clap::Parser;

use super::super::args::Cli;
use super::super::exit::Exit;
use super::super::request::{REFERENCES, of_run, resolve};
use super::*;

fn everything() -> Offers {
    Offers {
        detectors: DETECTORS
            .iter()
            .map(|d| (d.spec().id, Support::Available))
            .collect(),
        strategies: STRATEGIES
            .iter()
            .map(|s| (s.spec().id, Support::Available))
            .collect(),
        features: BTreeMap::new(),
    }
}

fn planned(words: &[&str], offers: &Offers) -> Result<Plan, Failure> {
    let cli = Cli::try_parse_from([&["scenario"], words].concat()).unwrap();
    plan(&resolve(&cli.run)?, offers, 7)
}

#[test]
fn blocks_are_complete_and_the_seed_decides() {
    let same = [std::time::Duration::ZERO; 5];
    let order = order(&same, 4, false, 1);
    assert_eq!(order.len(), 20);
    for block in order.chunks(5) {
        let mut rows: Vec<usize> = block.iter().map(|trial| trial.row).collect();
        rows.sort_unstable();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
        assert!(
            block
                .iter()
                .all(|trial| trial.script_seed == block[0].script_seed
                    && trial.block == block[0].block),
            "one script seed for a block"
        );
    }
    assert_eq!(super::order(&same, 4, false, 1), order);
    assert_ne!(super::order(&same, 4, false, 2), order);
}

#[test]
fn two_planes_and_never_a_cube() {
    let plan = planned(&["forkbomb"], &everything()).unwrap();
    for cell in &plan.cells {
        match cell.strategy {
            Some(_) => {
                assert_eq!(cell.subject.id(), "forkbomb");
                let turns: Vec<_> = (0..4).map(|block| cell.detector(block).spec().id).collect();
                assert_eq!(turns[..3], REFERENCES, "they take turns");
                assert_eq!(turns[3], turns[0]);
            }
            None => assert_ne!(cell.subject.id(), "forkbomb"),
        }
    }
    let kills = plan
        .cells
        .iter()
        .filter(|cell| cell.strategy.is_some())
        .count();
    let not_applicable = plan
        .skipped
        .iter()
        .filter(|s| s.scenario.as_deref() == Some("forkbomb"))
        .count();
    assert_eq!(kills + not_applicable, STRATEGIES.len());
}

#[test]
fn each_value_is_a_row_and_each_row_is_labelled() {
    let words = [
        "exit-now",
        "--detector",
        "cgroup-procs-poll",
        "--set",
        "lifetime=0,5ms",
        "--set",
        "interval=1ms,2ms",
    ];
    let plan = planned(&words, &everything()).unwrap();
    let mut keys: Vec<String> = plan
        .cells
        .iter()
        .map(|c| format!("{} {}", c.key.scenario, c.key.mechanism))
        .collect();
    keys.sort();
    assert_eq!(
        keys[0],
        "exit-now lifetime=0 cgroup-procs-poll interval=1ms"
    );
    assert_eq!((keys.len(), plan.seed), (4, 7));
}

#[test]
fn what_cannot_work_is_refused_with_what_would() {
    for (words, why) in [
        (&["exit-now", "--set", "lifetime=2s"][..], "--deadline 4s"),
        (
            &["setsid", "--set", "lifetime=50ms", "--deadline", "50ms"],
            "would be missed",
        ),
        (
            &["sleepers", "--kill", "sound", "--set", "sleepers=100"],
            "--tasks 101",
        ),
        (
            &["leaderless", "--kill", "sound", "--set", "copies=32"],
            "66 tasks",
        ),
    ] {
        let failure = planned(words, &everything()).unwrap_err();
        let text = failure.error.to_string();
        assert!(
            failure.exit == Exit::Usage && text.contains(why),
            "{words:?}: {text}"
        );
    }
    for words in [
        &["exit-now", "--set", "lifetime=2s", "--deadline", "4s"][..],
        &["exit-now", "--kill", "sound", "--detector", "none"],
        &[
            "sleepers",
            "--kill",
            "sound",
            "--set",
            "sleepers=100",
            "--tasks",
            "101",
        ],
    ] {
        assert!(planned(words, &everything()).is_ok(), "{words:?}");
    }
}

#[test]
fn an_axis_that_nobody_has_is_a_mistake() {
    let failure = planned(&["exit-now", "--set", "lifetme=0"], &everything()).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.error.to_string().contains("nearest are lifetime"),
        "{}",
        failure.error
    );
}

#[test]
fn what_is_missing_is_said_and_an_error_if_it_was_named() {
    let mut offers = everything();
    offers
        .detectors
        .insert("pidfd-main", Support::missing("ENOSYS", "a newer kernel"));
    let plan = planned(&["exit-now"], &offers).unwrap();
    assert!(
        plan.cells
            .iter()
            .all(|cell| cell.watchers[0].spec().id != "pidfd-main")
    );
    let skipped = plan
        .skipped
        .iter()
        .find(|skip| skip.mechanism == "pidfd-main")
        .unwrap();
    assert_eq!((skipped.why.as_str(), skipped.rows), ("ENOSYS", 1));
    let failure = planned(&["exit-now", "--detector", "pidfd-main"], &offers).unwrap_err();
    assert_eq!(failure.exit, Exit::Missing);
    for (id, left) in REFERENCES.into_iter().zip([2, 1]) {
        offers
            .detectors
            .insert(id, Support::missing("EROFS", "mount it"));
        let plan = planned(&["forkbomb", "--detector", "none"], &offers).unwrap();
        assert!(plan.cells.iter().all(|cell| cell.watchers.len() == left));
    }
    offers
        .detectors
        .insert(REFERENCES[2], Support::missing("EROFS", "mount it"));
    assert_eq!(
        planned(&["forkbomb"], &offers).unwrap_err().exit,
        Exit::Missing
    );
}

#[test]
fn what_is_run_and_what_is_not_are_every_mechanism_on_every_scenario() {
    let mut offers = everything();
    let missing = || Support::missing("ENOSYS", "a newer kernel");
    let whole = planned(&["all"], &offers).unwrap();
    offers.detectors.insert("pidfd-main", missing());
    offers.detectors.insert(REFERENCES[0], missing());
    offers.strategies.insert("cgroup-kill", missing());
    offers.features.insert("userfaultfd", missing());
    let less = planned(&["all"], &offers).unwrap();
    let rows = |plan: &Plan| plan.cells.len() + plan.skipped.iter().map(|s| s.rows).sum::<usize>();
    assert!(less.cells.len() < whole.cells.len());
    assert_eq!(rows(&less), rows(&whole));
    // It has rows in both planes, and is one remark.
    let needs_it = |s: &&Skip| s.mechanism == "every mechanism";
    let remarks: Vec<_> = less.skipped.iter().filter(needs_it).collect();
    let [one] = remarks[..] else {
        panic!("{remarks:?}")
    };
    assert_eq!(one.scenario.as_deref(), Some("uninterruptible"));
    assert!(one.rows > DETECTORS.len(), "{one:?}");
}

#[test]
fn only_what_is_expected_to_see_the_end_has_longer_unless_a_deadline_is_given() {
    let deadlines = |words: &[&str]| {
        let cli = Cli::try_parse_from([&["scenario"], words].concat()).unwrap();
        let request = of_run(&cli.run).unwrap();
        let plan = plan(&request, &everything(), 7).unwrap();
        let cells = plan.cells.iter();
        cells
            .map(|cell| cell.deadline(&request).as_secs())
            .collect::<Vec<_>>()
    };
    let watched = ["exit-now", "--detector", "cgroup-events-poll"];
    assert_eq!(deadlines(&watched), [10]);
    assert_eq!(
        deadlines(&[&watched[..], &["--deadline", "2s"]].concat()),
        [2]
    );
    let in_vain = ["stopped-tree", "--detector", "cgroup-events-poll"];
    assert_eq!(deadlines(&in_vain), [1], "it never ends");
    let killed = ["sleepers", "--detector", "none", "--kill", "cgroup-kill"];
    assert_eq!(deadlines(&killed), [1]);
}
