//! The result in plain words: one line for each plane, one about the expectations, and what did not go as expected.

use std::collections::BTreeSet;

use harness::expect::Plane;
use harness::record::Outcome;

use super::stats::{self, upper_bound_of_none};
use super::summary::Row;
use super::table;

/// One line about the detectors.
pub fn detect(rows: &[Row]) -> Option<String> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.key.plane == Plane::Detect && row.n > 0).collect();
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let wrong = |row: &&&Row| row.count(Outcome::Right) + row.count(Outcome::Removed) != row.n;
    let truthful: Vec<&str> = mechanisms
        .iter()
        .copied()
        .filter(|m| !rows.iter().filter(|row| row.key.mechanism == *m).any(|row| wrong(&&row)))
        .collect();
    let mut parts = vec![format!(
        "{} of {} detectors told the truth in every trial ({})",
        truthful.len(),
        mechanisms.len(),
        list(&truthful),
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

/// The slowest truthful row, beside the fastest on the same scenario.
fn latest(rows: &[&Row]) -> Option<String> {
    let median = |row: &Row| row.latency.percentile(50).value();
    let slow = rows.iter().filter(|row| median(row).is_some()).max_by_key(|row| median(row))?;
    let fast = rows
        .iter()
        .filter(|row| row.key.scenario == slow.key.scenario && median(row).is_some())
        .min_by_key(|row| median(row))?;
    let (late, soon) = (median(slow)?, median(fast)?);
    let slowest = format!("latest is {} on {}, median {}", slow.key.mechanism, slow.key.scenario, stats::ns(late));
    Some(match late > soon {
        true => format!("{slowest}, where {} takes {}", fast.key.mechanism, stats::ns(soon)),
        false => slowest,
    })
}

/// One line about the strategies.
pub fn kill(rows: &[Row]) -> Option<String> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.key.plane == Plane::Kill && row.n > 0).collect();
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let of = |mechanism: &str| rows.iter().copied().filter(move |row| row.key.mechanism == mechanism).collect::<Vec<_>>();
    let clean: Vec<&str> = mechanisms
        .iter()
        .copied()
        .filter(|m| of(m).iter().all(|row| row.count(Outcome::Emptied) == row.n && row.kill.canaries.is_empty()))
        .collect();
    let mut parts = Vec::new();
    if clean.is_empty() {
        parts.push(format!("none of {} strategies emptied the cgroup in every trial", mechanisms.len()));
    } else {
        let n = clean.iter().map(|m| of(m).iter().map(|row| row.n).sum::<usize>()).min().unwrap_or(0);
        parts.push(format!(
            "{} left nothing alive and hit nobody else (survivors in 0 of {n} trials each; a true rate of up to {} % would look the same)",
            list(&clean),
            percent(upper_bound_of_none(n)),
        ));
    }
    for mechanism in mechanisms.iter().filter(|m| !clean.contains(m)) {
        parts.push(what_was_left(mechanism, &of(mechanism)));
    }
    Some(format!("Kill: {}.", parts.join("; ")))
}

fn what_was_left(mechanism: &str, rows: &[&Row]) -> String {
    let n: usize = rows.iter().map(|row| row.n).sum();
    let survived: usize = rows.iter().map(|row| row.count(Outcome::Survived)).sum();
    let most = rows.iter().map(|row| row.kill.survivors_max).max().unwrap_or(0);
    let hits: usize = rows.iter().flat_map(|row| row.kill.canaries.values()).sum();
    let mut text = match survived {
        0 => mechanism.to_owned(),
        _ => format!("{mechanism} left up to {most} alive in {survived} of {n} trials"),
    };
    if hits > 0 {
        text.push_str(&format!("{} hit bystanders in {hits} of {n}", if survived > 0 { " and" } else { "" }));
    }
    if survived == 0 && hits == 0 {
        text.push_str(" could not be judged in every trial");
    }
    text
}

/// Whether every expectation held, and which did not.
pub fn expectations(rows: &[Row]) -> Vec<String> {
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
                broken.expected,
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
    if percent >= 10.0 { format!("{percent:.0}") } else { format!("{percent:.1}") }
}
