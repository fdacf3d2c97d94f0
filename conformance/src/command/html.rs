//! Recorded scores as a page of HTML, in one file without scripts.

use std::fmt::Write as _;

use super::markdown::{KNOWN, Written, agreement, measured};
use super::output::{LEGEND, counts, is_bad, promises, short};
use crate::score::{Cell, Score, Scores, Verdict};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em;color:#222}\
table{border-collapse:collapse;font-size:13px}\
td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left;vertical-align:top}\
.matrix{overflow-x:auto}.matrix th{position:sticky;top:0;background:#fff}\
code{font-family:ui-monospace,monospace}td a{text-decoration:none;color:inherit}\
.kept{background:#dff2df}.some{background:#fdf3cd}.none{background:#eee}.broken{background:#f7d0d0}\
.unknown{background:#e4e4f4}:target{outline:2px solid #36c}\
summary{cursor:pointer}p{max-width:50em}";

/// The page.
pub(super) fn page(scores: &Scores, written: &Written) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>What launchers keep of what they promise</title>\n<style>{STYLE}</style>\n\
         <h1>What launchers keep of what they promise</h1>\n\
         <p>{}, suite {}, seed {}{}. {}</p>\n\
         <p>A row is a launcher, a column a promise, a sign a level, from 0 (polite) to 4 (cgroups \
         of its own). {LEGEND} What is not claimed is not broken, and \
         not red. A place leads to its trials.</p>\n",
        text(&scores.kernel),
        text(&scores.suite),
        scores.seed,
        match scores.options.as_str() {
            "" => String::new(),
            options => format!(", options {}", text(options)),
        },
        "Packages are those of the machine that it was recorded on: look at the current release \
         before you judge a project by this page."
    );
    matrix(scores, &mut out);
    known(scores, written, &mut out);
    out += "<h2>Launchers</h2>\n";
    for score in &scores.launchers {
        let note = written.notes.get(&score.launcher).map(String::as_str);
        launcher(score, note, &mut out);
    }
    out + "</html>\n"
}

/// Writing to a string cannot fail.
fn line(out: &mut String, what: std::fmt::Arguments<'_>) {
    match writeln!(out, "{what}") {
        Ok(()) | Err(_) => {}
    }
}

fn matrix(scores: &Scores, out: &mut String) {
    *out += "<div class=\"matrix\"><table>\n<tr><th>launcher<th>version";
    for promise in promises(scores) {
        line(out, format_args!("<th>{}", text(promise)));
    }
    for score in scores.launchers.iter().filter(|score| played(score)) {
        let id = text(&score.launcher);
        let version = text(&score.version);
        line(
            out,
            format_args!("<tr><td><a href=\"#{id}\">{id}</a><td>{version}"),
        );
        for promise in promises(scores) {
            let cells = score.cells.iter().filter(|cell| cell.promise == promise);
            let cells: Vec<&Cell> = cells.collect();
            let class = class(&cells);
            let signs = short(score, promise);
            match signs.as_str() {
                "" | "." => line(out, format_args!("<td>")),
                signs => line(
                    out,
                    format_args!(
                        "<td class=\"{class}\"><a href=\"#{id}.{promise}\"><code>{signs}</code></a>"
                    ),
                ),
            }
        }
    }
    *out += "</table></div>\n";
}

fn played(score: &Score) -> bool {
    score.skipped.is_none() && score.unusable.is_none()
}

/// The colour of some cells. What is not claimed cannot be broken.
fn class(cells: &[&Cell]) -> &'static str {
    if cells.iter().any(|cell| cell.verdict == Verdict::Broken) {
        return "broken";
    }
    let sum = |of: fn(&Cell) -> usize| cells.iter().map(|cell| of(cell)).sum::<usize>();
    match (sum(|c| c.kept), sum(|c| c.broken), sum(|c| c.unknown)) {
        (0, 0, 0) => "",
        (_, 0, 1..) => "unknown",
        (_, 0, 0) => "kept",
        (0, ..) => "none",
        _ => "some",
    }
}

fn known(scores: &Scores, written: &Written, out: &mut String) {
    line(
        out,
        format_args!(
            "<h2 id=\"known\">What was known before</h2>\n<p>{KNOWN}</p>\n<table>\n\
             <tr><th>what was known<th>launchers<th>the record"
        ),
    );
    for truth in &written.truths {
        let class = match truth.compare(scores).differ {
            0 => "kept",
            _ => "some",
        };
        line(
            out,
            format_args!(
                "<tr><td>{}<td>{}<td class=\"{class}\">{}",
                text(&truth.says),
                text(&truth.launchers.join(", ")),
                code(&agreement(truth, scores))
            ),
        );
    }
    *out += "</table>\n";
}

fn launcher(score: &Score, note: Option<&str>, out: &mut String) {
    let id = text(&score.launcher);
    line(
        out,
        format_args!(
            "<h3 id=\"{id}\">{id}</h3>\n<p>{}. {}{}</p>",
            text(&score.about),
            text(&score.version),
            text(&measured(score))
        ),
    );
    if let Some(note) = note {
        line(out, format_args!("<p>{}</p>", code(note.trim())));
    }
    if !score.says.is_empty() {
        line(
            out,
            format_args!("<p>Its documentation: {}</p>", text(&score.says)),
        );
    }
    for (what, why) in [
        ("Not played", &score.skipped),
        ("Not known", &score.unusable),
    ] {
        if let Some(why) = why {
            line(out, format_args!("<p>{what}: {}.</p>", text(why)));
        }
    }
    let mut promise = "";
    for cell in &score.cells {
        if cell.promise != promise {
            promise = &cell.promise;
            evidence(score, promise, out);
        }
    }
}

/// All cells of a promise, and its trials. Who follows a link into what is folded has it opened by
/// the browser.
fn evidence(score: &Score, promise: &str, out: &mut String) {
    let cells = score.cells.iter().filter(|cell| cell.promise == promise);
    let cells: Vec<&Cell> = cells.collect();
    line(
        out,
        format_args!(
            "<details><summary>{promise} <code class=\"{1}\">{2}</code></summary>\n\
             <table id=\"{0}.{promise}\">\n<tr><th>level<th>verdict<th>kept<th>what was seen",
            text(&score.launcher),
            class(&cells),
            short(score, promise)
        ),
    );
    for cell in &cells {
        let bad = if is_bad(cell.verdict) { "!" } else { "" };
        let again = cell.again.as_deref().map(|again| {
            let again = text(again);
            format!("<br><code>{again}</code>")
        });
        line(
            out,
            format_args!(
                "<tr><td>{}<td>{}{bad}<td>{}<td>{}{}",
                cell.level,
                cell.verdict.word(),
                counts(cell),
                text(cell.why.as_deref().unwrap_or_default()),
                again.unwrap_or_default()
            ),
        );
    }
    *out += "</table>\n<table>\n<tr><th>trial<th>verdict<th>returned, ms<th>idle, ms<th>status\n";
    let its = |case: &str| case.split('/').next() == Some(promise);
    for trial in score.trials.iter().filter(|trial| its(&trial.case)) {
        let ms = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), |us| (us / 1_000).to_string());
        line(
            out,
            format_args!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
                text(&trial.case),
                text(&trial.judged),
                ms(trial.returned_us),
                ms(trial.idle_us),
                text(trial.status.as_deref().unwrap_or("did not return"))
            ),
        );
    }
    *out += "</table></details>\n";
}

/// Text as it is.
fn text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Text in which what stands between backquotes is code.
fn code(of: &str) -> String {
    let parts = of.split('`').enumerate();
    parts
        .map(|(at, part)| match at % 2 {
            0 => text(part),
            _ => format!("<code>{}</code>", text(part)),
        })
        .collect()
}
