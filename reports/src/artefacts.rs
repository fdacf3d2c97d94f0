//! Everything that is made of a store and committed, in one pass.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::analysis::Analysis;
use crate::answers;
use crate::emulated::Emulated;
use crate::figures::Figures;
use crate::render::plot::window;
use crate::render::{COMMAND, csv, diff, emulated, page, picture, plot, tables, trials};
use crate::splice;
use crate::store::Store;

/// Files by their path below [`crate::render::GENERATED`].
pub type Artefacts = BTreeMap<String, String>;

/// All figures of a store, by name.
pub fn figures(store: &Store) -> Result<Figures> {
    let analysis = Analysis::of(store);
    let plots: Vec<plot::Plot> = analysis.campaigns.iter().flat_map(plot::all).collect();
    Ok(Figures::of(
        &analysis,
        &plots,
        &Emulated::read(&store.root)?,
    ))
}

/// What a store comes to.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The files in [`crate::render::GENERATED`].
    pub artefacts: Artefacts,
    /// Those that are no text.
    pub pictures: BTreeMap<String, Vec<u8>>,
    /// The findings with their figures spliced in, if there are findings.
    pub findings: Option<String>,
    /// Lines of the findings that name a figure that is not recorded, and its name.
    pub missing: Vec<(usize, String)>,
}

impl Rendered {
    /// Every file in [`crate::render::GENERATED`], by its path there.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let texts = self.artefacts.iter();
        let pictures = self.pictures.iter();
        texts
            .map(|(name, text)| (name.as_str(), text.as_bytes()))
            .chain(pictures.map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
    }
}

/// Everything that is committed.
pub fn all(store: &Store) -> Result<Rendered> {
    let analysis = Analysis::of(store);
    let emulated = Emulated::read(&store.root)?;
    let mut artefacts = Artefacts::new();
    let mut plots = Vec::new();
    for campaign in &analysis.campaigns {
        let name = &campaign.dataset.name;
        let own = plot::all(campaign);
        artefacts.insert(format!("{name}.md"), tables::campaign(campaign, &own));
        artefacts.insert(format!("{name}.csv"), csv::rows(campaign));
        if !campaign.cells.is_empty() {
            artefacts.insert(trials::path(name), trials::file(campaign)?);
        }
        for plot in &own {
            artefacts.insert(plot.file.clone(), plot.svg.clone());
        }
        plots.extend(own);
    }
    let figures = Figures::of(&analysis, &plots, &emulated);
    for diff in &analysis.diffs {
        artefacts.insert(format!("{}-diff.md", diff.before), diff::document(diff));
    }
    artefacts.extend(csv::of_tables(&analysis, &emulated));
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
    let missing: Vec<(usize, String)> = missing.collect();
    let answers = answers::all(&analysis).map(|(_, answer)| answer);
    let picture = picture::png(&window::picture(&analysis, &answers))?;
    artefacts.insert(
        "index.html".to_owned(),
        page::page(&analysis, &emulated, &plots, &answers, findings.as_deref()),
    );
    Ok(Rendered {
        artefacts,
        pictures: BTreeMap::from([(page::PICTURE.to_owned(), picture)]),
        findings,
        missing,
    })
}
