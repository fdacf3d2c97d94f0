//! Everything that is made of a store and committed, in one pass.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::analysis::Analysis;
use crate::emulated::Emulated;
use crate::figures::Figures;
use crate::render::{COMMAND, csv, diff, emulated, page, plot, tables};
use crate::splice;
use crate::store::Store;

/// Files by their path below [`crate::render::GENERATED`].
pub type Artefacts = BTreeMap<String, String>;

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
    /// The files in [`crate::render::GENERATED`].
    pub artefacts: Artefacts,
    /// The findings with their figures spliced in, if there are findings.
    pub findings: Option<String>,
    /// Lines of the findings that name a figure that is not recorded, and its name.
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
