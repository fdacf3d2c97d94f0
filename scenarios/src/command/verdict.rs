//! The result in plain words: one line for each plane, one about the expectations, and what did not
//! go as expected.

use std::collections::{BTreeMap, BTreeSet};

use harness::expect::Plane;
use harness::record::figures::upper_bound_of_none;
use harness::record::{Cause, Outcome};

use crate::expectations as expectations_of;

use super::lines::{Line, list, wrapped};
use super::stats;
use super::summary::Row;
use super::table;

/// So many names are printed; more are only counted.
const FEW: usize = 3;

/// The rows of a plane with a valid trial.
pub(super) fn of_plane(rows: &[Row], plane: Plane) -> Vec<&Row> {
    let rows = rows.iter();
    rows.filter(|row| row.key.plane == plane && row.judged() > 0)
        .collect()
}

/// The rows of a plane that can tell mechanisms apart, and the scenarios that no mechanism of the
/// plane can do anything about. If there are only such, they are what was asked for.
fn telling(rows: &[Row], plane: Plane) -> (Vec<&Row>, Vec<&str>) {
    let hopeless = |row: &&Row| {
        let id = row.key.scenario.split(' ').next().unwrap_or_default();
        crate::by_id(id).is_some_and(|scenario| match plane {
            Plane::Detect => expectations_of::ends_unseen(scenario),
            Plane::Kill => expectations_of::escapes_all(scenario),
        })
    };
    let all = of_plane(rows, plane);
    let (set_apart, telling): (Vec<&Row>, Vec<&Row>) = all.iter().copied().partition(hopeless);
    if telling.is_empty() {
        return (all, Vec::new());
    }
    let names: BTreeSet<&str> = set_apart
        .iter()
        .map(|row| row.key.scenario.as_str())
        .collect();
    (telling, names.into_iter().collect())
}

/// One sentence about the detectors. `None`: none has a valid trial.
pub(super) fn detect(rows: &[Row]) -> Option<String> {
    let (rows, set_apart) = telling(rows, Plane::Detect);
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let wrong = |row: &Row| row.count(Outcome::Right) + row.count(Outcome::Removed) != row.judged();
    let truthful: Vec<&str> = mechanisms
        .iter()
        .copied()
        .filter(|m| {
            !rows
                .iter()
                .filter(|row| row.key.mechanism == *m)
                .any(|row| wrong(row))
        })
        .collect();
    let mut parts = vec![format!(
        "{} of {} detectors were right in every trial",
        truthful.len(),
        mechanisms.len(),
    )];
    for (outcome, what) in [
        (Outcome::Early, "said \"empty\" while something lived"),
        (Outcome::Missed, "had not noticed the end at the deadline"),
        (Outcome::Unknown, "could not tell"),
    ] {
        let guilty = rows.iter().filter(|row| row.count(outcome) > 0);
        let guilty: BTreeSet<&str> = guilty.map(|row| row.key.mechanism.as_str()).collect();
        if !guilty.is_empty() {
            let guilty: Vec<&str> = guilty.into_iter().collect();
            parts.push(format!("{} {what}", names(&guilty)));
        }
    }
    parts.extend(latest(&rows));
    if !set_apart.is_empty() {
        let those = list(&set_apart, FEW);
        parts.push(format!(
            "not counted: {those}, whose end no detector can tell"
        ));
    }
    Some(format!("Detect: {}.", parts.join("; ")))
}

/// The slowest row that was right in every trial, beside the fastest such row of the same scenario.
fn latest(rows: &[&Row]) -> Option<String> {
    let median = |row: &Row| {
        row.latency
            .percentile(50)
            .value()
            .filter(|_| row.count(Outcome::Right) == row.judged())
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
        true => format!(
            "{slowest}, where {} takes {}",
            fast.key.mechanism,
            stats::ns(soon)
        ),
        false => slowest,
    })
}

/// One sentence about the strategies. `None`: none has a valid trial.
pub(super) fn kill(rows: &[Row]) -> Option<String> {
    let (rows, set_apart) = telling(rows, Plane::Kill);
    let mechanisms = distinct(&rows);
    if mechanisms.is_empty() {
        return None;
    }
    let strategies: Vec<Strategy<'_>> =
        mechanisms.iter().map(|m| Strategy::new(m, &rows)).collect();
    let those = |which: fn(&Strategy<'_>) -> bool| -> Vec<&Strategy<'_>> {
        strategies.iter().filter(|s| which(s)).collect()
    };
    let clean = those(|s| s.emptied == s.n && s.hits == 0);
    let n = clean.iter().map(|s| s.n).min().unwrap_or(0);
    let mut parts = vec![match clean.len() {
        0 => format!(
            "none of {} strategies left nothing alive and hit nothing else",
            strategies.len()
        ),
        _ => format!(
            "{} of {} strategies left nothing alive and hit nothing else (survivors in 0 of {n} \
                trials each; a true rate of up to {} % would look the same)",
            clean.len(),
            strategies.len(),
            percent(upper_bound_of_none(n)),
        ),
    }];
    let survived = those(|s| s.survived > 0);
    if !survived.is_empty() {
        let most = survived.iter().map(|s| s.most).max().unwrap_or(0);
        parts.push(format!(
            "{} left processes alive, up to {most}",
            ids(&survived)
        ));
    }
    let hitting = those(|s| s.hits > 0);
    if !hitting.is_empty() {
        parts.push(format!("{} hit bystanders", ids(&hitting)));
    }
    let unjudged = those(|s| s.survived == 0 && s.hits == 0 && s.emptied < s.n);
    if !unjudged.is_empty() {
        parts.push(format!(
            "{} could not be judged in every trial",
            ids(&unjudged)
        ));
    }
    if !set_apart.is_empty() {
        let those = list(&set_apart, FEW);
        parts.push(format!("not counted: {those}, which no strategy can reach"));
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
            n: own().map(|row| row.judged()).sum(),
            emptied: own().map(|row| row.count(Outcome::Emptied)).sum(),
            survived: own().map(|row| row.count(Outcome::Survived)).sum(),
            most: own().map(|row| row.kill.survivors_max).max().unwrap_or(0),
            hits: own().flat_map(|row| row.kill.canaries.values()).sum(),
        }
    }
}

fn ids(strategies: &[&Strategy<'_>]) -> String {
    names(&strategies.iter().map(|s| s.id).collect::<Vec<_>>())
}

/// Their names, or how many they are.
fn names(ids: &[&str]) -> String {
    match ids.len() {
        ..=FEW => list(ids, FEW),
        many => many.to_string(),
    }
}

/// Whether the run is complete, whether every expectation held, and if not, what did not go as
/// expected.
///
/// `ended` says how an incomplete run ended.
pub(super) fn expectations(rows: &[Row], planned: usize, ended: &str) -> Vec<Line> {
    let sum = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let (judged, failed) = (sum(Row::judged), sum(Row::failed));
    let broken = sum(|row| row.count(Outcome::Broken));
    let run = judged + broken;
    let mut lines = Vec::new();
    if run < planned {
        lines.push(Line::plain(format!(
            "{ended} after {run} of {planned} trials."
        )));
    }
    match (judged, failed) {
        (0, _) if broken == 0 => lines.push(Line::plain("No trial was run to its end.")),
        (0, _) => {}
        (n, 0) => lines.push(Line::plain(format!(
            "Every expectation held ({n} of {n} trials)."
        ))),
        (n, _) => lines.push(Line::failed(format!(
            "Expectations did not hold in {failed} of {n} trials:"
        ))),
    }
    lines.extend(others(rows));
    if broken > 0 {
        lines.push(Line::failed(format!(
            "{broken} of {planned} trials broke, which says nothing of what they were to show:"
        )));
        lines.extend(causes(rows));
    }
    lines
}

/// Why trials broke: each kind once, with the number of trials and the note of the first.
fn causes(rows: &[Row]) -> Vec<Line> {
    let mut kinds: BTreeMap<Option<Cause>, (usize, String)> = BTreeMap::new();
    for row in rows {
        for trial in row
            .broken
            .iter()
            .filter(|trial| trial.outcome == Outcome::Broken)
        {
            let first = || {
                let note = trial.note.as_deref().unwrap_or("no note");
                let (mechanism, on) = (&row.key.mechanism, &row.key.scenario);
                format!("first: trial {}, {mechanism} on {on}: {note}", trial.seq)
            };
            kinds.entry(trial.cause).or_insert_with(|| (0, first())).0 += 1;
        }
    }
    let told = kinds.into_iter().flat_map(|(cause, (n, first))| {
        let cause = cause.map_or("no cause recorded", Cause::name);
        wrapped(&format!("  {n} {cause}; "), &first, 6)
    });
    told.map(Line::failed).collect()
}

/// The trials that did not end as expected, a paragraph each.
fn others(rows: &[Row]) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in rows {
        let says_nothing = |outcome| matches!(outcome, Outcome::Broken | Outcome::Interrupted);
        for trial in row
            .broken
            .iter()
            .filter(|trial| !says_nothing(trial.outcome))
        {
            let note = trial
                .note
                .as_deref()
                .map(|note| format!("; {note}"))
                .unwrap_or_default();
            let text = format!(
                "{} on {}: {}; expected: {}{note}",
                row.key.mechanism,
                row.key.scenario,
                table::name(trial.outcome),
                row.expected,
            );
            lines.extend(
                wrapped(&format!("  trial {}: ", trial.seq), &text, 6)
                    .into_iter()
                    .map(Line::failed),
            );
        }
    }
    lines
}

fn distinct<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let all: BTreeSet<&str> = rows.iter().map(|row| row.key.mechanism.as_str()).collect();
    all.into_iter().collect()
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
#[path = "verdict_tests.rs"]
mod tests;
