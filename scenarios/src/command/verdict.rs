//! The result in plain words: one line for each plane, one about the expectations, and what did not go as expected.

use std::collections::BTreeSet;

use harness::expect::Plane;
use harness::record::Outcome;

use super::stats::{self, upper_bound_of_none};
use super::summary::Row;
use super::table;

/// So many names are read; more are only counted.
const FEW: usize = 6;

/// One line about the detectors.
pub(super) fn detect(rows: &[Row]) -> Option<String> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.key.plane == Plane::Detect && row.n > 0)
        .collect();
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let wrong = |row: &Row| row.count(Outcome::Right) + row.count(Outcome::Removed) != row.n;
    let truthful: Vec<&str> = mechanisms
        .iter()
        .copied()
        .filter(|m| !rows.iter().filter(|row| row.key.mechanism == *m).any(|row| wrong(row)))
        .collect();
    let named = match truthful.len() {
        1..=FEW => format!(" ({})", list(&truthful)),
        _ => String::new(),
    };
    let mut parts = vec![format!(
        "{} of {} detectors told the truth in every trial{named}",
        truthful.len(),
        mechanisms.len(),
    )];
    for (outcome, what) in [
        (Outcome::Early, "said \"empty\" while something lived"),
        (Outcome::Missed, "had not noticed the end at the deadline"),
        (Outcome::Unknown, "could not tell"),
    ] {
        parts.extend(who_did(&rows, outcome, what));
    }
    parts.extend(latest(&rows));
    Some(format!("Detect: {}.", parts.join("; ")))
}

/// Who ended so, and where: `fork-exit (pidfd-main, waitpid-main)`.
fn who_did(rows: &[&Row], outcome: Outcome, what: &str) -> Option<String> {
    let guilty: Vec<&&Row> = rows.iter().filter(|row| row.count(outcome) > 0).collect();
    if guilty.is_empty() {
        return None;
    }
    let who: BTreeSet<&str> = guilty.iter().map(|row| row.key.mechanism.as_str()).collect();
    let on: BTreeSet<&str> = guilty.iter().map(|row| row.key.scenario.as_str()).collect();
    let (who, on): (Vec<_>, Vec<_>) = (who.into_iter().collect(), on.into_iter().collect());
    Some(format!("{} {what} on {}", list(&who), list(&on)))
}

/// The slowest row that was right in every trial, beside the fastest such row of the same scenario.
fn latest(rows: &[&Row]) -> Option<String> {
    let median = |row: &Row| {
        row.latency
            .percentile(50)
            .value()
            .filter(|_| row.count(Outcome::Right) == row.n)
    };
    let slow = rows
        .iter()
        .filter(|row| median(row).is_some())
        .max_by_key(|row| median(row))?;
    let fast = rows
        .iter()
        .filter(|row| row.key.scenario == slow.key.scenario && median(row).is_some())
        .min_by_key(|row| median(row))?;
    let (late, soon) = (median(slow)?, median(fast)?);
    let slowest = format!(
        "latest is {} on {}, median {}",
        slow.key.mechanism,
        slow.key.scenario,
        stats::ns(late)
    );
    Some(match late > soon {
        true => format!("{slowest}, where {} takes {}", fast.key.mechanism, stats::ns(soon)),
        false => slowest,
    })
}

/// One line about the strategies.
pub(super) fn kill(rows: &[Row]) -> Option<String> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.key.plane == Plane::Kill && row.n > 0)
        .collect();
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let strategies: Vec<Strategy<'_>> = mechanisms.iter().map(|m| Strategy::new(m, &rows)).collect();
    let those =
        |which: fn(&Strategy<'_>) -> bool| -> Vec<&Strategy<'_>> { strategies.iter().filter(|s| which(s)).collect() };
    let clean = those(|s| s.emptied == s.n && s.hits == 0);
    let n = clean.iter().map(|s| s.n).min().unwrap_or(0);
    let mut parts = vec![match clean.len() {
        0 => format!(
            "none of {} strategies left nothing alive and hit nobody else",
            strategies.len()
        ),
        _ => format!(
            "{} left nothing alive and hit nobody else (survivors in 0 of {n} trials each; a true rate of up to {} % would look the same)",
            names(&clean, strategies.len()),
            percent(upper_bound_of_none(n)),
        ),
    }];
    let survived = those(|s| s.survived > 0);
    if !survived.is_empty() {
        let most = survived.iter().map(|s| s.most).max().unwrap_or(0);
        parts.push(format!(
            "{} left somebody alive, up to {most}",
            names(&survived, strategies.len())
        ));
    }
    let hitting = those(|s| s.hits > 0);
    if !hitting.is_empty() {
        parts.push(format!("{} hit bystanders", names(&hitting, strategies.len())));
    }
    let unjudged = those(|s| s.survived == 0 && s.hits == 0 && s.emptied < s.n);
    if !unjudged.is_empty() {
        parts.push(format!(
            "{} could not be judged in every trial",
            names(&unjudged, strategies.len())
        ));
    }
    Some(format!("Kill: {}.", parts.join("; ")))
}

/// All rows of one strategy.
struct Strategy<'a> {
    id: &'a str,
    n: usize,
    emptied: usize,
    survived: usize,
    most: usize,
    hits: usize,
}

impl<'a> Strategy<'a> {
    fn new(id: &'a str, rows: &[&Row]) -> Self {
        let own = || rows.iter().filter(|row| row.key.mechanism == id);
        Self {
            id,
            n: own().map(|row| row.n).sum(),
            emptied: own().map(|row| row.count(Outcome::Emptied)).sum(),
            survived: own().map(|row| row.count(Outcome::Survived)).sum(),
            most: own().map(|row| row.kill.survivors_max).max().unwrap_or(0),
            hits: own().flat_map(|row| row.kill.canaries.values()).sum(),
        }
    }
}

/// Their names, or how many they are.
fn names(strategies: &[&Strategy<'_>], of: usize) -> String {
    match strategies.len() {
        ..=FEW => list(&strategies.iter().map(|s| s.id).collect::<Vec<_>>()),
        many => format!("{many} of {of} strategies"),
    }
}

/// Whether every expectation held, and which did not.
pub(super) fn expectations(rows: &[Row]) -> Vec<String> {
    let n: usize = rows.iter().map(|row| row.n).sum();
    let held: usize = rows.iter().map(|row| row.held).sum();
    if n == 0 {
        return vec!["No trial was run.".to_owned()];
    }
    if held == n {
        return vec![format!("Every expectation held ({n} of {n} trials).")];
    }
    let mut lines = vec![format!("Expectations did not hold in {} of {n} trials:", n - held)];
    for row in rows {
        for broken in &row.broken {
            let note = broken.note.as_deref().unwrap_or("no note");
            lines.push(format!(
                "  trial {}: {} on {}: {}; expected: {}; {note}",
                broken.seq,
                row.key.mechanism,
                row.key.scenario,
                table::name(broken.outcome),
                row.expected,
            ));
        }
    }
    lines
}

fn distinct<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let all: BTreeSet<&str> = rows.iter().map(|row| row.key.mechanism.as_str()).collect();
    all.into_iter().collect()
}

/// `a`, `a and b`, `a, b and c`, `none`.
fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent >= 10.0 {
        format!("{percent:.0}")
    } else {
        format!("{percent:.1}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use harness::expect::Canary;

    use super::super::costs::Costs;
    use super::super::stats::Sample;
    use super::super::summary::{Broken, KillFigures, RowKey};
    use super::*;

    fn row(plane: Plane, mechanism: &str, outcomes: &[(Outcome, usize)]) -> Row {
        let n = outcomes.iter().map(|(_, n)| n).sum();
        Row {
            key: RowKey {
                plane,
                scenario: "setsid".to_owned(),
                mechanism: mechanism.to_owned(),
            },
            expected: "the best".to_owned(),
            n,
            outcomes: outcomes.iter().copied().collect(),
            held: n,
            latency: Sample::new(vec![1_000; n], 0),
            wakeups: Sample::default(),
            cpu: Sample::default(),
            population: None,
            costs: Costs::default(),
            kill: KillFigures::default(),
            broken: Vec::new(),
        }
    }

    #[test]
    fn who_is_early_is_named_with_the_scenario() {
        let rows = [
            row(Plane::Detect, "waitpid-main", &[(Outcome::Early, 3)]),
            row(Plane::Detect, "subreaper", &[(Outcome::Right, 3)]),
        ];
        let line = detect(&rows).unwrap();
        assert!(
            line.starts_with("Detect: 1 of 2 detectors told the truth in every trial (subreaper); "),
            "{line}"
        );
        assert!(
            line.contains("waitpid-main said \"empty\" while something lived on setsid"),
            "{line}"
        );
        assert_eq!(kill(&rows), None);
    }

    #[test]
    fn survivors_and_bystanders_are_told_apart() {
        let mut leaky = row(Plane::Kill, "kill-main", &[(Outcome::Survived, 300)]);
        leaky.kill.survivors_max = 7;
        let mut rude = row(Plane::Kill, "killpg", &[(Outcome::Emptied, 300)]);
        rude.kill.canaries = BTreeMap::from([(Canary::SameGroup, 300)]);
        let rows = [row(Plane::Kill, "cgroup-kill", &[(Outcome::Emptied, 300)]), leaky, rude];
        let line = kill(&rows).unwrap();
        for part in [
            "cgroup-kill left nothing alive and hit nobody else (survivors in 0 of 300 trials each; a true rate of up to 1.0 %",
            "kill-main left somebody alive, up to 7",
            "killpg hit bystanders",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_broken_expectation_is_listed_with_its_reason() {
        let mut bad = row(Plane::Detect, "subreaper", &[(Outcome::Early, 1), (Outcome::Right, 1)]);
        assert_eq!(
            expectations(std::slice::from_ref(&bad)),
            ["Every expectation held (2 of 2 trials)."]
        );
        bad.held = 1;
        bad.broken = vec![Broken {
            seq: 4,
            outcome: Outcome::Early,
            note: Some("process 7 was alive".to_owned()),
        }];
        let lines = expectations(&[bad]);
        assert_eq!(lines[0], "Expectations did not hold in 1 of 2 trials:");
        assert!(lines[1].contains("trial 4: subreaper on setsid: early; expected: the best; process 7 was alive"));
        assert_eq!(expectations(&[]), ["No trial was run."]);
    }
}
