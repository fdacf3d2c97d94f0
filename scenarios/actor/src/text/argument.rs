//! What can follow the word of an operation: how each kind of argument is read and written.

use allgone::param::{format_ns, parse_ns};

use super::TextError;
use super::forms::Names;
use super::lex::Words;
use crate::script::Each;

/// One kind of argument.
pub(super) trait Argument {
    /// What an operation holds.
    type Value;
    /// How it is shown in help and errors; optional ones in brackets.
    const USAGE: &'static str;

    fn read(words: &mut Words<'_, '_>) -> Result<Self::Value, TextError>;

    /// Empty for an optional one that has its default.
    fn write(value: Self::Value, names: Names<'_, '_>) -> String;
}

/// A time such as `50ms`, `2s` or `forever`, in nanoseconds.
pub(super) struct Time;

impl Argument for Time {
    type Value = u64;
    const USAGE: &'static str = "TIME";

    fn read(words: &mut Words<'_, '_>) -> Result<u64, TextError> {
        words.take("a time such as 0, 250us, 50ms, 2s or forever", parse_ns)
    }

    fn write(ns: u64, _: Names<'_, '_>) -> String {
        format_ns(ns)
    }
}

/// The name of a block.
pub(super) struct Block;

impl Argument for Block {
    type Value = usize;
    const USAGE: &'static str = "BLOCK";

    fn read(words: &mut Words<'_, '_>) -> Result<usize, TextError> {
        words.take_block()
    }

    fn write(block: usize, names: Names<'_, '_>) -> String {
        names(block).into_owned()
    }
}

/// How many: `x3`; one if it is left out.
pub(super) struct Copies;

impl Argument for Copies {
    type Value = u32;
    const USAGE: &'static str = "[xN]";

    fn read(words: &mut Words<'_, '_>) -> Result<u32, TextError> {
        if !words.more() {
            return Ok(1);
        }
        words.take("a count such as x3, or the end of the operation", |text| {
            digits(text.strip_prefix('x')?)
        })
    }

    fn write(count: u32, _: Names<'_, '_>) -> String {
        match count {
            1 => String::new(),
            n => format!("x{n}"),
        }
    }
}

/// The number of a barrier.
pub(super) struct Barrier;

impl Argument for Barrier {
    type Value = usize;
    const USAGE: &'static str = "NUMBER";

    fn read(words: &mut Words<'_, '_>) -> Result<usize, TextError> {
        words.take("the number of a barrier, such as 0", digits)
    }

    fn write(index: usize, _: Names<'_, '_>) -> String {
        index.to_string()
    }
}

/// For how many processes: `of 3`.
pub(super) struct Of;

impl Argument for Of {
    type Value = u32;
    const USAGE: &'static str = "of N";

    fn read(words: &mut Words<'_, '_>) -> Result<u32, TextError> {
        words.take("`of` and the number of processes, such as of 3", |text| {
            (text == "of").then_some(())
        })?;
        words.take("a number of processes, such as 3", digits)
    }

    fn write(count: u32, _: Names<'_, '_>) -> String {
        format!("of {count}")
    }
}

/// What each copy of a bomb does: an operation, or nothing.
pub(super) struct Step;

impl Argument for Step {
    type Value = Each;
    const USAGE: &'static str = "[setsid | enter-cgroup]";

    fn read(words: &mut Words<'_, '_>) -> Result<Each, TextError> {
        if !words.more() {
            return Ok(Each::Nothing);
        }
        words.take(
            "setsid, enter-cgroup or the end of the operation",
            |text| match text {
                "setsid" => Some(Each::Setsid),
                "enter-cgroup" => Some(Each::EnterCgroup),
                _ => None,
            },
        )
    }

    fn write(each: Each, _: Names<'_, '_>) -> String {
        let word = match each {
            Each::Nothing => "",
            Each::Setsid => "setsid",
            Each::EnterCgroup => "enter-cgroup",
        };
        word.to_owned()
    }
}

/// A whole number as it is printed: no sign, no leading zero.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = text == "0" || !text.starts_with(['0', '+', '-']);
    plain.then(|| text.parse().ok())?
}
