//! From figures to files. Every function here is pure: the same analysis gives the same bytes, on
//! every machine.

pub mod costs;
pub mod csv;
pub mod diff;
pub mod emulated;
pub mod page;
pub mod picture;
pub mod plot;
pub mod tables;
pub mod trials;
pub mod verdicts;

use crate::analysis::Campaign;

pub use crate::text;

/// The command that makes everything in `reports/generated`.
pub const COMMAND: &str = "report render";

/// Where artefacts are, below the top of the workspace.
pub const GENERATED: &str = "reports/generated";

/// Where an artefact comes from; every one begins with it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Runs that it was made from.
    pub runs: Vec<String>,
    /// How these were recorded.
    pub recorded: Vec<String>,
}

impl Origin {
    /// Of one campaign.
    pub fn of(campaign: &Campaign<'_>) -> Self {
        Self {
            runs: campaign.dataset.runs.clone(),
            recorded: vec![format!(
                "{}: {}",
                campaign.dataset.name,
                campaign.dataset.plan.command()
            )],
        }
    }

    /// Of several.
    pub fn of_all<'a, 's: 'a>(campaigns: impl IntoIterator<Item = &'a Campaign<'s>>) -> Self {
        let mut all = Self::default();
        for campaign in campaigns {
            let one = Self::of(campaign);
            all.runs.extend(one.runs);
            all.recorded.extend(one.recorded);
        }
        all
    }

    /// The lines with which an artefact begins.
    pub fn lines(&self) -> Vec<String> {
        let runs = match self.runs.is_empty() {
            true => "none".to_owned(),
            false => self.runs.join(", "),
        };
        let mut lines = vec![format!("Made by: {COMMAND}"), format!("From runs: {runs}")];
        lines.extend(self.recorded.iter().map(|r| format!("Recorded by: {r}")));
        lines
    }

    /// As a comment of HTML, SVG and Markdown.
    pub fn comment(&self) -> String {
        // Two dashes end nothing in HTML, but are not allowed within a comment of XML.
        format!(
            "<!--\n{}\n-->\n",
            self.lines().join("\n").replace("--", "-\u{2060}-")
        )
    }
}
