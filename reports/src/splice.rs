//! Figures in prose: the text between `<!-- figure: NAME -->` and `<!-- /figure -->` is computed,
//! and nothing else is written there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::figures::{Figure, Figures};
use crate::text::NOT_RECORDED;

/// Prose with figures spliced in, below the top of the workspace.
pub const FINDINGS: &str = "reports/findings.md";

const BEGIN: &str = "<!-- figure: ";
const BEGUN: &str = " -->";
const END: &str = "<!-- /figure -->";

/// The findings as they are committed; nothing if there are none.
pub fn read(root: &Path) -> Result<Option<String>> {
    let path = root.join(FINDINGS);
    match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other
            .map(Some)
            .with_context(|| format!("could not read {}", path.display())),
    }
}

/// The text with every figure as it is now. A figure that is not recorded is said to be not
/// recorded.
pub fn splice(text: &str, figures: &Figures) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text)? {
        match piece {
            Piece::Prose(prose) => out.push_str(prose),
            Piece::Figure { name, line, alone } => {
                let content = match figures.get(name) {
                    Some(Figure::Inline(_)) if alone => {
                        bail!("{FINDINGS}:{line}: the figure {name} belongs into a line of prose")
                    }
                    Some(Figure::Block(_)) if !alone => {
                        bail!(
                            "{FINDINGS}:{line}: the figure {name} is a table and needs a line of \
                                its own"
                        )
                    }
                    None if alone => format!("\n\n*{NOT_RECORDED}*\n\n"),
                    None => NOT_RECORDED.to_owned(),
                    Some(Figure::Inline(text)) => text.clone(),
                    Some(Figure::Block(text)) => format!("\n\n{}\n\n", text.trim_end()),
                };
                out.push_str(&format!("{BEGIN}{name}{BEGUN}{content}{END}"));
            }
        }
    }
    Ok(out)
}

/// Names of figures that a text asks for and that do not exist, each with its line.
pub fn missing<'t>(text: &'t str, figures: &Figures) -> Result<Vec<(usize, &'t str)>> {
    let asked = pieces(text)?.into_iter().filter_map(|piece| match piece {
        Piece::Figure { name, line, .. } if figures.get(name).is_none() => Some((line, name)),
        _ => None,
    });
    Ok(asked.collect())
}

enum Piece<'t> {
    Prose(&'t str),
    /// `alone`: nothing stands on its line but itself, or it spans lines.
    Figure {
        name: &'t str,
        line: usize,
        alone: bool,
    },
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let line = text[..text.len() - rest.len() + at].matches('\n').count() + 1;
        let after = &rest[at + BEGIN.len()..];
        let Some(name_ends) = after.find(BEGUN) else {
            bail!("{FINDINGS}:{line}: a marker of a figure has no \"{BEGUN}\"");
        };
        let (name, inside) = (&after[..name_ends], &after[name_ends + BEGUN.len()..]);
        let Some(end) = inside.find(END) else {
            bail!("{FINDINGS}:{line}: the figure {name} has no \"{END}\"");
        };
        if inside[..end].contains(BEGIN) {
            bail!(
                "{FINDINGS}:{line}: the figure {name} has no \"{END}\" before the next one begins"
            );
        }
        pieces.push(Piece::Prose(&rest[..at]));
        let before = &text[..text.len() - rest.len() + at];
        let begun = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
        let starts = begun
            .chars()
            .all(|c| c.is_ascii_whitespace() || "-*>".contains(c));
        rest = &inside[end + END.len()..];
        let alone = starts && (rest.is_empty() || rest.starts_with('\n'));
        // Markdown treats a line that begins with a comment as HTML, and does not format the rest
        // of the paragraph.
        if starts && !alone {
            bail!(
                "{FINDINGS}:{line}: the figure {name} stands within a line, so it cannot begin one"
            );
        }
        pieces.push(Piece::Figure { name, line, alone });
    }
    pieces.push(Piece::Prose(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_markers_is_computed() {
        let text = "It takes <!-- figure: a/b -->12 ms<!-- /figure -->.\n";
        let spliced = splice(text, &Figures::default()).unwrap();
        assert_eq!(
            spliced,
            "It takes <!-- figure: a/b -->not recorded<!-- /figure -->.\n"
        );
        assert_eq!(splice(&spliced, &Figures::default()).unwrap(), spliced);
        assert_eq!(missing(text, &Figures::default()).unwrap(), [(1, "a/b")]);
    }

    #[test]
    fn a_figure_within_a_line_cannot_begin_it() {
        let error = splice(
            "one\n<!-- figure: a -->x<!-- /figure --> two",
            &Figures::default(),
        )
        .unwrap_err();
        assert!(
            error.to_string().starts_with("reports/findings.md:2: "),
            "{error}"
        );
        for line in [
            "  <!-- figure: a -->x<!-- /figure --> two",
            "- <!-- figure: a -->x<!-- /figure --> two",
        ] {
            assert!(splice(line, &Figures::default()).is_err(), "{line}");
        }
        let table = "one\n\n<!-- figure: a -->x<!-- /figure -->\n";
        let spliced = splice(table, &Figures::default()).unwrap();
        assert!(
            spliced.contains("-->\n\n*not recorded*\n\n<!--"),
            "{spliced}"
        );
        assert_eq!(splice(&spliced, &Figures::default()).unwrap(), spliced);
    }

    #[test]
    fn a_torn_marker_is_an_error_with_its_line() {
        for text in [
            "one\n<!-- figure: a -->",
            "one\n<!-- figure: a",
            "one\n<!-- figure: a --> <!-- figure: b -->x<!-- /figure -->",
        ] {
            let error = splice(text, &Figures::default()).unwrap_err().to_string();
            assert!(error.starts_with("reports/findings.md:2:"), "{error}");
        }
    }
}
