//! Mechanism by adversary: which detectors were right, which strategies left nothing alive.

use std::collections::BTreeMap;

use harness_record::Plane;
use plotters::style::RGBColor;

use super::super::verdicts::{Tally, worst};
use super::Drawing;
use super::canvas::{Field, map};
use crate::analysis::Campaign;

/// One for each plane with at least two scenarios.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let planes = [
        (
            Plane::Detect,
            "verdicts",
            "Detector by adversary: trials in which it was right",
        ),
        (
            Plane::Kill,
            "emptied",
            "Strategy by adversary: trials in which nothing was left alive",
        ),
    ];
    planes
        .into_iter()
        .filter_map(|(plane, slug, title)| draw(campaign, plane, slug, title))
        .collect()
}

fn draw(campaign: &Campaign<'_>, plane: Plane, slug: &str, title: &str) -> Option<Drawing> {
    let grid: BTreeMap<(&str, &str), Tally> = worst(campaign, plane)
        .into_iter()
        .map(|(m, s, v)| ((m, s), v))
        .collect();
    let mut rows: Vec<&str> = grid.keys().map(|(mechanism, _)| *mechanism).collect();
    rows.dedup();
    let mut columns: Vec<&str> = grid.keys().map(|(_, scenario)| *scenario).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.len() < 2 || rows.len() < 2 {
        return None;
    }
    let (wrong, missed) = match plane {
        Plane::Detect => (
            "said \"empty\" too early",
            " amber: said nothing until the deadline;",
        ),
        Plane::Kill => ("left something alive", ""),
    };
    Some(Drawing {
        slug: slug.to_owned(),
        title: title.to_owned(),
        caption: format!(
            "Right trials of all trials, over all parameters. Blue: every trial; red: {wrong} at \
                least once;{missed} grey: no answer in some trials (it did not know); empty: not \
                run. Trials that broke are left out."
        ),
        body: map(&rows, &columns, |row, column| {
            let verdict = grid.get(&(rows[row], columns[column]))?;
            Some(Field {
                text: format!("{}/{}", verdict.good, verdict.n),
                colour: colour(*verdict),
            })
        }),
    })
}

fn colour(verdict: Tally) -> RGBColor {
    match verdict {
        Tally { n, good, .. } if n == good => RGBColor(166, 206, 240),
        Tally { good: 0, wrong, .. } if wrong > 0 => RGBColor(240, 128, 118),
        Tally { wrong, .. } if wrong > 0 => RGBColor(250, 188, 178),
        Tally { missed, .. } if missed > 0 => RGBColor(250, 215, 130),
        _ => RGBColor(215, 215, 215),
    }
}
