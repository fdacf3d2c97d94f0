//! All scores of a run, as they are kept.

use serde::{Deserialize, Serialize};

use super::{Score, Verdict};

/// The version of the format. It grows when a reader of the one before would misunderstand it.
pub const SCHEMA: u32 = 1;

/// All scores of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the suite.
    pub suite: String,
    /// The kernel.
    pub kernel: String,
    /// The promises that were asked for.
    pub promises: Vec<String>,
    /// The seed of random moments.
    pub seed: u64,
    /// How the launchers were run: options of the suite that say something about them.
    pub options: String,
    /// The launchers.
    pub launchers: Vec<Score>,
}

impl Scores {
    /// Reads what [`Scores`] was written as.
    ///
    /// Errors: it is something else, or of a later version.
    pub fn read(text: &str) -> Result<Self, String> {
        let scores: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match scores.schema <= SCHEMA {
            true => Ok(scores),
            false => Err(format!(
                "it is of schema {}, and this program knows up to {SCHEMA}",
                scores.schema
            )),
        }
    }

    /// Whether everything that is claimed was kept, of every launcher that was played.
    pub fn all_kept(&self) -> bool {
        self.launchers.iter().all(|score| {
            let bad = |verdict| matches!(verdict, Verdict::Broken | Verdict::Unknown);
            score.unusable.is_none() && !score.cells.iter().any(|cell| bad(cell.verdict))
        })
    }
}
