//! Results of kernel selftests: KTAP, and the TAP that older tests print
//! (`Documentation/dev-tools/ktap.rst`).

use serde::{Deserialize, Serialize};

/// How one test of a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// `ok`.
    Pass,
    /// `not ok`.
    Fail,
    /// `ok … # SKIP`, or `not ok … # SKIP`.
    Skip,
    /// `not ok … # XFAIL` or `# TODO`: known not to work.
    ExpectedFail,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its description, without number and dash.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The text behind the directive, such as the reason of a skip.
    pub note: String,
}

/// The results in a program's output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its tests; subtests come with their own lines and are counted, not their parents.
    pub cases: Vec<Case>,
    /// What is wrong with the output itself: no plan, fewer tests than planned, a bail-out.
    pub faults: Vec<String>,
}

impl Report {
    /// How many tests ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cases
            .iter()
            .filter(|case| case.outcome == outcome)
            .count()
    }
}

/// Reads the output of one program. Lines that are not results are ignored, as the format requires.
#[must_use]
pub fn parse(output: &str) -> Report {
    let mut report = Report::default();
    let mut planned: Option<usize> = None;
    let mut top = 0;
    let mut nested = false;
    for line in output.lines() {
        // Programs that print KTAP inside KTAP indent by two spaces, or put "# " in front.
        let stripped = line.trim_start_matches("# ").trim_start();
        let is_top = stripped == line;
        if is_top && let Some(count) = plan(stripped) {
            planned = Some(count);
        } else if let Some(reason) = stripped.strip_prefix("Bail out!") {
            report.faults.push(format!("bailed out:{reason}"));
        } else if let Some(case) = result(stripped) {
            if is_top {
                top += 1;
                // The line of a parent repeats the results of its subtests.
                if std::mem::take(&mut nested) && case.outcome != Outcome::Skip {
                    continue;
                }
            } else {
                nested = true;
            }
            report.cases.push(case);
        }
    }
    match planned {
        None => report.faults.push("no plan line (1..N)".to_owned()),
        Some(count) if count != top => report
            .faults
            .push(format!("{count} tests planned, {top} reported")),
        Some(_) => {}
    }
    report
}

fn plan(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("1..")?;
    rest.split_whitespace().next().unwrap_or("").parse().ok()
}

fn result(line: &str) -> Option<Case> {
    let (passed, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    let rest = rest.strip_prefix(' ')?.trim_start();
    let number = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let rest = rest[number..].trim_start().trim_start_matches("- ").trim();
    let (name, directive) = rest
        .split_once('#')
        .map_or((rest, ""), |(a, b)| (a.trim(), b.trim()));
    let word = directive
        .split_whitespace()
        .next()
        .unwrap_or("")
        .to_ascii_uppercase();
    let outcome = match word.as_str() {
        "SKIP" => Outcome::Skip,
        "XFAIL" | "TODO" => Outcome::ExpectedFail,
        _ if passed => Outcome::Pass,
        _ => Outcome::Fail,
    };
    // kselftest's own header writes `ok 1 # SKIP text`: then the text is the only name.
    let note = directive.get(word.len()..).unwrap_or("").trim().to_owned();
    let name = if name.is_empty() {
        note.clone()
    } else {
        name.to_owned()
    };
    Some(Case {
        name,
        outcome,
        note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_results_with_directives() {
        let text = "TAP version 13\n\
            1..4\n\
            ok 1 test_cgcore_populated\n\
            not ok 2 - test_x\n\
            ok 3 test_y # SKIP no swap\n\
            not ok 4 test_z # XFAIL known\n\
            # Totals: pass:1\n";
        let report = parse(text);
        let short: Vec<(&str, Outcome)> = report
            .cases
            .iter()
            .map(|c| (c.name.as_str(), c.outcome))
            .collect();
        assert_eq!(
            short,
            [
                ("test_cgcore_populated", Outcome::Pass),
                ("test_x", Outcome::Fail),
                ("test_y", Outcome::Skip),
                ("test_z", Outcome::ExpectedFail)
            ]
        );
        assert_eq!(report.cases[2].note, "no swap");
        assert!(report.faults.is_empty());
    }

    #[test]
    fn a_program_that_dies_in_the_middle_is_a_fault() {
        assert_eq!(
            parse("1..3\nok 1 a\n").faults,
            ["3 tests planned, 1 reported"]
        );
        assert_eq!(parse("ok 1 a\n").faults, ["no plan line (1..N)"]);
        assert_eq!(parse("").faults, ["no plan line (1..N)"]);
        assert_eq!(
            parse("1..1\nBail out! no root\n").faults[0],
            "bailed out: no root"
        );
    }

    #[test]
    fn subtests_count_and_their_parent_does_not_count_again() {
        let text = "KTAP version 1\n\
            1..1\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\n\
            not ok 1 parent\n";
        let report = parse(text);
        assert_eq!(report.cases.len(), 2);
        assert_eq!(
            (report.count(Outcome::Pass), report.count(Outcome::Fail)),
            (1, 1)
        );
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }

    #[test]
    fn ordinary_words_are_no_results() {
        let report = parse("1..0 # SKIP all\nokay then\nnotok\nok\n");
        assert!(
            report.cases.is_empty() && report.faults.is_empty(),
            "{report:?}"
        );
    }

    proptest! {
        #[test]
        fn no_output_makes_the_reader_fall(lines in proptest::collection::vec("(ok|not \
            ok|1\\.\\.|# |  )? ?[0-9]{0,3} ?\\PC{0,12}", 0..10)) {
            drop(parse(&lines.join("\n")));
        }

        #[test]
        fn every_planned_test_is_counted(outcomes in proptest::collection::vec(any::<bool>(),
            0..20)) {
            let mut text = format!("TAP version 13\n1..{}\n", outcomes.len());
            for (i, passed) in outcomes.iter().enumerate() {
                text += &format!("{} {} t{i}\n", if *passed { "ok" } else { "not ok" }, i + 1);
            }
            let report = parse(&text);
            prop_assert_eq!(report.count(Outcome::Pass), outcomes.iter().filter(|p| **p).count());
            prop_assert!(report.faults.is_empty());
        }
    }
}
