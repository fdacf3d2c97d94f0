//! `scenario list`: the scenarios and mechanisms to choose from, made from the same facts that the
//! trials use.

use allgone::Effects;
use harness::detect::DETECTORS;
use harness::expect::Plane;
use harness::kill::STRATEGIES;
use harness::param::{Axis, InPlane};
use serde::Serialize;

use super::args::{ListArgs, ListFormat};
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::{soundness, table};
use crate::SCENARIOS;

#[derive(Debug, Serialize)]
struct Catalogue {
    scenarios: Vec<Entry>,
    detectors: Vec<Entry>,
    strategies: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    id: &'static str,
    summary: &'static str,
    /// Planes of a scenario; scope of a detector; scope and sweep of a strategy.
    kind: String,
    since: Option<String>,
    privilege: Option<&'static str>,
    /// What a mechanism changes in the process that uses it, and holds there.
    effects: Option<Effects>,
    axes: Vec<AxisEntry>,
}

#[derive(Debug, Serialize)]
struct AxisEntry {
    name: &'static str,
    default: String,
    default_when_killed: String,
    doc: &'static str,
}

/// Prints the catalogue.
pub(super) fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let catalogue = catalogue();
    let text = match args.format {
        ListFormat::Json => {
            let mut text = serde_json::to_string_pretty(&catalogue).map_err(anyhow::Error::from)?;
            text.push('\n');
            text
        }
        ListFormat::Table => text(&catalogue),
        ListFormat::Markdown => soundness::page(),
    };
    print(&text)?;
    Ok(Exit::Held)
}

fn catalogue() -> Catalogue {
    let axes = |axes: &'static [Axis]| axes.iter().map(AxisEntry::new).collect();
    Catalogue {
        scenarios: SCENARIOS
            .iter()
            .map(|s| Entry {
                id: s.spec().id,
                summary: s.spec().summary,
                kind: planes(s.spec().planes).to_owned(),
                since: None,
                privilege: None,
                effects: None,
                axes: axes(s.spec().axes),
            })
            .collect(),
        detectors: DETECTORS
            .iter()
            .map(|d| Entry {
                id: d.spec().id,
                summary: d.spec().summary,
                kind: kebab(&d.spec().scope),
                since: Some(d.spec().since.to_string()),
                privilege: Some(d.spec().privilege),
                effects: Some(d.spec().effects),
                axes: axes(d.spec().axes),
            })
            .collect(),
        strategies: STRATEGIES
            .iter()
            .map(|s| Entry {
                id: s.spec().id,
                summary: s.spec().summary,
                kind: format!(
                    "{}, {}",
                    kebab(&s.spec().reach.scope),
                    kebab(&s.spec().reach.sweep)
                ),
                since: Some(s.spec().since.to_string()),
                privilege: Some(s.spec().privilege),
                effects: Some(s.spec().effects),
                axes: axes(s.spec().axes),
            })
            .collect(),
    }
}

fn planes(planes: &[Plane]) -> &'static str {
    match (
        planes.contains(&Plane::Detect),
        planes.contains(&Plane::Kill),
    ) {
        (true, true) => "ends by itself, or is killed",
        (true, false) => "ends by itself",
        (false, _) => "never ends: is killed",
    }
}

/// The spelling of records.
pub(super) fn kebab(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => "?".to_owned(),
    }
}

impl AxisEntry {
    fn new(axis: &Axis) -> Self {
        Self {
            name: axis.name,
            default: axis.format(axis.default_in(Plane::Detect)),
            default_when_killed: axis.format(axis.default_in(Plane::Kill)),
            doc: axis.doc,
        }
    }

    fn text(&self) -> String {
        if self.default == self.default_when_killed {
            format!("{}={}", self.name, self.default)
        } else {
            format!(
                "{}={} (killed: {})",
                self.name, self.default, self.default_when_killed
            )
        }
    }
}

fn text(catalogue: &Catalogue) -> String {
    let mut text = String::new();
    for (title, second, entries) in [
        ("scenario", "life", &catalogue.scenarios),
        ("detector", "sees", &catalogue.detectors),
        ("strategy", "reaches", &catalogue.strategies),
    ] {
        let mut table = table::plain(&[title, second, "changes", "axes", "what it does"]);
        for entry in entries {
            let axes: Vec<String> = entry.axes.iter().map(AxisEntry::text).collect();
            let changes = entry.effects.as_ref().map(ToString::to_string);
            table.add_row([
                entry.id,
                &entry.kind,
                changes.as_deref().unwrap_or_default(),
                &axes.join(", "),
                entry.summary,
            ]);
        }
        text.push_str(&table.trim_fmt());
        text.push_str("\n\n");
    }
    let mut axes: Vec<&AxisEntry> = [
        &catalogue.scenarios,
        &catalogue.detectors,
        &catalogue.strategies,
    ]
    .into_iter()
    .flatten()
    .flat_map(|e| &e.axes)
    .collect();
    axes.sort_by_key(|axis| (axis.name, axis.doc));
    axes.dedup_by_key(|axis| (axis.name, axis.doc));
    text.push_str("Axes (--set axis=value):\n");
    for axis in axes {
        text.push_str(&format!("  {}: {}\n", axis.name, axis.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_registered_is_listed() {
        let text = text(&catalogue());
        let ids = SCENARIOS.iter().map(|s| s.spec().id);
        let ids = ids
            .chain(DETECTORS.iter().map(|d| d.spec().id))
            .chain(STRATEGIES.iter().map(|s| s.spec().id));
        let line_of = |id| text.lines().find(|line| line.trim_start().starts_with(id));
        for id in ids {
            assert!(line_of(id).is_some(), "{id}");
        }
        let reaps = line_of("subreaper").unwrap_or_default();
        assert!(reaps.contains("reaps every child"), "{reaps}");
    }
}
