//! Plots as SVG. Which plots there are follows from what was recorded: an axis with three values or
//! more is plotted against, a scenario that was run often enough has its distribution drawn, two
//! scenarios or more make a map.

mod axis;
mod canvas;
mod ecdf;
mod heat;

use anyhow::Result;

use super::Origin;
use crate::analysis::Campaign;

/// A drawing, and its caption.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Its dataset.
    pub dataset: String,
    /// Name of its file.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The file.
    pub svg: String,
}

/// Lines or fields, before they are drawn.
pub(super) struct Drawing {
    /// Distinguishes the plots of one dataset, and is part of the file's name.
    pub slug: String,
    pub title: String,
    pub caption: String,
    pub body: Result<String>,
}

/// All plots of a campaign, in an order that does not depend on anything but its records.
pub fn all(campaign: &Campaign<'_>) -> Result<Vec<Plot>> {
    let drawings = heat::all(campaign)
        .into_iter()
        .chain(axis::all(campaign))
        .chain(ecdf::all(campaign))
        .chain(axis::scale(campaign));
    let origin = Origin::of(campaign).comment();
    drawings
        .map(|drawing| {
            Ok(Plot {
                dataset: campaign.dataset.name.clone(),
                file: format!("{}-{}.svg", campaign.dataset.name, slug(&drawing.slug)),
                title: drawing.title,
                caption: drawing.caption,
                svg: format!("{origin}{}\n", drawing.body?),
            })
        })
        .collect()
}

/// What may stand in a file's name.
fn slug(text: &str) -> String {
    let mut slug: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    while slug.contains("--") {
        slug = slug.replace("--", "-");
    }
    slug.trim_matches('-').to_owned()
}
