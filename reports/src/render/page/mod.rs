//! One page with everything: it loads nothing from the network, is readable on a telephone and in
//! print, and shows the trials behind each row.
//!
//! Rows are written here, not by a script: without scripts the page is complete, and the script
//! only filters, sorts and opens.

mod rows;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, html};
use serde_json::{Value, json};

use super::plot::Plot;
use super::{Origin, costs, diff, emulated, tables};
use crate::analysis::{Analysis, Campaign};
use crate::emulated::Emulated;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub fn page(
    analysis: &Analysis<'_>,
    emulated: &Emulated,
    plots: &[Plot],
    findings: Option<&str>,
) -> Result<String> {
    let mut out = Origin::of_all(&analysis.campaigns).comment();
    out.push_str(
        "<!doctype html>\n\
            <html lang=\"en\">\n\
            <head>\n\
            <meta charset=\"utf-8\">\n\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
            <link rel=\"icon\" href=\"data:,\">\n\
            <title>Is it over? Is it dead? What was measured</title>\n\
            <style>\n",
    );
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n<body>\n<nav aria-label=\"Sections\">");
    for (id, title) in [
        ("findings", "Findings"),
        ("rows", "All rows"),
        ("plots", "Plots"),
        ("checks", "Checks"),
        ("emulated", "Other kernels"),
        ("sources", "Where it comes from"),
    ] {
        out.push_str(&format!("<a href=\"#{id}\">{title}</a> "));
    }
    out.push_str("</nav>\n<main>\n");
    match findings {
        Some(text) => out.push_str(&section("findings", &markdown(&with_drawings(text, plots)))),
        None => out.push_str(&section(
            "findings",
            "<h1>What was measured</h1>\n<p>No findings are written yet.</p>\n",
        )),
    }
    out.push_str(&section(
        "rows",
        &format!("<h2>All rows</h2>\n{}", rows::table(analysis)),
    ));
    out.push_str(&section(
        "plots",
        &format!("<h2>Plots</h2>\n{}", drawings(plots)),
    ));
    out.push_str(&section("checks", &markdown(&checks(analysis))));
    let lab = format!(
        "## Other kernels, and the patch series\n\n\
            {}\n\
            ### From the end to the verdict\n\n\
            {}\n\
            ### Counts\n\n\
            {}\n\
            ### The draft series\n\n\
            {}",
        emulated::WARNING,
        emulated::latencies(emulated),
        emulated::counts(emulated),
        emulated::series(emulated)
    );
    out.push_str(&section("emulated", &markdown(&lab)));
    out.push_str(&section("sources", &markdown(&sources(analysis))));
    out.push_str("</main>\n<script type=\"application/json\" id=\"trials\">");
    let trials = serde_json::to_string(&trials(analysis))
        .context("could not write the trials of the page")?;
    // A string of JSON may contain the end tag of a script.
    out.push_str(&trials.replace("</", "<\\/"));
    out.push_str("</script>\n<script>\n");
    out.push_str(SCRIPT);
    out.push_str("</script>\n</body>\n</html>\n");
    Ok(out)
}

fn section(id: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n{body}</section>\n")
}

fn drawings(plots: &[Plot]) -> String {
    let mut out = String::new();
    if plots.is_empty() {
        out.push_str("<p>Nothing was recorded that makes a plot.</p>\n");
    }
    for plot in plots {
        let dataset = plot.file.split('.').next().unwrap_or_default();
        out.push_str(&format!(
            "<figure id=\"plot-{dataset}\">\n\
                <div class=\"wide\">{}</div>\n\
                <figcaption><strong>{}.</strong> {} <small>{}</small></figcaption>\n\
                </figure>\n",
            drawing(plot),
            escaped(&plot.title),
            escaped(&plot.caption),
            escaped(&plot.file)
        ));
    }
    out
}

/// A plot within HTML, which needs no name space; without empty lines, which would end it in
/// Markdown.
fn drawing(plot: &Plot) -> String {
    let svg = plot.svg.find("<svg").map_or("", |at| &plot.svg[at..]);
    let svg = svg
        .replacen("<svg ", "<svg role=\"img\" ", 1)
        .replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    svg.lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A/A rows and repeated campaigns.
fn checks(analysis: &Analysis<'_>) -> String {
    let mut out = "## Checks on the measurement itself\n".to_owned();
    for campaign in analysis.campaigns.iter().filter(|c| !c.twins.is_empty()) {
        out.push_str(&format!(
            "\n### Rows that are alike (A/A), {}\n\n{}\n\n{}",
            campaign.dataset.name,
            tables::twins_in_words(campaign),
            tables::twins(&campaign.twins)
        ));
    }
    for diff in &analysis.diffs {
        out.push_str(&format!(
            "\n### The same campaign again: {} and {}\n\n{}\n\n{}",
            diff.before,
            diff.after,
            diff::in_words(diff),
            diff::table(diff)
        ));
    }
    if analysis.diffs.is_empty() && analysis.campaigns.iter().all(|c| c.twins.is_empty()) {
        out.push_str("\nNo campaign has rows that were run twice, and none was repeated.\n");
    }
    out
}

fn sources(analysis: &Analysis<'_>) -> String {
    let mut out = "## Where it comes from\n".to_owned();
    for campaign in &analysis.campaigns {
        out.push_str(&format!(
            "\n### {}\n\n{}",
            campaign.dataset.name,
            tables::facts(campaign)
        ));
        out.push_str(&format!("- Runs: {}.\n", campaign.dataset.runs.join(", ")));
        if !campaign.scale.is_empty() {
            out.push_str(&format!("\n{}", costs::scale(&campaign.scale)));
        }
    }
    if analysis.campaigns.is_empty() {
        out.push_str("\nNothing is recorded yet.\n");
    }
    out
}

/// The trials behind each row: number, block, how it ended, and its latency in nanoseconds (null:
/// none).
fn trials(analysis: &Analysis<'_>) -> Value {
    let mut outcomes: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    let cells = |c: &'_ Campaign<'_>| (c.dataset.deadline_ns(), c.cells.len());
    let deadlines = analysis
        .campaigns
        .iter()
        .map(cells)
        .flat_map(|(ns, n)| vec![ns; n]);
    let cells = analysis
        .campaigns
        .iter()
        .flat_map(|c: &Campaign<'_>| &c.cells);
    for (cell, deadline_ns) in cells.zip(deadlines) {
        let mut trials = Vec::new();
        let mut notes = BTreeMap::new();
        for trial in &cell.trials {
            let name = serde_json::to_value(trial.outcome)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default();
            let outcome = outcomes.iter().position(|o| *o == name).unwrap_or_else(|| {
                outcomes.push(name);
                outcomes.len() - 1
            });
            let latency = crate::analysis::latency(trial, deadline_ns)
                .filter(|ns| *ns < crate::stats::CENSORED);
            trials.push(json!([trial.seq, trial.block, outcome, latency]));
            if let Some(note) = trial.note.as_ref().filter(|_| !trial.held) {
                notes.insert(trial.seq.to_string(), note.to_string());
            }
        }
        rows.push(match notes.is_empty() {
            true => json!({"expected": cell.expected, "trials": trials}),
            false => json!({"expected": cell.expected, "trials": trials, "notes": notes}),
        });
    }
    json!({"outcomes": outcomes, "rows": rows})
}

/// Markdown as HTML. Tables get a frame that scrolls; links to files of the repository lead from
/// `reports/generated` there.
fn markdown(text: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(comment) | Event::InlineHtml(comment)
            if comment.trim_start().starts_with("<!--") =>
        {
            Event::Html(inside_markers(&comment).into())
        }
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: from_here(&dest_url).into(),
            title,
            id,
        }),
        other => other,
    });
    let mut out = String::new();
    html::push_html(&mut out, parser);
    out.replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>")
}

/// A link of the findings, which lie one directory above the page.
fn from_here(link: &str) -> String {
    match link.strip_prefix("generated/") {
        Some(neighbour) => neighbour.to_owned(),
        None if link.contains("://") || link.starts_with('#') => link.to_owned(),
        None => format!("../{link}"),
    }
}

/// Images become inline drawings, so that the page needs no other file.
fn with_drawings(text: &str, plots: &[Plot]) -> String {
    plots.iter().fold(text.to_owned(), |text, plot| {
        let picture = format!("![{}](generated/{})", plot.title, plot.file);
        text.replace(
            &picture,
            &format!("<div class=\"wide\">{}</div>", drawing(plot)),
        )
    })
}

/// Comments are for the source of the findings, not for its readers.
fn inside_markers(comment: &str) -> String {
    let mut out = String::new();
    let mut rest = comment;
    while let Some(begin) = rest.find("<!--") {
        out.push_str(&rest[..begin]);
        match rest[begin..].find("-->") {
            Some(end) => rest = &rest[begin + end + 3..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}

/// Text as it may stand in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
