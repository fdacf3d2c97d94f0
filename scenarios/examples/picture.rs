//! Makes a picture (SVG) of a command's output, as a terminal of 80 columns shows it. Failures are
//! red, as in the terminal.
//!
//! The picture of the README: `scenarios/doc/picture`, which runs the main job and gives its output
//! to this program.
#![expect(clippy::print_stdout, reason = "a picture is what it prints")]

use std::io::{self, Read};
use std::process::ExitCode;

/// Size of a character cell.
const CELL: (usize, usize) = (8, 18);
/// Columns of the terminal.
const COLUMNS: usize = 80;
/// Space around the text.
const MARGIN: usize = 16;
/// How the output marks a failure, and the end of it.
const RED: (&str, &str) = ("\u{1b}[31m", "\u{1b}[0m");

fn main() -> ExitCode {
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut output = String::new();
    match io::stdin().read_to_string(&mut output) {
        Ok(_) if !output.trim().is_empty() => {
            println!("{}", svg(&command, &output));
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(_) => ExitCode::FAILURE,
    }
}

fn svg(command: &str, output: &str) -> String {
    let prompt = format!("$ {command}");
    let lines: Vec<&str> = std::iter::once(prompt.as_str())
        .chain(output.trim_end().lines())
        .collect();
    let (width, height) = (
        COLUMNS * CELL.0 + 2 * MARGIN,
        lines.len() * CELL.1 + 2 * MARGIN,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
            viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
            <title>{}</title>\n\
            <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1b1f24\"/>\n\
            <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
            font-size=\"13\" fill=\"#d8dee4\">\n",
        escaped(&prompt)
    );
    for (at, line) in lines.iter().enumerate() {
        let red = line.contains(RED.0);
        let text = line.replace(RED.0, "").replace(RED.1, "");
        if text.is_empty() {
            continue;
        }
        let fill = match (at, red) {
            (0, _) => " fill=\"#7ee787\"",
            (_, true) => " fill=\"#ff7b72\"",
            _ => "",
        };
        // The length is given, so that columns stand below each other whatever the font.
        svg.push_str(&format!(
            "<text x=\"{MARGIN}\" y=\"{}\" xml:space=\"preserve\" textLength=\"{}\" \
                lengthAdjust=\"spacingAndGlyphs\"{fill}>{}</text>\n",
            MARGIN + (at + 1) * CELL.1 - 5,
            text.chars().count() * CELL.0,
            escaped(&text)
        ));
    }
    svg.push_str("</g>\n</svg>");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_there_and_failures_are_red() {
        let picture = svg("scenario x", "a < b\n\n\u{1b}[31mNO\u{1b}[0m\n");
        assert!(
            picture.contains(">$ scenario x</text>") && picture.contains(">a &lt; b</text>"),
            "{picture}"
        );
        assert!(
            picture.contains("fill=\"#ff7b72\">NO</text>") && !picture.contains('\u{1b}'),
            "{picture}"
        );
        assert_eq!(
            picture.matches("<text").count(),
            3,
            "an empty line needs no element"
        );
    }
}
