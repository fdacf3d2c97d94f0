//! How each mechanism did on each scenario, and which bystanders it hit.

use std::collections::{BTreeMap, BTreeSet};

use harness_record::Plane;

use super::text;
use crate::analysis::Campaign;

/// Detector (strategy) by scenario: the worst that was seen at any point.
pub fn table(campaign: &Campaign<'_>, plane: Plane) -> String {
    let mut scenarios: Vec<&str> = campaign
        .plane(plane)
        .map(|c| c.row.scenario.as_str())
        .collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    let mut grid: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (mechanism, scenario, verdict) in worst(campaign, plane) {
        grid.entry(mechanism)
            .or_default()
            .insert(scenario, verdict.in_words());
    }
    let mut head = vec![match plane {
        Plane::Detect => "detector",
        Plane::Kill => "strategy",
    }];
    head.extend(&scenarios);
    let lines: Vec<Vec<String>> = grid
        .into_iter()
        .map(|(mechanism, by_scenario)| {
            let mut line = vec![format!("`{mechanism}`")];
            line.extend(scenarios.iter().map(|s| {
                by_scenario
                    .get(s)
                    .cloned()
                    .unwrap_or_else(|| "-".to_owned())
            }));
            line
        })
        .collect();
    text::table(&head, &lines)
}

/// How a mechanism did on a scenario, summed over its points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trials.
    pub n: usize,
    /// Right, or nothing left alive.
    pub good: usize,
    /// Early, or something left alive.
    pub wrong: usize,
    /// Missed.
    pub missed: usize,
    /// Trials that broke, which are not among `n`.
    pub broken: usize,
}

impl Tally {
    /// For a table.
    pub fn in_words(self) -> String {
        let Self {
            n,
            good,
            wrong,
            missed,
            broken,
        } = self;
        let mut words = format!("{good}/{n}");
        let other = n - good - wrong - missed;
        for (count, what) in [(wrong, "wrong"), (missed, "missed"), (other, "no answer")] {
            if count > 0 {
                words.push_str(&format!(", {what} {count}"));
            }
        }
        if broken > 0 {
            words.push_str(&format!(" ({broken} broke)"));
        }
        words
    }
}

/// Mechanism, scenario and verdict, sorted.
pub fn worst<'c>(campaign: &'c Campaign<'_>, plane: Plane) -> Vec<(&'c str, &'c str, Tally)> {
    let mut grid: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    for cell in campaign.plane(plane) {
        let verdict = grid
            .entry((cell.mechanism(), cell.row.scenario.as_str()))
            .or_default();
        verdict.n += cell.row.n;
        verdict.good += cell.good();
        verdict.wrong += cell.row.early + cell.row.survived;
        verdict.missed += cell.row.missed;
        verdict.broken += cell.row.broken;
    }
    grid.into_iter().map(|((m, s), v)| (m, s, v)).collect()
}

/// Each strategy over all scenarios: in how many trials nothing was left alive, and which
/// bystanders were hit. Twins are left out.
pub fn bystanders(campaign: &Campaign<'_>) -> String {
    let mut strategies: BTreeMap<String, (usize, usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for cell in campaign
        .plane(Plane::Kill)
        .filter(|cell| cell.row.twin == 0)
    {
        let (emptied, n, hit) = strategies.entry(cell.name()).or_default();
        *emptied += cell.row.emptied;
        *n += cell.row.n;
        for (kind, trials) in &cell.row.canaries_hit {
            *hit.entry(kind).or_default() += trials;
        }
    }
    let kinds: BTreeSet<&str> = strategies
        .values()
        .flat_map(|(_, _, hit)| hit.keys().copied())
        .collect();
    let hits: Vec<String> = kinds.iter().map(|kind| format!("hit: {kind}")).collect();
    let mut head = vec!["strategy", "nothing left alive"];
    head.extend(hits.iter().map(String::as_str));
    let lines: Vec<Vec<String>> = strategies
        .iter()
        .map(|(strategy, (emptied, n, hit))| {
            let mut line = vec![format!("`{strategy}`"), text::count(*emptied, *n)];
            line.extend(
                kinds
                    .iter()
                    .map(|kind| text::count(hit.get(kind).copied().unwrap_or(0), *n)),
            );
            line
        })
        .collect();
    text::table(&head, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_is_no_failure() {
        let tally = Tally {
            n: 154,
            good: 154,
            broken: 1,
            ..Tally::default()
        };
        assert_eq!(tally.in_words(), "154/154 (1 broke)");
        let missed = Tally {
            n: 155,
            good: 10,
            missed: 140,
            ..Tally::default()
        };
        assert_eq!(missed.in_words(), "10/155, missed 140, no answer 5");
    }
}
