//! From recorded trials to figures: cells, their comparison within a campaign, and between two.
//!
//! Pure: the same records always give the same figures. Nothing in here knows a scenario; the only
//! mechanisms that it knows are those that others are compared with ([`REFERENCES`]).

mod cell;
mod compare;
mod diff;
mod scale;

use std::collections::BTreeMap;

use harness_record::Plane;

use crate::store::{Dataset, Store};
use crate::summary::{self, Source, Summary};

pub(crate) use cell::latency;
pub use cell::{Cell, LATE_NS};
pub use compare::Comparison;
use compare::Draws;
pub use diff::{Change, Diff, THRESHOLD};

/// What a row is compared with: the first of these that was right (left nothing alive) in at least
/// half of its trials at the same point.
pub const REFERENCES: [(Plane, &[&str]); 2] = [
    (
        Plane::Detect,
        &["waitpid-main", "subreaper", "cgroup-events-poll"],
    ),
    (Plane::Kill, &["cgroup-kill", "freeze-kill"]),
];

/// The analysis of all recorded campaigns.
#[derive(Debug)]
pub struct Analysis<'s> {
    /// One for each dataset, in their order.
    pub campaigns: Vec<Campaign<'s>>,
    /// Campaigns that were run twice: `NAME` and `NAME-again`.
    pub diffs: Vec<Diff>,
}

/// The analysis of one campaign.
#[derive(Debug)]
pub struct Campaign<'s> {
    /// The records.
    pub dataset: &'s Dataset,
    /// Its rows, sorted: plane, label, median.
    pub cells: Vec<Cell<'s>>,
    /// Identical rows, compared.
    pub twins: Vec<Comparison>,
    /// Many sites at once.
    pub scale: Vec<summary::Scale>,
}

impl<'s> Analysis<'s> {
    /// Of everything in a store.
    pub fn of(store: &'s Store) -> Self {
        let campaigns: Vec<Campaign<'s>> = store.datasets.iter().map(Campaign::of).collect();
        let again = |first: &Campaign<'_>| {
            let name = format!("{}-again", first.dataset.name);
            let second = campaigns.iter().find(|c| c.dataset.name == name)?;
            Some(Diff::of(first, second))
        };
        let diffs = campaigns.iter().filter_map(again).collect();
        Self { campaigns, diffs }
    }

    /// A campaign by the name of its dataset.
    pub fn campaign(&self, name: &str) -> Option<&Campaign<'s>> {
        self.campaigns.iter().find(|c| c.dataset.name == name)
    }

    /// The machine-readable digest.
    pub fn summary(&self, command: &str) -> Summary {
        let native = || {
            self.campaigns
                .iter()
                .filter(|c| !c.dataset.machine.emulated)
        };
        Summary {
            schema: summary::SCHEMA,
            command: command.to_owned(),
            datasets: native().map(Campaign::source).collect(),
            rows: native()
                .flat_map(|c| c.cells.iter().map(|cell| cell.row.clone()))
                .collect(),
            scale: native().flat_map(|c| c.scale.clone()).collect(),
        }
    }
}

impl<'s> Campaign<'s> {
    /// Of one dataset.
    pub fn of(dataset: &'s Dataset) -> Self {
        Self::with_salt(dataset, "")
    }

    /// The same with other random draws. The words must not depend on them.
    pub fn with_salt(dataset: &'s Dataset, salt: &str) -> Self {
        let mut cells = Cell::all(dataset);
        let mut draws = Draws::new(dataset, &cells, salt);
        // By the first of each kind; its twins get the same.
        let mut compared: BTreeMap<usize, Comparison> = BTreeMap::new();
        for (at, cell) in cells.iter().enumerate() {
            let pool = compare::pool(&cells, cell);
            if pool[0] != at {
                continue;
            }
            let Some(reference) = reference(&cells, cell) else {
                continue;
            };
            let rows = |pool: Vec<usize>| pool.into_iter().map(|at| &cells[at]).collect::<Vec<_>>();
            let theirs = rows(compare::pool(&cells, reference));
            if let Some(mut comparison) = Comparison::of(&rows(pool), &theirs, &mut draws) {
                comparison.with = reference.name();
                compared.insert(at, comparison);
            }
        }
        for plane in [Plane::Detect, Plane::Kill] {
            let of_plane = compared
                .iter_mut()
                .filter(|(at, _)| cells[**at].row.plane == plane);
            compare::judge(of_plane.map(|(_, comparison)| comparison));
        }
        for (first, comparison) in &compared {
            for at in compare::pool(&cells, &cells[*first]) {
                cells[at].compared_with(comparison);
            }
        }
        let twins = compare::twins(&cells, &mut draws);
        Self {
            dataset,
            cells,
            twins,
            scale: scale::medians(dataset),
        }
    }

    /// The cells of one plane.
    pub fn plane(&self, plane: Plane) -> impl Iterator<Item = &Cell<'s>> {
        self.cells
            .iter()
            .filter(move |cell| cell.row.plane == plane)
    }

    fn source(&self) -> Source {
        let (dataset, machine) = (self.dataset, &self.dataset.machine);
        Source {
            name: dataset.name.clone(),
            runs: dataset.runs.clone(),
            command: dataset.plan.command(),
            kernel: machine.kernel.clone(),
            hz: machine.hz,
            cpu: machine.cpu.clone(),
            cpus: machine.cpus,
            trials: dataset.trials.len(),
            noise_permille: dataset.noise_permille(),
            loaded: dataset.is_loaded(),
        }
    }
}

/// The row that `cell` is compared with, unless it is that itself.
fn reference<'c, 's>(cells: &'c [Cell<'s>], cell: &Cell<'s>) -> Option<&'c Cell<'s>> {
    let (_, names) = REFERENCES
        .iter()
        .find(|(plane, _)| *plane == cell.row.plane)?;
    let fit = |other: &&Cell<'s>, name: &str| {
        other.mechanism() == name
            && other.row.twin == 0
            && other.same_point(cell)
            && other.good() * 2 >= other.row.n
    };
    let found = names
        .iter()
        .find_map(|name| cells.iter().find(|other| fit(other, name)))?;
    (found.mechanism() != cell.mechanism()).then_some(found)
}
