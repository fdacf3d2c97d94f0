//! What is seen first: the two questions, their answers, and latency against lifetime.

use super::super::plot::window::Opening;
use super::{PICTURE, escaped, inline, prose};
use crate::answers::Answer;

const TITLE: &str = "Is it over? Is it dead? What was measured";

/// The head of the page up to its styles, with what programs show beside a link.
pub(super) fn head(answers: &[Answer]) -> String {
    let said: Vec<String> = answers
        .iter()
        .map(|answer| format!("{} {}.", answer.question, answer.short))
        .collect();
    let said = escaped(&said.join(" "));
    format!(
        "<!doctype html>\n\
            <html lang=\"en\">\n\
            <head>\n\
            <meta charset=\"utf-8\">\n\
            <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
            <meta name=\"color-scheme\" content=\"light dark\">\n\
            <meta name=\"description\" content=\"{said}\">\n\
            <meta property=\"og:type\" content=\"article\">\n\
            <meta property=\"og:title\" content=\"{TITLE}\">\n\
            <meta property=\"og:description\" content=\"{said}\">\n\
            <meta property=\"og:image\" content=\"{PICTURE}\">\n\
            <meta property=\"og:image:width\" content=\"1200\">\n\
            <meta property=\"og:image:height\" content=\"630\">\n\
            <meta property=\"og:image:alt\" content=\"Latency against lifetime\">\n\
            <meta name=\"twitter:card\" content=\"summary_large_image\">\n\
            <link rel=\"icon\" href=\"data:,\">\n\
            <title>{TITLE}</title>\n"
    )
}

/// The first screen.
pub(super) fn section(answers: &[Answer], opening: Option<&Opening>) -> String {
    let mut out = String::from("<section id=\"answers\">\n<div class=\"questions\">\n");
    for answer in answers {
        let data: Vec<String> = answer
            .datasets
            .iter()
            .map(|name| {
                let name = escaped(name);
                format!("<a href=\"{name}.csv\">{name}</a>")
            })
            .collect();
        let data = match data.is_empty() {
            true => String::new(),
            false => format!("<p class=\"data\">Data: {}</p>\n", data.join(", ")),
        };
        out.push_str(&format!(
            "<article>\n<h2>{}</h2>\n{}{data}</article>\n",
            escaped(answer.question),
            prose::markdown(&answer.sentence())
        ));
    }
    out.push_str("</div>\n");
    if let Some(opening) = opening {
        out.push_str(&format!(
            "<figure>\n<div class=\"broad\">{}</div>\n<div class=\"slim\">{}</div>\n\
                <figcaption><strong>{}.</strong> {} <a href=\"{}.csv\">Data</a></figcaption>\n\
                </figure>\n",
            inline(&opening.wide),
            inline(&opening.narrow),
            escaped(&opening.title),
            escaped(&opening.caption),
            escaped(&opening.dataset)
        ));
    }
    out.push_str("</section>\n");
    out
}
