//! A drawing as SVG: classes instead of colours, so that one file serves a light page, a dark one
//! and paper, and a text for each thing that has a value, which is shown where one points at it.

/// The classes, in light and dark.
pub(in super::super) const STYLE: &str = include_str!("plot.css");

/// The width of a letter, in parts of the size of its font: wide enough for common fonts.
const LETTER: f64 = 0.6;

/// Where a text stands from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// To the right of it.
    Start,
    /// Around it.
    Middle,
    /// To the left of it.
    End,
}

/// A sheet that is drawn on.
#[derive(Debug)]
pub(super) struct Sheet {
    width: f64,
    height: f64,
    body: String,
}

impl Sheet {
    /// An empty one.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>\n",
            short(from.0),
            short(from.1),
            short(to.0),
            short(to.1)
        ));
    }

    /// An area, with what it stands for; no words, no text on pointing at it.
    pub(super) fn area(&mut self, class: &str, at: (f64, f64), size: (f64, f64), words: &str) {
        self.body.push_str(&format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}",
            short(at.0),
            short(at.1),
            short(size.0),
            short(size.1),
            ended("rect", words)
        ));
    }

    pub(super) fn path(&mut self, class: &str, d: &str, words: &str) {
        self.body.push_str(&format!(
            "<path class=\"{class}\" d=\"{d}\"{}",
            ended("path", words)
        ));
    }

    /// A point; its class gives it an invisible rim, so that it is easy to point at.
    pub(super) fn dot(&mut self, class: &str, at: (f64, f64), words: &str) {
        self.body.push_str(&format!(
            "<circle class=\"d {class}\" cx=\"{}\" cy=\"{}\" r=\"2.8\"{}",
            short(at.0),
            short(at.1),
            ended("circle", words)
        ));
    }

    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.body.push_str(&format!(
            "<text class=\"t {class}\" x=\"{}\" y=\"{}\"{anchor}>{}</text>\n",
            short(at.0),
            short(at.1),
            escaped(text)
        ));
    }

    /// A heading that leans to the right, so that long ones fit above narrow columns.
    pub(super) fn leaning(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y) = (short(at.0), short(at.1));
        self.body.push_str(&format!(
            "<text class=\"t {class}\" x=\"{x}\" y=\"{y}\" \
                transform=\"rotate(-45 {x} {y})\">{}</text>\n",
            escaped(text)
        ));
    }

    /// The file, with a name for those who cannot see it.
    pub(super) fn finish(self, name: &str) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n\
                <style>{STYLE}</style>\n\
                <rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>",
            escaped(name),
            self.body
        )
    }
}

/// How wide a text is, roughly and at most.
pub(super) fn width(text: &str, font: f64) -> f64 {
    real(text.chars().count()) * LETTER * font
}

/// A number of things as a length.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}

/// A length with one digit behind the point, and without it where that is zero.
pub(super) fn short(length: f64) -> String {
    let text = format!("{length:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// The end of an element, with its words inside.
fn ended(element: &str, words: &str) -> String {
    match words {
        "" => "/>\n".to_owned(),
        words => format!("><title>{}</title></{element}>\n", escaped(words)),
    }
}

/// Text as it may stand in XML.
pub(in super::super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_and_texts_are_escaped() {
        assert_eq!([short(3.0), short(3.06), short(-0.01)], ["3", "3.1", "0"]);
        let mut sheet = Sheet::new(10.0, 10.0);
        sheet.dot("f0", (1.0, 2.0), "a < b");
        let text = sheet.finish("\"x\"");
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        assert!(text.contains("aria-label=\"&quot;x&quot;\""), "{text}");
    }
}
