//! The answers of `lab-probe`, read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One answer: a probe, a case of it, what happened how often, and times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The probe.
    pub probe: String,
    /// The case.
    pub case: String,
    /// How often it was tried.
    pub tries: usize,
    /// What happened how often.
    pub counts: BTreeMap<String, usize>,
    /// The largest value seen.
    #[serde(default)]
    pub peaks: BTreeMap<String, usize>,
    /// Times, one a try that has one.
    pub samples_ns: Vec<u64>,
}

/// All answers of one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answers(pub Vec<Answer>);

impl Answers {
    /// Reads the lines that the program printed; each must be an answer.
    ///
    /// # Errors When a line is not an answer, with the line.
    pub fn parse(lines: &[String]) -> Result<Self> {
        let read = |line: &String| {
            serde_json::from_str(line)
                .with_context(|| format!("not an answer of lab-probe: {line}"))
        };
        lines.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Adds the answers of a further boot of the same kernel, case by case: counts and times add
    /// up, peaks do not.
    pub fn add(&mut self, more: &Self) {
        for answer in &more.0 {
            let Some(mine) = self
                .0
                .iter_mut()
                .find(|a| a.probe == answer.probe && a.case == answer.case)
            else {
                self.0.push(answer.clone());
                continue;
            };
            mine.tries += answer.tries;
            mine.samples_ns.extend(&answer.samples_ns);
            for (what, count) in &answer.counts {
                *mine.counts.entry(what.clone()).or_default() += count;
            }
            for (what, peak) in &answer.peaks {
                let highest = mine.peaks.entry(what.clone()).or_default();
                *highest = (*highest).max(*peak);
            }
        }
    }

    /// The answer of one case.
    #[must_use]
    pub fn get(&self, probe: &str, case: &str) -> Option<&Answer> {
        self.0
            .iter()
            .find(|answer| answer.probe == probe && answer.case == case)
    }

    /// Times of one case, empty when it was not measured.
    #[must_use]
    pub fn samples(&self, probe: &str, case: &str) -> &[u64] {
        self.get(probe, case)
            .map_or(&[], |answer| answer.samples_ns.as_slice())
    }

    /// How often something happened in a case, out of how many tries; `None` when it was not
    /// measured.
    #[must_use]
    pub fn share(&self, probe: &str, case: &str, what: &str) -> Option<(usize, usize)> {
        let answer = self.get(probe, case)?;
        Some((answer.counts.get(what).copied().unwrap_or(0), answer.tries))
    }

    /// The first case of a probe that begins with `prefix`, for cases that carry a number.
    #[must_use]
    pub fn starting(&self, probe: &str, prefix: &str) -> Option<&Answer> {
        self.0
            .iter()
            .find(|answer| answer.probe == probe && answer.case.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_found() {
        let line = r#"{"probe":"lost","case":"poll","tries":20,"counts":{"never woken":20},"samples_ns":[5]}"#;
        let answers = Answers::parse(&[line.to_owned()]).unwrap();
        assert_eq!(answers.share("lost", "poll", "never woken"), Some((20, 20)));
        assert_eq!(answers.share("lost", "poll", "told"), Some((0, 20)));
        assert_eq!(answers.share("lost", "inotify", "told"), None);
        assert_eq!(answers.samples("lost", "poll"), [5]);
    }

    #[test]
    fn counts_of_boots_add_up_and_peaks_do_not() {
        let boot = |wakes: usize, most: usize| {
            let line = format!(
                r#"{{"probe":"storm","case":"poll","tries":1,"counts":{{"wake-ups":{wakes}}},"peaks":{{"most":{most}}},"samples_ns":[{most}]}}"#
            );
            Answers::parse(&[line]).unwrap()
        };
        let mut pool = Answers::default();
        for answers in [boot(75, 2), boot(70, 4), boot(80, 3)] {
            pool.add(&answers);
        }
        let answer = pool.get("storm", "poll").unwrap();
        assert_eq!(
            (
                answer.tries,
                answer.counts["wake-ups"],
                answer.peaks["most"]
            ),
            (3, 225, 4)
        );
        assert_eq!(answer.samples_ns, [2, 4, 3]);
    }

    #[test]
    fn anything_else_is_an_error_with_the_line() {
        let error = Answers::parse(&["panicked at".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("panicked at"), "{error}");
    }
}
