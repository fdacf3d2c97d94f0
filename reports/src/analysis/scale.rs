//! What it costs to watch many sites at once.

use std::collections::BTreeMap;

use crate::stats::Sample;
use crate::store::{Dataset, SiteCost};
use crate::summary::Scale;

/// Medians for each mechanism, number of sites and number of populated sites, sorted.
pub(super) fn medians(dataset: &Dataset) -> Vec<Scale> {
    let mut groups: BTreeMap<(&str, u64, Option<u64>), Vec<&SiteCost>> = BTreeMap::new();
    for cost in &dataset.sites {
        let key = (cost.mechanism.as_str(), cost.sites, cost.populated);
        groups.entry(key).or_default().push(cost);
    }
    groups
        .into_iter()
        .map(|((mechanism, sites, populated), all)| {
            let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            for (name, value) in all
                .iter()
                .filter(|cost| cost.right)
                .flat_map(|cost| &cost.figures)
            {
                values.entry(name).or_default().push(*value);
            }
            Scale {
                dataset: dataset.name.clone(),
                mechanism: mechanism.to_owned(),
                sites,
                populated,
                n: all.len(),
                right: all.iter().filter(|cost| cost.right).count(),
                medians: values
                    .into_iter()
                    .filter_map(|(name, values)| {
                        Some((name.to_owned(), Sample::new(values).median()?))
                    })
                    .collect(),
            }
        })
        .collect()
}
