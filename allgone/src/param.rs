//! Named axes with units: the parameters of a mechanism.

use std::collections::BTreeMap;

use thiserror::Error;

/// What the number of an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds; written `0`, `250us`, `5ms`, `2s`, or `forever`.
    Nanoseconds,
    /// A plain count.
    Count,
}

/// The value of a duration axis that never ends by itself.
pub const FOREVER: u64 = u64::MAX;

/// One thing that can be varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Name, kebab-case.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Value when nothing is set.
    pub default: u64,
    /// Value where a strategy kills, if that differs (the lifetime of a workload that is to be
    /// killed is `forever`).
    pub kill_default: Option<u64>,
    /// What it means, one sentence.
    pub doc: &'static str,
}

/// One value for each axis that applies to a trial, by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ParamPoint(BTreeMap<&'static str, u64>);

/// A value that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("axis {axis}: {value:?} is not {wanted}")]
pub struct ValueError {
    /// The axis.
    pub axis: &'static str,
    /// What was given.
    pub value: String,
    /// What would be understood.
    pub wanted: &'static str,
}

impl Axis {
    /// Reads a value as a user writes it.
    pub fn parse(&self, text: &str) -> Result<u64, ValueError> {
        let (wanted, parsed) = match self.unit {
            Unit::Count => ("a whole number", text.parse().ok()),
            Unit::Nanoseconds => (
                "a time such as 0, 250us, 5ms, 2s or forever",
                parse_ns(text),
            ),
        };
        parsed.ok_or_else(|| ValueError {
            axis: self.name,
            value: text.to_owned(),
            wanted,
        })
    }

    /// Writes a value as [`Axis::parse`] reads it.
    pub fn format(&self, value: u64) -> String {
        match self.unit {
            Unit::Count => value.to_string(),
            Unit::Nanoseconds => format_ns(value),
        }
    }
}

/// Reads a time as axes and scripts write it: `0`, `250us`, `5ms`, `2s`, `forever`.
pub fn parse_ns(text: &str) -> Option<u64> {
    if text == "forever" {
        return Some(FOREVER);
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    let scale = match &text[digits.len()..] {
        "" if number == 0 => 1,
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(scale)
}

/// Writes a time as [`parse_ns`] reads it, in the largest unit in which it is whole.
pub fn format_ns(ns: u64) -> String {
    match ns {
        FOREVER => "forever".to_owned(),
        0 => "0".to_owned(),
        n if n % 1_000_000_000 == 0 => format!("{}s", n / 1_000_000_000),
        n if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}us", n / 1_000),
        n => format!("{n}ns"),
    }
}

impl ParamPoint {
    /// Sets one axis.
    pub fn set(&mut self, axis: &Axis, value: u64) {
        self.0.insert(axis.name, value);
    }

    /// The value of `axis`, or its default without a kill if it is not in the point.
    pub fn get(&self, axis: &Axis) -> u64 {
        self.0.get(axis.name).copied().unwrap_or(axis.default)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, value)| (*name, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Axis = Axis {
        name: "lifetime",
        unit: Unit::Nanoseconds,
        default: 0,
        kill_default: Some(FOREVER),
        doc: "how long",
    };

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(TIME.parse("0"), Ok(0));
        assert_eq!(TIME.parse("1ms"), Ok(1_000_000));
        assert_eq!(TIME.parse("250us"), Ok(250_000));
        assert_eq!(TIME.parse("forever"), Ok(FOREVER));
        for bad in ["5", "", "ms", "-1ms", "1 ms", "1h", "99999999999999999999s"] {
            assert!(TIME.parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let mut point = ParamPoint::default();
        assert_eq!(point.get(&TIME), 0);
        point.set(&TIME, 7);
        assert_eq!(point.get(&TIME), 7);
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(ns in any::<u64>()) {
            prop_assert_eq!(TIME.parse(&TIME.format(ns)), Ok(ns));
        }
    }
}
