//! A run as test results: one row is one test, and its expectation is the condition. What formats
//! for other programs print ([`crate::formats`]).

use harness::expect::Plane;
use harness::record::Outcome;

use super::report::Report;
use super::summary::Row;
use super::table;
use crate::formats::{Case, Ended, Suite};

/// The suite of what is not about one row.
const OF_RUN: &str = "run";
/// The suite of mechanisms that this machine does not offer.
const ABSENT: &str = "not-available";
/// As many trials of a row are described.
const TOLD: usize = 10;

/// All tests of a run, in the order of its rows; then what was not run, and the run itself.
pub(super) fn suites(report: &Report<'_>) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut add = |suite: &str, case: Case| match suites.iter_mut().find(|s| s.name == suite) {
        Some(known) => known.cases.push(case),
        None => suites.push(Suite {
            name: suite.to_owned(),
            cases: vec![case],
        }),
    };
    for row in report.rows {
        let plane = match row.key.plane {
            Plane::Detect => "detect",
            Plane::Kill => "kill",
        };
        add(
            &row.key.scenario,
            Case {
                name: format!("{plane} {}", row.key.mechanism),
                result: of_row(row),
            },
        );
    }
    for skip in report.skipped {
        let remedy = skip.remedy.as_deref().map(|r| format!("; {r}"));
        let (suite, why) = match &skip.scenario {
            Some(scenario) => (scenario.as_str(), format!("not applicable: {}", skip.why)),
            None => (ABSENT, skip.why.clone()),
        };
        add(
            suite,
            Case {
                name: skip.mechanism.clone(),
                result: Ended::Skipped(why + remedy.as_deref().unwrap_or_default()),
            },
        );
    }
    let run = report.rows.iter().map(|row| row.n).sum::<usize>();
    let whole = match run < report.planned {
        true => Ended::Failed(vec![format!(
            "{} after {run} of {} trials",
            report.ended, report.planned
        )]),
        false => Ended::Passed,
    };
    let clean = match report.leaks.is_empty() {
        true => Ended::Passed,
        false => Ended::Failed(report.leaks.to_vec()),
    };
    for (name, result) in [
        ("every trial was run", whole),
        ("nothing was left behind", clean),
    ] {
        add(
            OF_RUN,
            Case {
                name: name.to_owned(),
                result,
            },
        );
    }
    suites
}

fn of_row(row: &Row) -> Ended {
    if row.n == 0 {
        return Ended::Skipped("the run ended before its turn".to_owned());
    }
    if row.judged() > 0 && row.failed() == 0 {
        return Ended::Passed;
    }
    let mut told = vec![
        format!("expected: {}", row.expected),
        format!("outcome: {}", table::outcomes(row)),
    ];
    for trial in row.broken.iter().take(TOLD) {
        let cause = trial.cause.map(|cause| format!(", {cause}"));
        let note = trial.note.as_deref().map(|note| format!(": {note}"));
        told.push(format!(
            "trial {} {}{}{}",
            trial.seq,
            table::name(trial.outcome),
            cause.unwrap_or_default(),
            note.unwrap_or_default()
        ));
    }
    if row.broken.len() > TOLD {
        told.push(format!("and {} more trials", row.broken.len() - TOLD));
    }
    let only_broken = row.judged() == 0
        && row
            .broken
            .iter()
            .all(|trial| trial.outcome == Outcome::Interrupted);
    match only_broken {
        true => Ended::Skipped("the run was interrupted during its trial".to_owned()),
        false => Ended::Failed(told),
    }
}
