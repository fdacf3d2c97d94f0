//! From figures to files. Every function here is pure: the same analysis gives the same bytes, on
//! every machine.

pub mod costs;
pub mod csv;
pub mod diff;
pub mod emulated;
pub mod page;
pub mod plot;
pub mod tables;
pub mod text;
pub mod verdicts;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::analysis::{Analysis, Campaign};
use crate::emulated::Emulated;
use crate::figures::Figures;
use crate::splice;
use crate::store::Store;

/// The command that makes everything in `reports/generated`.
pub const COMMAND: &str = "report render";

/// Where artefacts are, below the top of the workspace.
pub const GENERATED: &str = "reports/generated";

/// Prose with figures spliced in, below the top of the workspace.
pub const FINDINGS: &str = "reports/findings.md";

/// Files by their path below [`GENERATED`].
pub type Artefacts = BTreeMap<String, String>;

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

/// All figures of a store, by name.
pub fn figures(store: &Store) -> Result<Figures> {
    let analysis = Analysis::of(store);
    let plots: Vec<Vec<plot::Plot>> = analysis
        .campaigns
        .iter()
        .map(plot::all)
        .collect::<Result<_>>()?;
    Ok(Figures::of(
        &analysis,
        &plots.concat(),
        &Emulated::read(&store.root)?,
    ))
}

/// What a store comes to.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The files in [`GENERATED`].
    pub artefacts: Artefacts,
    /// The findings with their figures spliced in, if there are findings.
    pub findings: Option<String>,
    /// Lines of the findings that ask for a figure that is not recorded, and its name.
    pub missing: Vec<(usize, String)>,
}

/// Everything that is committed.
pub fn all(store: &Store) -> Result<Rendered> {
    let analysis = Analysis::of(store);
    let emulated = Emulated::read(&store.root)?;
    let mut artefacts = Artefacts::new();
    let mut plots = Vec::new();
    for campaign in &analysis.campaigns {
        let name = &campaign.dataset.name;
        let own =
            plot::all(campaign).with_context(|| format!("could not draw the plots of {name}"))?;
        artefacts.insert(format!("{name}.md"), tables::campaign(campaign, &own));
        artefacts.insert(format!("{name}.csv"), csv::rows(campaign));
        for plot in &own {
            artefacts.insert(plot.file.clone(), plot.svg.clone());
        }
        plots.extend(own);
    }
    let figures = Figures::of(&analysis, &plots, &emulated);
    for diff in &analysis.diffs {
        artefacts.insert(format!("{}-diff.md", diff.before), diff::document(diff));
    }
    artefacts.insert("emulated.md".to_owned(), emulated::document(&emulated));
    artefacts.insert("README.md".to_owned(), tables::index(&analysis));
    let summary = serde_json::to_string_pretty(&analysis.summary(COMMAND))
        .context("could not write summary.json")?;
    artefacts.insert("summary.json".to_owned(), summary + "\n");
    let text = splice::read(&store.root)?.unwrap_or_default();
    let findings = Some(splice::splice(&text, &figures)?).filter(|text| !text.is_empty());
    let missing = splice::missing(&text, &figures)?
        .into_iter()
        .map(|(line, name)| (line, name.to_owned()));
    artefacts.insert(
        "index.html".to_owned(),
        page::page(&analysis, &emulated, &plots, findings.as_deref())?,
    );
    Ok(Rendered {
        artefacts,
        findings,
        missing: missing.collect(),
    })
}
