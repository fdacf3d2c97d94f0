//! Commands with places for what differs from run to run.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// The words of a command, in which these are replaced: `{program}`, `{args}` (a word of its own:
/// as many words as there are arguments), `{command}` (both, quoted for a shell), `{id}` (a name
/// that no other run has), `{dir}` (a directory of the run), `{s}` and `{ms}` (the limit).
#[derive(Clone, Debug, Default)]
pub struct Template {
    words: Vec<String>,
    at: usize,
}

/// What stands for what.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The payload's program.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// The name of the run.
    pub id: &'a str,
    /// Its directory.
    pub dir: &'a str,
    /// The limit.
    pub limit_ms: u64,
}

const PLACES: [&str; 7] = ["program", "args", "command", "id", "dir", "s", "ms"];

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = Spanned::<Vec<String>>::deserialize(from)?;
        let at = words.span().start;
        let words = words.into_inner();
        if words.is_empty() {
            return Err(D::Error::custom("a command needs at least one word"));
        }
        let only = |word: &&String| word.contains("{args}") && *word != "{args}";
        if let Some(word) = words.iter().find(only) {
            let why = format!("`{{args}}` has to be a word of its own, not a part of {word:?}");
            return Err(D::Error::custom(why));
        }
        for word in &words {
            unknown(word).map_or(Ok(()), |name| {
                Err(D::Error::custom(format!(
                    "`{{{name}}}` means nothing here; there are {}",
                    PLACES.map(|place| format!("{{{place}}}")).join(", ")
                )))
            })?;
        }
        Ok(Self { words, at })
    }
}

/// A name in braces that has no meaning. Braces around anything but small letters are text.
fn unknown(word: &str) -> Option<&str> {
    word.split('{').skip(1).find_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        (named && !PLACES.contains(&name)).then_some(name)
    })
}

impl Template {
    /// Of these words.
    pub fn of<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            at: 0,
        }
    }

    /// The words as they are written.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Where it begins in its file.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether it names the program, if it has to.
    pub(super) fn usable(&self, runs: bool) -> Result<(), String> {
        let has = |place: &str| self.words.iter().any(|word| word.contains(place));
        let whole = has("{command}") || has("{program}") && has("{args}");
        match !runs || whole || has("{dir}") {
            true => Ok(()),
            false => Err(
                "the command names no program: `{program}` and `{args}`, or `{command}`, are needed"
                    .to_owned(),
            ),
        }
    }

    /// The command of one run.
    pub fn expand(&self, values: &Values<'_>) -> Vec<String> {
        let mut all = Vec::new();
        for word in &self.words {
            if word == "{args}" {
                all.extend(values.args.iter().cloned());
            } else {
                all.push(fill(word, values));
            }
        }
        all
    }
}

/// Replaces every place in a text, also in that of a file.
pub fn fill(text: &str, values: &Values<'_>) -> String {
    let words = std::iter::once(values.program).chain(values.args.iter().map(String::as_str));
    let quoted: Vec<String> = words.map(quote).collect();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a limit is a few thousand milliseconds"
    )]
    let seconds = values.limit_ms as f64 / 1_000.0;
    text.replace("{program}", values.program)
        .replace("{command}", &quoted.join(" "))
        .replace("{id}", values.id)
        .replace("{dir}", values.dir)
        .replace("{s}", &seconds.to_string())
        .replace("{ms}", &values.limit_ms.to_string())
}

/// A word for a shell.
pub(crate) fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
