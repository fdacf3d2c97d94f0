//! What an adapter claims: for each promise the highest level at which it is to be kept.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The highest level.
pub const HIGHEST: u8 = 4;

/// The names of all promises. What each means is not known here.
pub const PROMISE_IDS: [&str; 17] = [
    "crowd",
    "end-kill",
    "end-kill-later",
    "end-wait",
    "exhausted",
    "hup",
    "int",
    "io",
    "kill",
    "late",
    "limit",
    "no-start",
    "residue",
    "status",
    "stop",
    "strangers",
    "term",
];

/// The highest claimed level of each promise that is claimed at all.
#[derive(Clone, Debug, Default)]
pub struct Claims(BTreeMap<&'static str, u8>);

impl Claims {
    /// Whether `promise` is claimed at `level`.
    pub fn has(&self, promise: &str, level: u8) -> bool {
        self.0.get(promise).is_some_and(|highest| level <= *highest)
    }
}

/// The id of a promise that exists.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Id(&'static str);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let known = PROMISE_IDS.into_iter().find(|id| *id == text);
        known.map(Self).ok_or_else(|| {
            let all = PROMISE_IDS.join(", ");
            D::Error::custom(format!("there is no promise `{text}`; there are {all}"))
        })
    }
}

struct Level(u8);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let level = u64::deserialize(from)?;
        match u8::try_from(level).ok().filter(|level| *level <= HIGHEST) {
            Some(level) => Ok(Self(level)),
            None => Err(D::Error::custom(format!(
                "a level is 0 to {HIGHEST}, not {level}"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<Id, Level>::deserialize(from)?;
        Ok(Self(
            all.into_iter().map(|(id, level)| (id.0, level.0)).collect(),
        ))
    }
}
