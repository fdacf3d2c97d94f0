//! Whatever a run has shown, the page fits a terminal, begins with the answer, and says what
//! differs from the expectation.

use std::collections::BTreeMap;
use std::path::Path;

use harness::expect::Canary;
use proptest::prelude::*;

use super::super::costs::Costs;
use super::super::exit::Exit;
use super::super::lines;
use super::super::skip::Skip;
use super::super::stats::Sample;
use super::super::summary::{Bounds, Broken, KillFigures, RowKey};
use super::*;

fn row(plane: Plane, scenario: &str, mechanism: &str, outcome: Outcome, ns: u64) -> Row {
    let timed = matches!(outcome, Outcome::Right | Outcome::Emptied);
    Row {
        key: RowKey {
            plane,
            scenario: scenario.to_owned(),
            mechanism: mechanism.to_owned(),
        },
        expected: "the best".to_owned(),
        n: 3,
        outcomes: BTreeMap::from([(outcome, 3)]),
        held: 3,
        latency: Sample::new(vec![ns; 3 * usize::from(timed)], 0),
        between: Bounds::default(),
        wakeups: Sample::default(),
        cpu: Sample::default(),
        population: None,
        costs: Costs::default(),
        kill: KillFigures {
            survivors_max: 5 * usize::from(outcome == Outcome::Survived),
            ..KillFigures::default()
        },
        broken: Vec::new(),
    }
}

fn fails(mut row: Row) -> Row {
    row.held = 2;
    row.broken = vec![Broken {
        seq: 7,
        outcome: Outcome::Early,
        cause: None,
        note: Some("process 12 was alive".to_owned()),
    }];
    row
}

fn page_of(rows: &[Row], skipped: &[Skip], leaks: &[String], planned: usize) -> Vec<Line> {
    page(&Report {
        run: "r",
        emulated: false,
        out: Path::new("/var/lib/a/place/of/some/length/scenario-1234-567890-4026531836"),
        seed: 1,
        planned,
        rows,
        ended: "Interrupted",
        skipped,
        notes: &[],
        leaks,
        exit: Exit::Held,
    })
}

/// As many rows as the main job has.
fn main_job() -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in ["exit-now", "fork-exit", "setsid"] {
        for at in 0..29 {
            let outcome = if at < 6 && scenario != "exit-now" {
                Outcome::Early
            } else {
                Outcome::Right
            };
            let id = format!("detector-of-the-kernel-{at}");
            rows.push(row(Plane::Detect, scenario, &id, outcome, 100_000 + at));
        }
    }
    for at in 0..27 {
        let outcome = if at < 8 {
            Outcome::Survived
        } else {
            Outcome::Emptied
        };
        let mut one = row(
            Plane::Kill,
            "forkbomb",
            &format!("strategy-{at}"),
            outcome,
            2_000_000 + at,
        );
        if at == 9 {
            one.kill.canaries = BTreeMap::from([(Canary::SameGroup, 3)]);
        }
        if at == 20 {
            one.key.mechanism = RECOMMENDED.to_owned();
        }
        rows.push(one);
    }
    rows
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn the_main_job_fits_a_terminal_and_begins_with_the_answer() {
    let rows = main_job();
    let planned = rows.len() * 3;
    let lines = page_of(&rows, &[], &[], planned);
    assert!(
        lines.len() <= HEIGHT,
        "{} lines: {:#?}",
        lines.len(),
        texts(&lines)
    );
    assert!(
        lines.iter().all(|line| line.text.chars().count() <= WIDTH),
        "{lines:#?}"
    );
    assert_eq!(
        lines[0].text,
        format!("Every expectation held ({planned} of {planned} trials).")
    );
    assert_eq!(lines[1].text, "Nothing was left behind.");
    let all = texts(&lines).join("\n");
    for part in [
        "fastest of 29",
        "latest of 29",
        "too early: ",
        "recommended",
        "left something alive: ",
        "hit bystanders: ",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
    assert!(lines.iter().all(|line| !line.failed));
}

#[test]
fn few_rows_are_all_printed() {
    let rows = [
        row(
            Plane::Detect,
            "setsid",
            "subreaper",
            Outcome::Right,
            200_000,
        ),
        row(Plane::Detect, "setsid", "waitpid-main", Outcome::Early, 0),
    ];
    let all = texts(&page_of(&rows, &[], &[], 6)).join("\n");
    assert!(
        all.contains("subreaper                    3 right"),
        "{all}"
    );
    assert!(
        all.contains("waitpid-main                 3 early"),
        "{all}"
    );
}

#[test]
fn what_failed_is_told_with_the_answer_and_is_red() {
    let mut rows = main_job();
    rows[40] = fails(rows[40].clone());
    let lines = page_of(
        &rows,
        &[],
        &["cgroup /sys/fs/cgroup/x".to_owned()],
        rows.len() * 3,
    );
    let red: Vec<&str> = lines
        .iter()
        .filter(|l| l.failed)
        .map(|l| l.text.as_str())
        .collect();
    assert!(
        red[0].starts_with("Expectations did not hold in 1 of"),
        "{red:?}"
    );
    assert!(
        red[1].contains("trial 7: detector-of-the-kernel-11 on fork-exit: early"),
        "{red:?}"
    );
    assert!(
        red.iter().any(|line| line.contains("/sys/fs/cgroup/x")),
        "{red:?}"
    );
    assert!(!texts(&lines).contains(&"Nothing was left behind."));
}

#[test]
fn what_is_absent_is_one_line_with_a_count() {
    let skip = |mechanism: &str, scenario: Option<&str>| Skip {
        mechanism: mechanism.to_owned(),
        scenario: scenario.map(str::to_owned),
        why: "no".to_owned(),
        remedy: None,
        rows: 1,
    };
    let skipped = [skip("a", None), skip("b", None), skip("c", Some("setsid"))];
    let rows = main_job();
    let lines = page_of(&rows, &skipped, &[], rows.len() * 3);
    let about: Vec<&Line> = lines
        .iter()
        .filter(|line| line.text.contains("available"))
        .collect();
    assert_eq!(about.len(), 1, "{about:?}");
    assert!(
        about[0]
            .text
            .starts_with("2 mechanisms not available here, 1 pairs"),
        "{about:?}"
    );
}

#[test]
fn an_interrupted_run_says_so_and_nothing_of_rows_without_trials() {
    let mut rows = main_job();
    for row in &mut rows[1..] {
        row.n = 0;
        row.held = 0;
        row.outcomes.clear();
        row.latency = Sample::default();
    }
    rows[1].n = 1;
    rows[1].outcomes = BTreeMap::from([(Outcome::Interrupted, 1)]);
    rows[1].broken = vec![Broken {
        seq: 3,
        outcome: Outcome::Interrupted,
        cause: None,
        note: None,
    }];
    let planned = rows.len() * 3;
    let lines = page_of(&rows, &[], &[], planned);
    assert_eq!(
        lines[0].text,
        format!("Interrupted after 3 of {planned} trials.")
    );
    let all = texts(&lines).join("\n");
    assert!(
        !all.contains("NO") && !all.contains("strategy-") && !all.contains("kernel-1"),
        "{all}"
    );
    assert!(all.contains("kernel-0"), "{all}");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Right),
        Just(Outcome::Early),
        Just(Outcome::Missed),
        Just(Outcome::Unknown),
        Just(Outcome::Emptied),
        Just(Outcome::Survived),
        Just(Outcome::Broken),
        Just(Outcome::Interrupted),
    ]
}

proptest! {
    #[test]
    fn every_page_fits(
        all in prop::collection::vec((any::<bool>(), 0usize..12, "[a-z-]{1,60}", outcome(),
            any::<u64>(), any::<bool>()), 0..80),
        leaks in prop::collection::vec("[a-z/ ]{1,200}", 0..20),
    ) {
        let mut rows: Vec<Row> = all
            .into_iter()
            .map(|(kill, scenario, id, outcome, ns, bad)| {
                let plane = if kill { Plane::Kill } else { Plane::Detect };
                let row = row(plane, &format!("scenario-{scenario} lifetime=5ms"), &id, outcome,
                    ns);
                if bad { fails(row) } else { row }
            })
            .collect();
        rows.sort_by_key(|row| row.key.scenario.clone());
        let lines = page_of(&rows, &[], &leaks, rows.len() * 3);
        prop_assert!(lines.len() <= HEIGHT + 2, "{} lines", lines.len());
        for line in &lines {
            prop_assert!(line.text.chars().count() <= WIDTH, "{}", line.text);
        }
        let coloured = lines::text(&lines, false).contains('\u{1b}');
        prop_assert!(!coloured);
    }
}
