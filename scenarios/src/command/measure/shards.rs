//! Parts of a campaign: every N-th block, so that many machines can measure it.

use std::collections::BTreeSet;

use serde::Serialize;

/// Some of N parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in super::super) struct Shards {
    /// How many parts there are.
    of: u32,
    /// Which of them these are, from 1.
    numbers: BTreeSet<u32>,
}

impl Shards {
    /// Reads `2/8`, or `1,3/8`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no part of a campaign: K/N, with K from 1 to N");
        let (numbers, of) = text.split_once('/').ok_or_else(wrong)?;
        let of: u32 = of.parse().map_err(|_| wrong())?;
        let numbers: BTreeSet<u32> = numbers
            .split(',')
            .map(|number| number.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        match numbers.iter().all(|number| (1..=of).contains(number)) {
            true => Ok(Self { of, numbers }),
            false => Err(wrong()),
        }
    }

    /// Whether a block, from 0, belongs to them.
    pub(in super::super) fn has(&self, block: u32) -> bool {
        self.numbers.contains(&(block % self.of + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_in_one_part() {
        let parts = ["1/3", "2/3", "3/3"].map(|text| Shards::parse(text).unwrap());
        for block in 0..10 {
            let in_these = parts.iter().filter(|part| part.has(block)).count();
            assert_eq!(in_these, 1, "block {block}");
        }
        let two = Shards::parse("1,3/3").unwrap();
        assert_eq!(
            [0, 1, 2, 3].map(|block| two.has(block)),
            [true, false, true, true]
        );
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/3", "1,/3", "1/3/3"] {
            assert!(Shards::parse(wrong).is_err(), "{wrong}");
        }
    }
}
