//! One page with everything: it loads nothing from the network, is readable on a telephone, in the
//! dark and in print, and begins with the two questions.
//!
//! All of it is written here, not by a script: without scripts the page is complete but for the
//! single trials, and the script only filters, sorts, opens, and shows values. It is a file that
//! may be moved alone; what lies beside it are the trials and the tables as CSV.

mod first;
mod prose;
mod rows;

use super::plot::svg::{STYLE as PLOT_STYLE, escaped};
use super::plot::{Plot, window};
use super::{Origin, costs, diff, emulated, tables};
use crate::analysis::Analysis;
use crate::answers::Answer;
use crate::emulated::Emulated;
use prose::{markdown, with_drawings};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The picture for links, beside the page.
pub const PICTURE: &str = "preview.png";

/// The page is no longer than this many bytes, unless its rows and tables alone are: drawings that
/// have no room are links to their files.
pub const LIMIT: usize = 390_000;

/// The page.
pub fn page(
    analysis: &Analysis<'_>,
    emulated: &Emulated,
    plots: &[Plot],
    answers: &[Answer],
    findings: Option<&str>,
) -> String {
    let opening = window::opening(analysis);
    let mut head = Origin::of_all(&analysis.campaigns).comment();
    head.push_str(&first::head(answers));
    head.push_str(&format!(
        "<style>\n{PLOT_STYLE}{STYLE}</style>\n</head>\n<body>\n<nav aria-label=\"Sections\">"
    ));
    for (id, title) in [
        ("answers", "Answers"),
        ("findings", "Findings"),
        ("plots", "Plots"),
        ("rows", "All rows"),
        ("checks", "Checks"),
        ("emulated", "Other kernels"),
        ("sources", "Where it comes from"),
    ] {
        head.push_str(&format!("<a href=\"#{id}\">{title}</a> "));
    }
    head.push_str("</nav>\n<main>\n");
    head.push_str(&first::section(answers, opening.as_ref()));
    let (text, drawn) = findings.map_or_else(Default::default, |text| with_drawings(text, plots));
    head.push_str(&section(
        "findings",
        &match findings {
            Some(_) => markdown(&text),
            None => "<h1>What was measured</h1>\n<p>No findings are written yet.</p>\n".to_owned(),
        },
    ));
    let mut tail = section(
        "rows",
        &format!("<h2>All rows</h2>\n{}", rows::table(analysis)),
    );
    tail.push_str(&section("checks", &markdown(&checks(analysis))));
    tail.push_str(&section("emulated", &markdown(&lab(emulated))));
    tail.push_str(&section("sources", &markdown(&sources(analysis))));
    tail.push_str(&format!(
        "</main>\n<div id=\"tip\" role=\"status\" hidden></div>\n<script>\n{SCRIPT}</script>\n\
            </body>\n</html>\n"
    ));
    let others: Vec<&Plot> = plots
        .iter()
        .filter(|plot| !drawn.contains(&plot.file))
        .collect();
    let room = LIMIT.saturating_sub(head.len() + tail.len());
    let plots = section(
        "plots",
        &format!("<h2>Plots</h2>\n{}", drawings(&others, room)),
    );
    head + &plots + &tail
}

fn section(id: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n{body}</section>\n")
}

/// Drawings by dataset, as many as there is room for; the others are links. Bars come last: what
/// they show stands in the tables too.
fn drawings(plots: &[&Plot], room: usize) -> String {
    if plots.is_empty() {
        return "<p>Nothing else was recorded that makes a plot.</p>\n".to_owned();
    }
    let figures: Vec<String> = plots.iter().map(|plot| figure(plot)).collect();
    let mut order: Vec<usize> = (0..plots.len()).collect();
    order.sort_by_key(|at| plots[*at].slug.starts_with("bars"));
    // Links and headings need some room as well.
    let mut left = room.saturating_sub(plots.len() * 150);
    let mut inside = vec![false; plots.len()];
    for at in order {
        if let Some(rest) = left.checked_sub(figures[at].len()) {
            (left, inside[at]) = (rest, true);
        }
    }
    let mut out = String::new();
    let mut at = 0;
    for group in plots.chunk_by(|a, b| a.dataset == b.dataset) {
        let dataset = escaped(&group[0].dataset);
        let (mut drawn, mut links) = (String::new(), Vec::new());
        for plot in group {
            match inside[at] {
                true => drawn.push_str(&figures[at]),
                false => links.push(format!(
                    "<a href=\"{}\">{}</a>",
                    escaped(&plot.file),
                    escaped(&plot.title)
                )),
            }
            at += 1;
        }
        out.push_str(&format!(
            "<h3>{dataset}</h3>\n<p class=\"csv\"><a href=\"{dataset}.csv\" download>{dataset}.csv\
                </a></p>\n<div class=\"plots\">\n{drawn}</div>\n"
        ));
        if !links.is_empty() {
            out.push_str(&format!(
                "<p class=\"data\">More: {}</p>\n",
                links.join("; ")
            ));
        }
    }
    out
}

fn figure(plot: &Plot) -> String {
    format!(
        "<figure>\n{}\n<figcaption><strong>{}.</strong> {}</figcaption>\n</figure>\n",
        drawing(plot),
        escaped(&plot.title),
        escaped(&plot.caption)
    )
}

/// A plot within HTML, which has the styles of all of them; without empty lines, which would end it
/// in Markdown.
fn drawing(plot: &Plot) -> String {
    match &plot.html {
        Some(table) => format!("<div class=\"wide\" tabindex=\"0\">{table}</div>"),
        None => inline(&plot.svg),
    }
}

/// A drawing without what the page has already: its name space, and the styles.
fn inline(svg: &str) -> String {
    let svg = svg.find("<svg").map_or("", |at| &svg[at..]);
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    let (before, rest) = svg.split_once("<style>").unwrap_or((&svg, ""));
    let after = rest.split_once("</style>").map_or("", |(_, after)| after);
    format!("{before}{after}")
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A/A rows and repeated campaigns.
fn checks(analysis: &Analysis<'_>) -> String {
    let mut out = "## Checks on the measurement itself\n".to_owned();
    for campaign in analysis.campaigns.iter().filter(|c| !c.twins.is_empty()) {
        let name = &campaign.dataset.name;
        out.push_str(&format!(
            "\n### Rows that are alike (A/A), {name}\n\n{}\n\n{}",
            tables::twins_in_words(campaign),
            named(&format!("{name}/twins"), &tables::twins(&campaign.twins))
        ));
    }
    for diff in &analysis.diffs {
        out.push_str(&format!(
            "\n### The same campaign again: {} and {}\n\n{}\n\n{}",
            diff.before,
            diff.after,
            diff::in_words(diff),
            named(&format!("{}/diff", diff.before), &diff::table(diff))
        ));
    }
    if analysis.diffs.is_empty() && analysis.campaigns.iter().all(|c| c.twins.is_empty()) {
        out.push_str("\nNo campaign has rows that were run twice, and none was repeated.\n");
    }
    out
}

/// A table with the name of its figure, which leads to its data.
fn named(figure: &str, table: &str) -> String {
    format!("<!-- figure: {figure} -->\n\n{table}\n\n<!-- /figure -->\n")
}

fn lab(all: &Emulated) -> String {
    let [differences, lost] = emulated::series_tables(all);
    format!(
        "## Other kernels, and the patch series\n\n{}\n### From the end to the verdict\n\n{}\n\
            ### Counts\n\n{}\n### The draft series\n\n{}\n{}\n\n{}",
        emulated::WARNING,
        named("emulated/latencies", &emulated::latencies(all)),
        named("emulated/counts", &emulated::counts(all)),
        named("emulated/series", &differences),
        emulated::REMOVALS,
        named("emulated/removals", &lost)
    )
}

fn sources(analysis: &Analysis<'_>) -> String {
    let mut out = "## Where it comes from\n".to_owned();
    for campaign in &analysis.campaigns {
        let name = &campaign.dataset.name;
        out.push_str(&format!("\n### {name}\n\n{}", tables::facts(campaign)));
        out.push_str(&format!("- Runs: {}.\n", campaign.dataset.runs.join(", ")));
        if !campaign.scale.is_empty() {
            let table = named(&format!("{name}/sites"), &costs::scale(&campaign.scale));
            out.push_str(&format!("\n{table}"));
        }
    }
    if analysis.campaigns.is_empty() {
        out.push_str("\nNothing is recorded yet.\n");
    }
    out
}
