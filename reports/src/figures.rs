//! Figures by name, for prose: `report figures` lists them, and a marker in the findings names one.
//!
//! `<dataset>/<scenario:axis=value>/<mechanism>/<quantity>` is a number, with its interval where it
//! has one; names without a quantity are tables. What is not recorded has no figure; prose then
//! says "not recorded" in its place.

use std::collections::BTreeMap;

use harness_record::{Outcome, Plane, sees_the_cgroup};

use crate::analysis::{Analysis, Campaign, Cell};
use crate::answers;
use crate::emulated::{Emulated, Kernel};
use crate::render::plot::Plot;
use crate::render::{costs, diff, emulated, tables, text, verdicts};

/// A piece of a text that is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Figure {
    /// It is within a line.
    Inline(String),
    /// It is on lines of its own.
    Block(String),
}

/// All figures, sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, Figure>);

impl Figures {
    /// Everything that has a name.
    pub fn of(analysis: &Analysis<'_>, plots: &[Plot], emulated: &Emulated) -> Self {
        let mut all = Self::default();
        for campaign in &analysis.campaigns {
            all.campaign(campaign);
            let name = &campaign.dataset.name;
            let own: Vec<String> = plots
                .iter()
                .filter(|p| p.dataset == *name)
                .map(tables::plot)
                .collect();
            if !own.is_empty() {
                all.block(format!("{name}/plots"), own.join("\n"));
            }
        }
        for (how, drawn) in [("drawn", true), ("fixed", false)] {
            let names: Vec<String> = analysis
                .campaigns
                .iter()
                .filter(|c| !c.dataset.trials.is_empty() && c.dataset.plan.gap_is_drawn() == drawn)
                .map(|c| format!("`{}`", c.dataset.name))
                .collect();
            if !names.is_empty() {
                all.inline(format!("campaigns/gap-{how}"), names.join(", "));
            }
        }
        for diff in &analysis.diffs {
            all.block(format!("{}/diff", diff.before), diff::table(diff));
            all.inline(
                format!("{}/diff/verdict", diff.before),
                diff::in_words(diff),
            );
        }
        for plot in plots {
            let drawn = tables::plot(plot);
            let drawn = match analysis.campaign(&plot.dataset) {
                Some(campaign) => tables::with_noise(campaign, drawn),
                None => drawn,
            };
            all.block(format!("{}/plot/{}", plot.dataset, plot.slug), drawn);
        }
        for (name, answer) in answers::all(analysis) {
            all.inline(format!("answers/{name}"), answer.sentence());
        }
        all.emulated(emulated);
        all
    }

    /// A figure by its name.
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Figure)> {
        self.0.iter().map(|(name, figure)| (name.as_str(), figure))
    }

    fn inline(&mut self, name: String, text: String) {
        self.0.insert(name, Figure::Inline(text));
    }

    fn block(&mut self, name: String, text: String) {
        self.0.insert(name, Figure::Block(text));
    }

    fn campaign(&mut self, campaign: &Campaign<'_>) {
        let (dataset, name) = (campaign.dataset, &campaign.dataset.name);
        self.block(format!("{name}/facts"), tables::facts(campaign));
        self.inline(
            format!("{name}/command"),
            format!("`{}`", dataset.plan.command()),
        );
        self.inline(format!("{name}/machine"), dataset.machine.in_words());
        self.inline(format!("{name}/trials"), dataset.trials.len().to_string());
        self.inline(
            format!("{name}/trials-per-row"),
            dataset.plan.trials_per_row.to_string(),
        );
        if let Some(permille) = dataset.noise_permille() {
            self.inline(
                format!("{name}/noise"),
                text::percent(f64::from(permille) / 1_000.0),
            );
        }
        if !dataset.trials.is_empty() {
            let held = campaign.cells.iter().map(|c| c.row.held).sum();
            let n = campaign.cells.iter().map(|c| c.row.n).sum();
            self.inline(format!("{name}/held"), text::count(held, n));
            let broken = campaign.cells.iter().map(|c| c.row.broken).sum::<usize>();
            self.inline(format!("{name}/broken"), broken.to_string());
        }
        for (plane, rows, grid) in [
            (Plane::Detect, "detectors", "verdicts"),
            (Plane::Kill, "strategies", "emptied"),
        ] {
            let mut labels: Vec<&str> = campaign
                .plane(plane)
                .map(|c| c.row.label.as_str())
                .collect();
            labels.dedup();
            if !labels.is_empty() {
                let noisy = |table| tables::with_noise(campaign, table);
                self.block(
                    format!("{name}/{rows}"),
                    noisy(tables::rows(campaign, plane, None)),
                );
                self.block(
                    format!("{name}/{grid}"),
                    noisy(verdicts::table(campaign, plane)),
                );
            }
            for label in labels {
                let ranking = tables::with_noise(campaign, tables::ranking(campaign, plane, label));
                self.block(format!("{name}/{}/ranking", point(label)), ranking);
                let table =
                    tables::with_noise(campaign, tables::rows(campaign, plane, Some(label)));
                self.block(format!("{name}/{}/{rows}", point(label)), table);
            }
        }
        if campaign.plane(Plane::Kill).next().is_some() {
            self.block(format!("{name}/bystanders"), verdicts::bystanders(campaign));
        }
        if campaign.plane(Plane::Detect).next().is_some() {
            let of_cgroup = || {
                campaign
                    .plane(Plane::Detect)
                    .filter(|cell| sees_the_cgroup(cell.mechanism()))
            };
            let early = of_cgroup().map(|cell| cell.row.early).sum();
            let said = of_cgroup()
                .flat_map(|cell| &cell.trials)
                .filter(|trial| trial.outcome != Outcome::Broken);
            let trials = said.count();
            self.inline(
                format!("{name}/scope:cgroup/early"),
                text::count(early, trials),
            );
        }
        if !campaign.twins.is_empty() {
            self.block(format!("{name}/twins"), tables::twins(&campaign.twins));
            self.inline(
                format!("{name}/twins/verdict"),
                tables::twins_in_words(campaign),
            );
        }
        for cell in &campaign.cells {
            self.cell(name, cell);
            if let Some(range) = later_range(campaign, cell) {
                let id = format!(
                    "{name}/{}/{}/later-range",
                    point(&cell.row.label),
                    point(&cell.name())
                );
                self.inline(id, range);
            }
        }
        let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for cell in campaign.cells.iter().filter(|cell| cell.row.twin == 0) {
            ratios
                .entry(cell.name())
                .or_default()
                .extend(cell.row.ratio);
        }
        for (mechanism, mut ratios) in ratios {
            ratios.sort_unstable_by(f64::total_cmp);
            if let [least, .., most] = ratios[..] {
                let range = format!("{} to {}", text::times(least), text::times(most));
                self.inline(format!("{name}/{}/ratio-range", point(&mechanism)), range);
            }
        }
        for (id, table) in [
            ("idle", costs::idle(campaign)),
            ("stages", costs::stages(campaign)),
        ] {
            if let Some(table) = table {
                self.block(format!("{name}/{id}"), table);
            }
        }
        if !campaign.scale.is_empty() {
            self.block(format!("{name}/sites"), costs::scale(&campaign.scale));
        }
        for row in &campaign.scale {
            for (quantity, value) in &row.medians {
                let populated = row
                    .populated
                    .map_or_else(String::new, |n| format!(":populated={n}"));
                let what = quantity.trim_end_matches("_ns");
                let id = format!(
                    "{name}/sites={}{populated}/{}/{what}",
                    row.sites, row.mechanism
                );
                self.inline(id, costs::quantity(quantity, Some(*value)));
                if let Some(times) = costs::growth(&campaign.scale, row, quantity) {
                    let id = format!(
                        "{name}/sites={}{populated}/{}/{what}-growth",
                        row.sites, row.mechanism
                    );
                    self.inline(id, text::times(times));
                }
            }
        }
    }

    fn cell(&mut self, dataset: &str, cell: &Cell<'_>) {
        let row = &cell.row;
        let twin = if row.twin == 0 {
            String::new()
        } else {
            format!("~{}", row.twin)
        };
        let mechanism = format!("{}{}", cell.mechanism(), cell.variant);
        let base = format!(
            "{dataset}/{}/{}{twin}",
            point(&row.label),
            point(&mechanism)
        );
        let mut put =
            |quantity: &str, text: String| self.inline(format!("{base}/{quantity}"), text);
        for (quantity, permille) in [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)] {
            if let Some(found) = cell.latency.quantile(permille) {
                put(quantity, text::bound(found.at));
                put(&format!("{quantity}-ci"), text::quantile(Some(found)));
            }
        }
        put("max", text::bound(cell.latency.max()));
        put("n", row.n.to_string());
        put("broken", row.broken.to_string());
        put("outliers", row.outliers.to_string());
        let counts = match row.plane {
            Plane::Detect => [
                ("right", row.right),
                ("early", row.early),
                ("missed", row.missed),
            ],
            Plane::Kill => [
                ("emptied", row.emptied),
                ("survived", row.survived),
                ("survivors", row.survivors_max),
            ],
        };
        for (quantity, count) in counts {
            match quantity {
                "survivors" => put(quantity, count.to_string()),
                _ => put(quantity, text::count(count, row.n)),
            }
        }
        if let (Some(reference), Some(p)) = (&row.reference, row.p_holm) {
            put("ratio", text::ratio(row.ratio, [None, None]));
            put("ratio-ci", text::ratio(row.ratio, row.ratio_ci));
            put("reference", format!("`{reference}`"));
            put("against", text::word(row.word).to_owned());
            put(
                "later",
                row.difference_ns
                    .map_or_else(|| "never".to_owned(), text::milliseconds),
            );
            put(
                "later-ci",
                text::difference(row.difference_ns, row.difference_ci),
            );
            put("p", text::p(p));
        }
        let times = [
            ("launch", row.launch_ns),
            ("cpu", row.cpu_ns),
            ("idle", row.idle_cpu_ns),
            ("paid", row.prepare_ns),
            ("holding", row.holding_ns),
            ("dying", row.dying_ns),
            ("held", row.held_ns),
        ];
        for (quantity, value) in times {
            if let Some(value) = value {
                put(quantity, text::ns(value));
            }
        }
        for (detector, knowing) in &row.knowing {
            put(&format!("late-{detector}"), text::late(knowing));
        }
        for (quantity, value) in [("wakeups", row.wakeups), ("signals", row.signals)] {
            if let Some(value) = value {
                put(quantity, value.to_string());
            }
        }
    }

    fn emulated(&mut self, all: &Emulated) {
        if !all.kernels.is_empty() {
            self.block("emulated/latencies".to_owned(), emulated::latencies(all));
            self.block("emulated/counts".to_owned(), emulated::counts(all));
            self.inline("emulated/kernels".to_owned(), all.kernels.len().to_string());
            let mut cases: Vec<(&str, &str)> = all
                .kernels
                .iter()
                .flat_map(Kernel::latencies)
                .map(|(m, p, _)| (m, p))
                .collect();
            cases.sort_unstable();
            cases.dedup();
            for (mechanism, job) in cases {
                if let Some(range) = emulated::range(all, mechanism, job) {
                    self.inline(format!("emulated/all/{job}/{mechanism}/later-range"), range);
                }
            }
        }
        if !all.series.is_empty() {
            self.block("emulated/series".to_owned(), emulated::series(all));
        }
        for boot in &all.series {
            for (job, detector) in boot.latencies.keys() {
                if let Some(later) = emulated::series_difference(boot, job, detector) {
                    let id = format!("emulated/{}/{}/{detector}/later-ci", boot.name, point(job));
                    self.inline(id, emulated::words(Some(later)));
                }
            }
            for ((jobs, detector), (n, lost)) in &boot.removals {
                let id = format!(
                    "emulated/{}/{}/{detector}/never-woken",
                    boot.name,
                    point(jobs)
                );
                self.inline(id, text::count(*lost, *n));
            }
        }
        for kernel in &all.kernels {
            for answer in &kernel.answers {
                for (what, count) in &answer.counts {
                    let id =
                        [&kernel.kernel, &answer.probe, &answer.case, what].map(|word| point(word));
                    let tries = usize::try_from(answer.tries).unwrap_or(usize::MAX);
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    // The answers to some questions count something other than tries.
                    let words = match answer.counts.values().sum::<u64>() == answer.tries {
                        true => text::count(count, tries),
                        false => count.to_string(),
                    };
                    self.inline(format!("emulated/{}", id.join("/")), words);
                }
            }
        }
    }
}

/// By how much later than its reference a row is in the middle 80 % of its trials: `12 to 18 ms`.
/// Only where that is a millisecond or more.
fn later_range(campaign: &Campaign<'_>, cell: &Cell<'_>) -> Option<String> {
    let reference = cell.row.reference.as_ref()?;
    let mut others = campaign.cells.iter();
    let with = others.find(|other| other.name() == *reference && other.same_point(cell))?;
    let median = with.median().value()?;
    let later = |permille| {
        let ns = cell
            .latency
            .quantile(permille)?
            .at
            .value()?
            .checked_sub(median)?;
        Some((ns + 500_000) / 1_000_000).filter(|ms| *ms > 0)
    };
    Some(format!("{} to {} ms", later(100)?, later(900)?))
}

/// A label as part of a name: no blanks.
fn point(label: &str) -> String {
    label.replace([' ', ','], ":").replace("::", ":")
}
