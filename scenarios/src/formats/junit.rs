//! A run as JUnit XML, which hosted test systems read.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Ended, Suite};

/// The document. `run` names it.
///
/// Errors: it cannot be written as XML.
pub fn text(run: &str, suites: &[Suite]) -> anyhow::Result<String> {
    let mut report = Report::new(run);
    for suite in suites {
        let mut tests = TestSuite::new(suite.name.as_str());
        for case in &suite.cases {
            let status = match &case.result {
                Ended::Passed => TestCaseStatus::success(),
                Ended::Skipped(why) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(why.as_str());
                    status
                }
                Ended::Failed(told) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(told.first().map_or("", String::as_str));
                    status.set_description(told.join("\n"));
                    status
                }
            };
            let mut test = TestCase::new(case.name.as_str(), status);
            test.set_classname(suite.name.as_str());
            tests.add_test_case(test);
        }
        report.add_test_suite(tests);
    }
    Ok(report.to_string()?)
}

#[cfg(test)]
mod tests {
    use super::super::Case;
    use super::*;

    #[test]
    fn each_test_has_its_result_and_no_text_breaks_the_document() {
        let case = |name: &str, result| Case {
            name: name.to_owned(),
            result,
        };
        let suites = [Suite {
            name: "exit-now".to_owned(),
            cases: vec![
                case("detect pidfd-main", Ended::Passed),
                case(
                    "detect <&\"",
                    Ended::Failed(vec!["expected: a < b".to_owned(), "]]> \u{1}".to_owned()]),
                ),
                case("detect fanotify", Ended::Skipped("no".to_owned())),
            ],
        }];
        let text = text("run", &suites).unwrap();
        for part in [
            "tests=\"3\"",
            "failures=\"1\"",
            "name=\"detect pidfd-main\"",
            "name=\"detect &lt;&amp;",
            "expected: a &lt; b",
            "<skipped",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains('\u{1}') && !text.contains("]]>"), "{text}");
    }
}
