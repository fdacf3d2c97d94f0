//! Mechanism by scenario: which detectors were right, which strategies left nothing alive.
//!
//! A field has a sign and a colour, so it can be read without either, and its words.

use std::collections::BTreeMap;

use harness_record::Plane;

use super::super::verdicts::{Tally, worst};
use super::Drawing;
use super::svg::{Anchor, Sheet, escaped, real, width};
use crate::analysis::Campaign;

/// One for each plane with at least two scenarios.
pub(super) fn all(campaign: &Campaign<'_>) -> Vec<Drawing> {
    let planes = [
        (
            Plane::Detect,
            "verdicts",
            "Detector by scenario: right or not",
        ),
        (
            Plane::Kill,
            "emptied",
            "Strategy by scenario: emptied or not",
        ),
    ];
    planes
        .into_iter()
        .filter_map(|(plane, slug, title)| draw(campaign, plane, slug, title))
        .collect()
}

struct Grid<'c> {
    rows: Vec<&'c str>,
    columns: Vec<&'c str>,
    fields: BTreeMap<(&'c str, &'c str), Tally>,
}

fn draw(campaign: &Campaign<'_>, plane: Plane, slug: &str, title: &str) -> Option<Drawing> {
    let fields: BTreeMap<(&str, &str), Tally> = worst(campaign, plane)
        .into_iter()
        .map(|(m, s, v)| ((m, s), v))
        .collect();
    let mut rows: Vec<&str> = fields.keys().map(|(mechanism, _)| *mechanism).collect();
    rows.dedup();
    let mut columns: Vec<&str> = fields.keys().map(|(_, scenario)| *scenario).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.len() < 2 || rows.len() < 2 {
        return None;
    }
    let (wrong, missed) = match plane {
        Plane::Detect => (
            "said \"empty\" too early",
            "; … said nothing until the deadline",
        ),
        Plane::Kill => ("left something alive", ""),
    };
    let most = fields.values().map(|tally| tally.n).max().unwrap_or(0);
    let grid = Grid {
        rows,
        columns,
        fields,
    };
    Some(Drawing {
        slug: slug.to_owned(),
        title: title.to_owned(),
        caption: format!(
            "✓ right in every trial; ✗ {wrong} at least once{missed}; ? no answer in some \
                trials. The number is the share of right trials in percent, of up to {most} over \
                all parameters; an empty field was not run. Trials that broke are left out. \
                Pointing at a field shows its counts."
        ),
        body: drawing(&grid, title),
        html: Some(table(&grid, title)),
    })
}

/// The class of a field, and what stands in it.
fn field(tally: Tally) -> (&'static str, String) {
    let percent = match (tally.good * 100).checked_div(tally.n) {
        // What is not all is never rounded up to all, nor what is not nothing down to it.
        Some(0) if tally.good > 0 => "<1".to_owned(),
        Some(percent) => percent.to_string(),
        None => String::new(),
    };
    match tally {
        Tally { n: 0, .. } => ("me", "?".to_owned()),
        Tally { n, good, .. } if n == good => ("ma", "✓".to_owned()),
        Tally { good: 0, wrong, .. } if wrong > 0 => ("mb", "✗ 0".to_owned()),
        Tally { wrong, .. } if wrong > 0 => ("mc", format!("✗ {percent}")),
        Tally { missed, .. } if missed > 0 => ("md", format!("… {percent}")),
        _ => ("me", format!("? {percent}")),
    }
}

/// For a page: a table, which every reader can read field by field.
fn table(grid: &Grid<'_>, title: &str) -> String {
    let mut out = format!(
        "<table class=\"map\"><caption>{}</caption><tr><td>",
        escaped(title)
    );
    for column in &grid.columns {
        out.push_str(&format!(
            "<th scope=\"col\"><span>{}</span>",
            escaped(column)
        ));
    }
    for row in &grid.rows {
        out.push_str(&format!("\n<tr><th scope=\"row\">{}", escaped(row)));
        for column in &grid.columns {
            match grid.fields.get(&(*row, *column)) {
                None => out.push_str("<td>"),
                Some(tally) => {
                    let (class, text) = field(*tally);
                    out.push_str(&format!(
                        "<td class={class} title=\"{}\">{}",
                        escaped(&tally.in_words()),
                        escaped(&text)
                    ));
                }
            }
        }
    }
    out.push_str("</table>");
    out
}

/// For a file.
fn drawing(grid: &Grid<'_>, title: &str) -> String {
    const EACH: (f64, f64) = (34.0, 20.0);
    let longest = |names: &[&str]| names.iter().map(|n| width(n, 11.0)).fold(0.0, f64::max);
    let (left, top) = (
        longest(&grid.rows) + 14.0,
        longest(&grid.columns) * 0.72 + 16.0,
    );
    // The last heading leans beyond the last column.
    let wide = left + EACH.0 * real(grid.columns.len()) + longest(&grid.columns) * 0.72 + 8.0;
    let mut sheet = Sheet::new(wide, top + EACH.1 * real(grid.rows.len()) + 8.0);
    for (at, column) in grid.columns.iter().enumerate() {
        let x = left + EACH.0 * (real(at) + 0.5);
        sheet.leaning("u", (x, top - 6.0), column);
    }
    for (row, name) in grid.rows.iter().enumerate() {
        let y = top + EACH.1 * real(row);
        sheet.text("u", (left - 6.0, y + 14.0), Anchor::End, name);
        for (column, scenario) in grid.columns.iter().enumerate() {
            let Some(tally) = grid.fields.get(&(*name, *scenario)) else {
                continue;
            };
            let x = left + EACH.0 * real(column);
            let (class, text) = field(*tally);
            let words = format!("{name}, {scenario}: {}", tally.in_words());
            let light = if class == "mb" { "u v" } else { "u" };
            sheet.area(class, (x, y), (EACH.0 - 1.5, EACH.1 - 1.5), &words);
            let middle = (x + EACH.0 / 2.0 - 0.7, y + 14.0);
            sheet.text(light, middle, Anchor::Middle, &text);
        }
    }
    sheet.finish(title)
}
