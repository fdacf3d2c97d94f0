//! Plots as SVG. Which plots there are follows from what was recorded: an axis with three values or
//! more is plotted against, a detector that was run often enough has its distribution drawn, kills
//! have bars, two scenarios or more make a map.

mod axis;
mod bars;
mod canvas;
mod ecdf;
mod heat;
pub(super) mod svg;
pub mod window;

use super::Origin;
use crate::analysis::Campaign;

/// The size of most drawings. They are narrow, so that letters can be read on a telephone.
const SIZE: (f64, f64) = (440.0, 300.0);

/// A drawing, and its caption.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Its dataset.
    pub dataset: String,
    /// What distinguishes it within its dataset.
    pub slug: String,
    /// Name of its file.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The file.
    pub svg: String,
    /// The same within a page, if that is no drawing.
    pub html: Option<String>,
}

/// Lines or fields, drawn.
pub(super) struct Drawing {
    /// Distinguishes the plots of one dataset, and is part of the file's name.
    pub slug: String,
    pub title: String,
    pub caption: String,
    pub body: String,
    pub html: Option<String>,
}

/// All plots of a campaign, in an order that does not depend on anything but its records.
pub fn all(campaign: &Campaign<'_>) -> Vec<Plot> {
    let drawings = heat::all(campaign)
        .into_iter()
        .chain(axis::all(campaign))
        .chain(bars::all(campaign))
        .chain(ecdf::all(campaign))
        .chain(axis::scale(campaign));
    let origin = Origin::of(campaign).comment();
    drawings
        .map(|drawing| {
            let slug = slug(&drawing.slug);
            Plot {
                dataset: campaign.dataset.name.clone(),
                file: format!("{}-{slug}.svg", campaign.dataset.name),
                slug,
                title: drawing.title,
                caption: drawing.caption,
                svg: format!("{origin}{}\n", drawing.body),
                html: drawing.html,
            }
        })
        .collect()
}

/// The length of a tick of the timer of the kernel that was measured on, if known.
fn tick_ns(campaign: &Campaign<'_>) -> Option<f64> {
    let hz = campaign.dataset.machine.hz.filter(|hz| *hz > 0)?;
    Some(1e9 / f64::from(hz))
}

/// What the dotted lines of a plot of latencies are.
fn ticks_in_words(campaign: &Campaign<'_>) -> String {
    match campaign.dataset.machine.hz.filter(|hz| *hz > 0) {
        Some(hz) => format!(
            " Dotted lines stand at whole ticks of the kernel's timer, {} each (HZ={hz}).",
            canvas::round_ns(1_000_000_000 / u64::from(hz))
        ),
        None => String::new(),
    }
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
