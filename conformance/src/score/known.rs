//! What is written by hand beside recorded scores: a note for each launcher that did not keep
//! something, and what was known before from trials by hand.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Score, Scores, Trial};

/// Something that was known of launchers before they were scored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// In words.
    pub says: String,
    /// Of which launchers.
    pub launchers: Vec<String>,
    /// In which cases; those that a launcher was not played in say nothing.
    pub cases: Vec<String>,
    /// What every trial of them has to show.
    pub seen: Shows,
    /// Why the record is otherwise, if it is.
    pub differs: Option<String>,
}

/// What a trial shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    /// The promise was kept.
    Kept,
    /// It was not.
    Broken,
    /// The launcher did not return in time.
    Late,
    /// It did.
    Returned,
}

impl Shows {
    fn is_of(self, trial: &Trial) -> bool {
        match self {
            Self::Kept => trial.judged == "kept",
            Self::Broken => trial.judged == "broken",
            Self::Late => trial.status.is_none(),
            Self::Returned => trial.status.is_some(),
        }
    }
}

/// A truth compared with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Trials that show what was known.
    pub agree: usize,
    /// Trials that do not.
    pub differ: usize,
}

impl Truth {
    /// Counts the recorded trials that agree and differ. None of both: it was not played.
    pub fn compare(&self, scores: &Scores) -> Compared {
        let mut compared = Compared::default();
        let its = |score: &&Score| self.launchers.contains(&score.launcher);
        let trials = scores.launchers.iter().filter(its).flat_map(|s| &s.trials);
        for trial in trials.filter(|trial| self.cases.contains(&trial.case)) {
            match self.seen.is_of(trial) {
                true => compared.agree += 1,
                false => compared.differ += 1,
            }
        }
        compared
    }
}

/// The notes, by launchers.
///
/// Errors: the file that is compiled in is not one of notes.
pub fn notes() -> Result<BTreeMap<String, String>, toml::de::Error> {
    toml::from_str(include_str!("../../results/notes.toml"))
}

/// What was known.
///
/// Errors: the file that is compiled in is not one of truths.
pub fn truths() -> Result<Vec<Truth>, toml::de::Error> {
    #[derive(Deserialize)]
    struct File {
        truth: Vec<Truth>,
    }
    toml::from_str::<File>(include_str!("../../results/truths.toml")).map(|file| file.truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(judged: &str, status: Option<&str>) -> Trial {
        Trial {
            case: "limit/pipe".to_owned(),
            judged: judged.to_owned(),
            returned_us: None,
            idle_us: None,
            status: status.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_trial_shows_its_verdict_and_whether_the_launcher_returned() {
        let late = trial("broken", None);
        let in_time = trial("kept", Some("exit code 0"));
        for (shows, of_late, of_in_time) in [
            (Shows::Kept, false, true),
            (Shows::Broken, true, false),
            (Shows::Late, true, false),
            (Shows::Returned, false, true),
        ] {
            assert_eq!(shows.is_of(&late), of_late, "{shows:?}");
            assert_eq!(shows.is_of(&in_time), of_in_time, "{shows:?}");
        }
    }
}
