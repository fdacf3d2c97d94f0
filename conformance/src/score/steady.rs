//! One launcher scored several times: which verdicts are always the same, and which are a race.

use std::collections::BTreeMap;

use super::{Score, Verdict};

/// One promise at one level, over all rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The promise.
    pub promise: String,
    /// The level.
    pub level: u8,
    /// How often which verdict was given, by its word.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Trials that kept it, in each part of the rounds.
    pub kept: Vec<usize>,
    /// Trials that say something.
    pub judged: Vec<usize>,
    /// Trials that say nothing.
    pub unknown: usize,
}

/// What all rounds say of one promise at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steady {
    /// The same in all trials of all rounds.
    Same,
    /// Kept in some trials and not in others: a race, which has a rate and no verdict.
    Race,
    /// Something could not be seen.
    Unknown,
    /// It was not played in every round.
    Missing,
}

impl Row {
    /// Of which kind it is; `rounds` is how often the launcher was scored.
    pub fn steady(&self, rounds: usize) -> Steady {
        let (kept, judged): (usize, usize) = (self.kept.iter().sum(), self.judged.iter().sum());
        match (self.verdicts.values().sum::<usize>(), self.unknown) {
            (seen, _) if seen != rounds => Steady::Missing,
            (_, 1..) => Steady::Unknown,
            _ if kept == 0 || kept == judged => Steady::Same,
            _ => Steady::Race,
        }
    }

    /// Whether something that is claimed was kept in one round and not in another, or is not known.
    pub fn is_bad(&self, rounds: usize) -> bool {
        let claimed = [Verdict::Kept, Verdict::Broken, Verdict::Unknown];
        let claimed = claimed.map(Verdict::word);
        let its: Vec<_> = self.verdicts.keys().collect();
        let is_claimed = its.iter().any(|word| claimed.contains(word));
        is_claimed && (its.len() > 1 || self.steady(rounds) == Steady::Unknown)
            || self.steady(rounds) == Steady::Missing
    }
}

/// All promises and levels of `parts`, each of which is some rounds of the same launcher.
pub fn rows(parts: &[Vec<Score>]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (part, scores) in parts.iter().enumerate() {
        for cell in scores.iter().flat_map(|score| &score.cells) {
            let is = |row: &Row| row.promise == cell.promise && row.level == cell.level;
            let at = rows.iter().position(is).unwrap_or_else(|| {
                rows.push(Row {
                    promise: cell.promise.clone(),
                    level: cell.level,
                    verdicts: BTreeMap::new(),
                    kept: vec![0; parts.len()],
                    judged: vec![0; parts.len()],
                    unknown: 0,
                });
                rows.len() - 1
            });
            let Some(row) = rows.get_mut(at) else {
                continue;
            };
            *row.verdicts.entry(cell.verdict.word()).or_default() += 1;
            row.unknown += cell.unknown;
            let kept = row.kept.get_mut(part).into_iter();
            kept.for_each(|kept| *kept += cell.kept);
            let judged = row.judged.get_mut(part).into_iter();
            judged.for_each(|judged| *judged += cell.judged());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::Cell;
    use super::*;

    fn score(verdict: Verdict, kept: usize, broken: usize, unknown: usize) -> Score {
        let cell = Cell {
            promise: "kill".to_owned(),
            level: 0,
            verdict,
            kept,
            broken,
            unknown,
            why: None,
            again: None,
        };
        Score {
            launcher: "x".to_owned(),
            about: String::new(),
            says: String::new(),
            version: String::new(),
            load: String::new(),
            took_ms: None,
            skipped: None,
            unusable: None,
            cells: vec![cell],
            trials: Vec::new(),
        }
    }

    #[test]
    fn rounds_are_the_same_a_race_or_not_known() {
        use Verdict::{Broken, Kept, NotClaimed, Unknown};
        for (a, b, steady, bad) in [
            ((Kept, 3, 0, 0), (Kept, 3, 0, 0), Steady::Same, false),
            ((Broken, 0, 3, 0), (Broken, 0, 3, 0), Steady::Same, false),
            ((Broken, 2, 1, 0), (Broken, 1, 2, 0), Steady::Race, false),
            ((Kept, 3, 0, 0), (Broken, 2, 1, 0), Steady::Race, true),
            ((Kept, 3, 0, 0), (Unknown, 2, 0, 1), Steady::Unknown, true),
            (
                (NotClaimed, 3, 0, 0),
                (NotClaimed, 0, 3, 0),
                Steady::Race,
                false,
            ),
        ] {
            let of = |(verdict, kept, broken, unknown)| score(verdict, kept, broken, unknown);
            let rows = rows(&[vec![of(a)], vec![of(b)]]);
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].steady(2), steady, "{rows:?}");
            assert_eq!(rows[0].is_bad(2), bad, "{rows:?}");
        }
    }

    #[test]
    fn a_promise_that_one_round_lacks_is_told() {
        let mut without = score(Verdict::Kept, 1, 0, 0);
        without.cells.clear();
        let rows = rows(&[vec![score(Verdict::Kept, 1, 0, 0), without]]);
        assert_eq!(rows[0].steady(2), Steady::Missing);
        assert!(rows[0].is_bad(2));
    }
}
