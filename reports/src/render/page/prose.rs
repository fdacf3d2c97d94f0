//! Markdown within the page: figures lead to their data, long tables are folded, images become
//! drawings.

use pulldown_cmark::{Event, Options, Parser, Tag, html};

use super::super::csv;
use super::super::plot::Plot;
use super::{drawing, escaped};
use crate::text::NOT_RECORDED;

/// A table with more lines than this is folded.
const LINES: usize = 8;

/// Begins and ends of figures, for [`framed`]; they are in no page.
const BEGIN: &str = "\u{1}";
const END: &str = "\u{2}";

/// Markdown as HTML. Tables get a frame that scrolls, their data beside them, and a fold if they
/// are long; links to files of the repository lead from `reports/generated` there.
pub(super) fn markdown(text: &str) -> String {
    // What a figure's comment began within a line, its end closes.
    let mut within_line = false;
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(comment) if comment.trim_start().starts_with("<!--") => {
            Event::Html(block(&comment).into())
        }
        Event::InlineHtml(comment) if comment.starts_with("<!--") => {
            let written = match figure(&comment) {
                // An answer has its data below it.
                Some(name) if !name.starts_with("answers/") => {
                    within_line = true;
                    format!(
                        "<a class=\"fig\" href=\"{}\" title=\"{}\">",
                        escaped(&csv::beside(name)),
                        escaped(name)
                    )
                }
                _ if std::mem::take(&mut within_line) => "</a>".to_owned(),
                _ => String::new(),
            };
            Event::InlineHtml(written.into())
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
    framed(&without_dead_links(&out))
}

/// What is not recorded has no data to lead to.
fn without_dead_links(html: &str) -> String {
    const LINK: &str = "<a class=\"fig\"";
    let mut pieces = html.split(LINK);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let dead = piece.split_once('>').and_then(|(_, inner)| {
            let rest = inner.strip_prefix(NOT_RECORDED)?;
            rest.strip_prefix("</a>")
        });
        match dead {
            Some(rest) => out.push_str(&format!("{NOT_RECORDED}{rest}")),
            None => out.push_str(&format!("{LINK}{piece}")),
        }
    }
    out
}

/// The name in a comment that begins a figure.
fn figure(comment: &str) -> Option<&str> {
    let inner = comment.trim().strip_prefix("<!--")?.split("-->").next()?;
    inner.trim().strip_prefix("figure: ").map(str::trim)
}

/// A comment on lines of its own: the name of its figure, where it begins one.
fn block(comment: &str) -> String {
    match figure(comment) {
        Some(name) => format!("{BEGIN}{name}{END}"),
        None => String::new(),
    }
}

/// Tables in their frames, with links to their data.
fn framed(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    let mut name = "";
    while let Some(at) = rest.find(['\u{1}', '<']) {
        let found = &rest[at..];
        out.push_str(&rest[..at]);
        if let Some(inner) = found.strip_prefix(BEGIN) {
            let end = inner.find(END).unwrap_or(0);
            name = &inner[..end];
            rest = inner.get(end + END.len()..).unwrap_or_default();
        } else if let Some(end) = found.strip_prefix("<table>").and(found.find("</table>")) {
            let table = &found[..end + "</table>".len()];
            out.push_str(&frame(table, name));
            rest = &found[table.len()..];
        } else {
            out.push('<');
            rest = &found[1..];
        }
    }
    out.push_str(rest);
    out
}

/// A table that may be wide and long.
pub(super) fn frame(table: &str, figure: &str) -> String {
    let lines = table.matches("<tr>").count().saturating_sub(1);
    let data = match figure {
        "" => String::new(),
        name => {
            let file = escaped(&csv::beside(name));
            format!("<p class=\"csv\"><a href=\"{file}\" download>{file}</a></p>")
        }
    };
    let framed = format!("<div class=\"wide\" tabindex=\"0\">{table}</div>{data}");
    match lines > LINES {
        true => format!("<details><summary>Table of {lines} lines</summary>{framed}</details>"),
        false => framed,
    }
}

/// A link of the findings, which lie one directory above the page.
fn from_here(link: &str) -> String {
    match link.strip_prefix("generated/") {
        Some(neighbour) => neighbour.to_owned(),
        None if link.contains("://") || link.starts_with('#') => link.to_owned(),
        None => format!("../{link}"),
    }
}

/// Images become inline drawings, so that the page needs no other file. Also which ones those were.
pub(super) fn with_drawings(text: &str, plots: &[Plot]) -> (String, Vec<String>) {
    let mut out = text.to_owned();
    let mut drawn = Vec::new();
    for plot in plots {
        let picture = format!("![{}](generated/{})", plot.title, plot.file);
        if out.contains(&picture) {
            out = out.replace(&picture, &drawing(plot));
            drawn.push(plot.file.clone());
        }
    }
    (out, drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_leads_to_its_data_and_a_long_table_is_folded() {
        let line = markdown("It takes <!-- figure: latency/x/p50 -->1 ms<!-- /figure -->, or so.");
        let link = "<a class=\"fig\" href=\"latency.csv\" title=\"latency/x/p50\">1 ms</a>, or so.";
        assert!(line.contains(link), "{line}");
        let none = markdown("It takes <!-- figure: x/y -->not recorded<!-- /figure -->.");
        assert_eq!(none, "<p>It takes not recorded.</p>\n");
        let table = |lines: usize| {
            let body = "| 1 |\n".repeat(lines);
            let head = "<!-- figure: scale/sites -->\n\n| a |\n| --- |\n";
            markdown(&format!("{head}{body}\n<!-- /figure -->\n"))
        };
        assert!(table(3).contains("scale-sites.csv") && !table(3).contains("<details"));
        let long = table(20);
        assert!(
            long.contains("<summary>Table of 20 lines</summary>"),
            "{long}"
        );
        assert!(!long.contains(BEGIN) && !long.contains("figure"), "{long}");
        assert!(framed("a < b <p>").contains("a < b <p>"));
    }
}
