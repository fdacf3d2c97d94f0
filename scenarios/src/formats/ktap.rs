//! A run as KTAP version 1, which the kernel's `tools/testing/kunit/kunit.py parse` reads: a suite
//! is a test with subtests. Source: Documentation/dev-tools/ktap.rst.

use super::{Ended, Suite};

/// The text.
pub fn text(suites: &[Suite]) -> String {
    let mut text = String::from("KTAP version 1\n");
    let mut say = |line: std::fmt::Arguments<'_>| {
        text.push_str(&line.to_string());
        text.push('\n');
    };
    say(format_args!("1..{}", suites.len()));
    for (at, suite) in suites.iter().enumerate() {
        let name = description(&suite.name);
        say(format_args!("    KTAP version 1"));
        say(format_args!("    # Subtest: {name}"));
        say(format_args!("    1..{}", suite.cases.len()));
        let mut result = "ok";
        for (at, case) in suite.cases.iter().enumerate() {
            let (number, name) = (at + 1, description(&case.name));
            match &case.result {
                Ended::Passed => say(format_args!("    ok {number} {name}")),
                Ended::Skipped(why) => {
                    say(format_args!("    ok {number} {name} # SKIP {}", line(why)))
                }
                Ended::Failed(told) => {
                    result = "not ok";
                    for told in told {
                        say(format_args!("    # {}", line(told)));
                    }
                    say(format_args!("    not ok {number} {name}"));
                }
            }
        }
        let all_skipped = suite
            .cases
            .iter()
            .all(|case| matches!(case.result, Ended::Skipped(_)));
        let directive = match all_skipped {
            true => " # SKIP all of its tests",
            false => "",
        };
        say(format_args!("{result} {} {name}{directive}", at + 1));
    }
    text
}

/// One line of any text.
fn line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A description may not contain what begins a directive.
fn description(text: &str) -> String {
    line(text).replace('#', "_")
}

#[cfg(test)]
mod tests {
    use super::super::Case;
    use super::*;

    fn case(name: &str, result: Ended) -> Case {
        Case {
            name: name.to_owned(),
            result,
        }
    }

    fn suite(name: &str, cases: Vec<Case>) -> Suite {
        Suite {
            name: name.to_owned(),
            cases,
        }
    }

    /// Reads one level by the specification: a version line, a plan, then as many results as
    /// planned, numbered from 1, each preceded by diagnostics or by a nested level.
    fn check<'a>(
        lines: &mut std::iter::Peekable<std::str::Lines<'a>>,
        indent: &str,
    ) -> Vec<&'a str> {
        let mut next = || lines.next().and_then(|line| line.strip_prefix(indent));
        assert_eq!(next(), Some("KTAP version 1"));
        let mut plan = next().unwrap();
        if plan.starts_with("# Subtest: ") {
            plan = next().unwrap();
        }
        let planned: usize = plan.strip_prefix("1..").unwrap().parse().unwrap();
        let mut results = Vec::new();
        while results.len() < planned {
            let deeper = format!("{indent}    ");
            if lines.peek().unwrap().starts_with(&deeper) {
                let below = check(lines, &deeper);
                let line = lines.next().unwrap().strip_prefix(indent).unwrap();
                let failed = below.iter().any(|result| result.starts_with("not ok"));
                assert_eq!(line.starts_with("not ok"), failed, "{line}");
                results.push(line);
                continue;
            }
            let line = lines.next().unwrap().strip_prefix(indent).unwrap();
            if !line.starts_with("# ") {
                results.push(line);
            }
        }
        for (at, result) in results.iter().enumerate() {
            let rest = result
                .strip_prefix("ok ")
                .or_else(|| result.strip_prefix("not ok "))
                .unwrap();
            let (number, description) = rest.split_once(' ').unwrap();
            assert_eq!(number.parse(), Ok(at + 1));
            let (description, directive) = match description.split_once(" # ") {
                None => (description, None),
                Some((description, directive)) => (description, Some(directive)),
            };
            assert!(!description.is_empty() && !description.contains('#'));
            assert!(directive.is_none_or(|text| text.starts_with("SKIP ")));
        }
        results
    }

    #[test]
    fn the_text_follows_the_specification() {
        let suites = [
            suite(
                "exit-now lifetime=5ms",
                vec![
                    case("detect cgroup-events-poll", Ended::Passed),
                    case(
                        "detect #1\nok 9 forged",
                        Ended::Failed(vec!["expected: x".to_owned(), "a\nnot ok 3 b".to_owned()]),
                    ),
                    case(
                        "detect v1-event-control",
                        Ended::Skipped("no\nv1".to_owned()),
                    ),
                ],
            ),
            suite(
                "not-available",
                vec![case("fanotify", Ended::Skipped("x # y".to_owned()))],
            ),
            suite("run", vec![case("every trial was run", Ended::Passed)]),
        ];
        let text = text(&suites);
        let mut lines = text.lines().peekable();
        let results = check(&mut lines, "");
        assert_eq!(lines.next(), None, "{text}");
        assert_eq!(
            results,
            [
                "not ok 1 exit-now lifetime=5ms",
                "ok 2 not-available # SKIP all of its tests",
                "ok 3 run"
            ]
        );
        assert!(
            text.contains("    not ok 2 detect _1 ok 9 forged\n"),
            "{text}"
        );
        assert!(text.contains("    # a not ok 3 b\n"), "{text}");
    }

    #[test]
    fn a_run_without_tests_is_still_a_document() {
        assert_eq!(text(&[]), "KTAP version 1\n1..0\n");
    }
}
