//! What it costs to watch many sites at once.

use std::collections::BTreeMap;

use crate::stats::Sample;
use crate::store::Dataset;
use crate::summary::Scale;

/// Medians for each mechanism and number of sites, sorted.
pub(super) fn medians(dataset: &Dataset) -> Vec<Scale> {
    let mut groups: BTreeMap<(&str, u64), Vec<&BTreeMap<String, u64>>> = BTreeMap::new();
    for cost in &dataset.sites {
        groups
            .entry((cost.mechanism.as_str(), cost.sites))
            .or_default()
            .push(&cost.figures);
    }
    groups
        .into_iter()
        .map(|((mechanism, sites), all)| {
            let mut values: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for (name, value) in all.iter().flat_map(|figures| figures.iter()) {
                values.entry(name.clone()).or_default().push(*value);
            }
            Scale {
                dataset: dataset.name.clone(),
                mechanism: mechanism.to_owned(),
                sites,
                n: all.len(),
                medians: values
                    .into_iter()
                    .filter_map(|(name, values)| Some((name, Sample::new(values).median()?)))
                    .collect(),
            }
        })
        .collect()
}
