//! The reader: from statements to a checked script, with the place of each mistake.

use std::collections::HashMap;

use super::lex::{At, Statement, Word, Words, show, statements};
use super::{MAX_BYTES, MAX_NAME, Named, TextError, WORDS, forms, name};
use crate::script::{Place, Script, ScriptError};

const START: At = At { line: 1, column: 1 };

/// A block as it is written.
struct Draft<'t> {
    name: &'t str,
    at: At,
    /// Its operations: a statement, and the index of the word that it begins with.
    ops: Vec<(usize, usize)>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Named, TextError> {
    let text = decode(bytes)?;
    let statements = statements(text)?;
    let mut drafts = drafts(&statements)?;
    let main = drafts.iter().position(|draft| draft.name == "main");
    let main = main.ok_or_else(|| START.error("expected a block `main:` for the main process"))?;
    // The main process plays the first block, wherever it is written.
    drafts[..=main].rotate_right(1);

    let index: HashMap<&str, usize> = drafts
        .iter()
        .enumerate()
        .map(|(i, d)| (d.name, i))
        .collect();
    let find = |name: &str| index.get(name).copied();
    let op = |&(statement, first): &(usize, usize)| {
        let statement: &Statement<'_> = &statements[statement];
        let word = statement.words[first];
        let mut words = Words::new(statement, first + 1, &find);
        let op = forms::read(word.text, &mut words)?.ok_or_else(|| unknown(word))?;
        words.end()?;
        Ok(op)
    };
    let blocks = drafts
        .iter()
        .map(|draft| draft.ops.iter().map(op).collect());
    let script = Script {
        blocks: blocks.collect::<Result<_, TextError>>()?,
    };
    let names: Vec<String> = drafts.iter().map(|draft| draft.name.to_owned()).collect();
    match script.check() {
        Ok(()) => Ok(Named { script, names }),
        Err(error) => Err(locate(&error, &names, &drafts, &statements)),
    }
}

fn decode(bytes: &[u8]) -> Result<&str, TextError> {
    if bytes.len() > MAX_BYTES {
        return Err(START.error(format!(
            "the script is {} bytes long or longer, and at most {MAX_BYTES} are read",
            bytes.len()
        )));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let (good, bad) = bytes.split_at(e.valid_up_to());
        let good = String::from_utf8_lossy(good);
        let line = good.rsplit('\n').next().unwrap_or_default();
        let at = At {
            line: good.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        };
        let byte = bad.first().copied().unwrap_or_default();
        at.error(format!("expected UTF-8, found the byte 0x{byte:02x}"))
    })
}

fn drafts<'t>(statements: &[Statement<'t>]) -> Result<Vec<Draft<'t>>, TextError> {
    let mut drafts: Vec<Draft<'t>> = Vec::new();
    for (number, statement) in statements.iter().enumerate() {
        for (at, word) in statement.words.iter().enumerate() {
            if let Some(label) = word.text.strip_suffix(':') {
                drafts.push(label_of(*word, label, &drafts)?);
            } else if let Some(draft) = drafts.last_mut() {
                draft.ops.push((number, at));
                break;
            } else {
                return Err(word.at.error(format!(
                    "expected a block such as `main:`, found {}",
                    show(word.text)
                )));
            }
        }
    }
    Ok(drafts)
}

fn label_of<'t>(
    word: Word<'t>,
    name: &'t str,
    before: &[Draft<'t>],
) -> Result<Draft<'t>, TextError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(plain)
        || name.len() > MAX_NAME
    {
        return Err(word.at.error(format!(
            "expected the name of a block: a small letter, then small letters, digits and -, at \
                most {MAX_NAME} in all; found {}",
            show(name)
        )));
    }
    if let Some(first) = before.iter().find(|draft| draft.name == name) {
        return Err(word.at.error(format!(
            "block {name} is there already, in line {}",
            first.at.line
        )));
    }
    Ok(Draft {
        name,
        at: word.at,
        ops: Vec::new(),
    })
}

/// The error for a word that begins no operation.
fn unknown(word: Word<'_>) -> TextError {
    word.at.error(format!(
        "expected an operation, found {}; operations are {}",
        show(word.text),
        WORDS.join(", ")
    ))
}

/// What a check found, with the place in the text and the names of the blocks.
fn locate(
    error: &ScriptError,
    names: &[String],
    drafts: &[Draft<'_>],
    statements: &[Statement<'_>],
) -> TextError {
    let at = error.place().and_then(|Place { block, op }| {
        let draft = drafts.get(block)?;
        let op = op.and_then(|op| draft.ops.get(op));
        Some(op.map_or(draft.at, |&(statement, first)| {
            statements[statement].words[first].at
        }))
    });
    at.unwrap_or(START)
        .error(error.told(|block| name(names, block)))
}
