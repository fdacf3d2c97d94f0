//! What can follow the word of an operation: how each kind of argument is read and written.

use std::str::FromStr;

use allgone::param::{format_ns, parse_ns};

use super::TextError;
use super::forms::Names;
use super::lex::Words;
use crate::script::{Comm, Each, FOREVER};

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

/// A kind of argument that is a whole number, written as it is printed.
pub(super) trait Whole {
    type Number: FromStr + ToString + PartialOrd;
    const USAGE: &'static str;
    /// What is expected, for errors.
    const WANTED: &'static str;
    /// The greatest one.
    const MOST: Self::Number;
}

impl<K: Whole> Argument for K {
    type Value = K::Number;
    const USAGE: &'static str = K::USAGE;

    fn read(words: &mut Words<'_, '_>) -> Result<K::Number, TextError> {
        words.take(K::WANTED, |text| {
            digits(text).filter(|number| *number <= K::MOST)
        })
    }

    fn write(number: K::Number, _: Names<'_, '_>) -> String {
        number.to_string()
    }
}

/// The number of a barrier.
pub(super) struct Barrier;

impl Whole for Barrier {
    type Number = usize;
    const USAGE: &'static str = "NUMBER";
    const WANTED: &'static str = "the number of a barrier, such as 0";
    const MOST: usize = usize::MAX;
}

/// How many of something.
pub(super) struct Count;

impl Whole for Count {
    type Number = u32;
    const USAGE: &'static str = "N";
    const WANTED: &'static str = "a number, such as 3";
    const MOST: u32 = u32::MAX;
}

/// An exit code.
pub(super) struct Code;

impl Whole for Code {
    type Number = u8;
    const USAGE: &'static str = "CODE";
    const WANTED: &'static str = "an exit code, 0 to 255";
    const MOST: u8 = u8::MAX;
}

/// A nice value that needs no privilege.
pub(super) struct Nice;

impl Whole for Nice {
    type Number = u8;
    const USAGE: &'static str = "VALUE";
    const WANTED: &'static str = "a nice value, 0 to 19";
    const MOST: u8 = 19;
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

/// How many times: `20`, or `forever`.
pub(super) struct Times;

impl Argument for Times {
    type Value = u64;
    const USAGE: &'static str = "N or forever";

    fn read(words: &mut Words<'_, '_>) -> Result<u64, TextError> {
        words.take("a number such as 20, or forever", |text| match text {
            "forever" => Some(FOREVER),
            number => digits(number).filter(|n| *n != FOREVER),
        })
    }

    fn write(count: u64, _: Names<'_, '_>) -> String {
        match count {
            FOREVER => "forever".to_owned(),
            n => n.to_string(),
        }
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

/// An amount of memory: `512K`, `64M`, `2G`, powers of 1024.
pub(super) struct Size;

/// The units, largest first.
const UNITS: [(&str, u64); 4] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];

impl Argument for Size {
    type Value = u64;
    const USAGE: &'static str = "SIZE";

    fn read(words: &mut Words<'_, '_>) -> Result<u64, TextError> {
        words.take("a size such as 4096, 512K, 64M or 2G", |text| {
            let (number, unit) = UNITS
                .iter()
                .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
            digits::<u64>(number)?.checked_mul(*unit)
        })
    }

    fn write(bytes: u64, _: Names<'_, '_>) -> String {
        let whole = UNITS
            .iter()
            .find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
        whole.map_or_else(
            || bytes.to_string(),
            |(name, unit)| format!("{}{name}", bytes / unit),
        )
    }
}

/// A name of a process: a plain word, or any bytes in quotation marks.
pub(super) struct Name;

impl Argument for Name {
    type Value = Comm;
    const USAGE: &'static str = "NAME";

    fn read(words: &mut Words<'_, '_>) -> Result<Comm, TextError> {
        let wanted = "a name of at most 15 bytes, such as worker or \"a\\n\\xff\"";
        words.take(wanted, |text| match text.strip_prefix('"') {
            None => Comm::new(text.as_bytes()),
            Some(rest) => Comm::new(&unescape(rest.strip_suffix('"')?)?),
        })
    }

    fn write(name: Comm, _: Names<'_, '_>) -> String {
        format!("\"{}\"", name.as_bytes().escape_ascii())
    }
}

/// Undoes what [`slice::escape_ascii`] does. Other characters stand for themselves.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other @ (b'\\' | b'"' | b'\'') => other,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(bytes)
}

/// A whole number as it is printed: no sign, no leading zero.
fn digits<N: FromStr>(text: &str) -> Option<N> {
    let plain = text == "0" || !text.starts_with(['0', '+', '-']);
    plain.then(|| text.parse().ok())?
}
