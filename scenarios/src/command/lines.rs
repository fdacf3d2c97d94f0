//! Lines for a terminal: no wider than 80 columns, and red where something failed.

use std::env;
use std::io::{self, IsTerminal};

/// Columns of a page.
pub(super) const WIDTH: usize = 80;

/// The terminal codes for red and for its end.
const RED: (&str, &str) = ("\u{1b}[31m", "\u{1b}[0m");

/// A line of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What it says.
    pub text: String,
    /// Whether it reports a failure.
    pub failed: bool,
}

impl Line {
    /// An ordinary line.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            failed: false,
        }
    }

    /// A line that reports a failure.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            failed: true,
        }
    }
}

/// All lines as one text, failures red if `colour`.
pub(super) fn text(lines: &[Line], colour: bool) -> String {
    let mut text = String::new();
    for line in lines {
        match line.failed && colour {
            true => text.push_str(&format!("{}{}{}\n", RED.0, line.text, RED.1)),
            false => text.push_str(&format!("{}\n", line.text)),
        }
    }
    text
}

/// Whether what goes to standard output may be coloured: `NO_COLOR` forbids it, `CLICOLOR_FORCE`
/// asks for it, else a terminal has colours.
///
/// Sources: <https://no-color.org>, <https://bixense.com/clicolors>.
pub(super) fn colour() -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    match (set("NO_COLOR"), set("CLICOLOR_FORCE")) {
        (Some(_), _) => false,
        (None, Some(value)) => value != "0",
        (None, None) => io::stdout().is_terminal(),
    }
}

/// Breaks `text` between words. The first line begins with `first`, the others with as many blanks
/// as `indent` says.
pub(super) fn wrapped(first: &str, text: &str, indent: usize) -> Vec<String> {
    let mut lines = vec![first.to_owned()];
    let mut empty = true;
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if !empty && line + 1 + word.chars().count() > WIDTH {
            lines.push(" ".repeat(indent));
            empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
    }
    lines.iter().map(|line| cut(line, WIDTH)).collect()
}

/// `text`, if it is longer than `width` cut off there with a mark.
pub(super) fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => text.to_owned(),
    }
}

/// `a`, `a and b`, `a, b and c`; more than `few` are counted: `a, b and 7 more`.
pub(super) fn list(names: &[&str], few: usize) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        all if all.len() > few => format!("{} and {} more", all[..few].join(", "), all.len() - few),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_and_no_line_is_too_wide() {
        let lines = wrapped("Detect: ", &"word ".repeat(40), 8);
        assert!(
            lines.len() > 1
                && lines
                    .iter()
                    .all(|l| l.chars().count() <= WIDTH && l.ends_with("word"))
        );
        assert!(lines[1].starts_with("        word"), "{lines:?}");
        assert_eq!(wrapped("", &"x".repeat(100), 0)[0].chars().count(), WIDTH);
    }

    #[test]
    fn many_names_are_counted() {
        assert_eq!(list(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(list(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(list(&[], 2), "none");
    }

    #[test]
    fn only_failures_are_red_and_only_if_colours_are_wanted() {
        let lines = [Line::plain("yes"), Line::failed("NO")];
        assert_eq!(text(&lines, true), "yes\n\u{1b}[31mNO\u{1b}[0m\n");
        assert_eq!(text(&lines, false), "yes\nNO\n");
    }
}
