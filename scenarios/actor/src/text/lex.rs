//! From a text to words with their places.

use super::TextError;

/// Where something is in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl At {
    pub(super) fn error(self, problem: impl Into<String>) -> TextError {
        TextError {
            line: self.line,
            column: self.column,
            problem: problem.into(),
        }
    }
}

/// A piece of a text without white space, or one in quotation marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) at: At,
}

/// The words up to the end of a line or to a `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement<'t> {
    pub(super) words: Vec<Word<'t>>,
    /// Where it ends.
    pub(super) end: At,
}

/// The statements of a text, without those that have no word.
pub(super) fn statements(text: &str) -> Result<Vec<Statement<'_>>, TextError> {
    let mut statements = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut reader = Line {
            rest: line,
            at: At {
                line: number + 1,
                column: 1,
            },
        };
        while let Some(statement) = reader.statement()? {
            if !statement.words.is_empty() {
                statements.push(statement);
            }
        }
    }
    Ok(statements)
}

struct Line<'t> {
    /// What has not been read.
    rest: &'t str,
    /// Where that is.
    at: At,
}

impl<'t> Line<'t> {
    /// `None` at the end of the line.
    fn statement(&mut self) -> Result<Option<Statement<'t>>, TextError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut words = Vec::new();
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            let end = self.at;
            match self.rest.chars().next() {
                None => return Ok(Some(Statement { words, end })),
                Some('#') => self.rest = "",
                Some(';') => {
                    self.take(1);
                    return Ok(Some(Statement { words, end }));
                }
                Some('"') => {
                    let length = quoted(self.rest)
                        .ok_or_else(|| end.error("the text is not closed: a \" is expected"))?;
                    words.push(self.word(length));
                }
                Some(_) => {
                    let stops = |c: char| c.is_whitespace() || matches!(c, ';' | '#' | '"');
                    let length = self.rest.find(stops).unwrap_or(self.rest.len());
                    // A label may be followed by an operation without a space.
                    let label = self.rest[..length]
                        .find(':')
                        .map_or(length, |colon| colon + 1);
                    words.push(self.word(label));
                }
            }
        }
    }

    fn word(&mut self, length: usize) -> Word<'t> {
        let at = self.at;
        let text = self.take(length);
        Word { text, at }
    }

    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.at.column += taken.chars().count();
        taken
    }
}

/// The length of the text in quotation marks that `rest` begins with; a `\` takes away the meaning
/// of what follows it.
fn quoted(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What follows the first word of an operation.
pub(super) struct Words<'s, 't> {
    rest: std::slice::Iter<'s, Word<'t>>,
    end: At,
    block: &'s dyn Fn(&str) -> Option<usize>,
}

impl<'s, 't> Words<'s, 't> {
    /// `block` finds a block by its name.
    pub(super) fn new(
        statement: &'s Statement<'t>,
        first: usize,
        block: &'s dyn Fn(&str) -> Option<usize>,
    ) -> Self {
        Self {
            rest: statement.words[first..].iter(),
            end: statement.end,
            block,
        }
    }

    /// Whether a word is left.
    pub(super) fn more(&self) -> bool {
        !self.rest.as_slice().is_empty()
    }

    /// The next word, understood by `parse`.
    pub(super) fn take<T>(
        &mut self,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, TextError> {
        let Some(word) = self.rest.next() else {
            return Err(self.end.error(format!("expected {wanted}")));
        };
        parse(word.text).ok_or_else(|| {
            word.at
                .error(format!("expected {wanted}, found {}", show(word.text)))
        })
    }

    /// The next word, the name of a block.
    pub(super) fn take_block(&mut self) -> Result<usize, TextError> {
        let block = self.block;
        self.take("the name of a block that is in the script", block)
    }

    /// Nothing may be left.
    pub(super) fn end(mut self) -> Result<(), TextError> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => Err(word.at.error(format!(
                "expected the end of the operation (a new line or ;), found {}",
                show(word.text)
            ))),
        }
    }
}

/// A word in an error: not longer than a line, without control characters.
pub(super) fn show(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
