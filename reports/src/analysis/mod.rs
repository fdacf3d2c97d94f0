//! From recorded trials to figures: cells, their comparison within a campaign, and between two.
//!
//! Pure: the same records give the same figures, whoever computes them. Nothing in here knows a scenario; of mechanisms it knows those that
//! others are compared with ([`REFERENCES`]).

mod cell;
mod compare;
mod diff;
mod scale;

use harness_record::Plane;

use crate::stats::holm;
use crate::store::{Dataset, Store};
use crate::summary::{self, Source, Summary};

pub use cell::Cell;
pub(crate) use cell::latency;
pub use compare::Comparison;
pub use diff::{Change, Diff, THRESHOLD};

/// What a row is compared with: the first of these that was right (left nothing alive) in at least half of its trials at the same point.
pub const REFERENCES: [(Plane, &[&str]); 2] = [
    (Plane::Detect, &["waitpid-main", "subreaper", "cgroup-events-poll"]),
    (Plane::Kill, &["cgroup-kill", "freeze-kill"]),
];

/// Everything that is said of all recorded campaigns.
#[derive(Debug)]
pub struct Analysis<'s> {
    /// One for each dataset, in their order.
    pub campaigns: Vec<Campaign<'s>>,
    /// Campaigns that were run twice: `NAME` and `NAME-again`.
    pub diffs: Vec<Diff>,
}

/// What is said of one campaign.
#[derive(Debug)]
pub struct Campaign<'s> {
    /// The records.
    pub dataset: &'s Dataset,
    /// Its rows, sorted: plane, label, median.
    pub cells: Vec<Cell<'s>>,
    /// Rows that are alike in everything, compared.
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
        let native = || self.campaigns.iter().filter(|c| !c.dataset.machine.emulated);
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
        let mut cells = Cell::all(dataset);
        let blocks = cells.iter().map(Cell::blocks).max().unwrap_or(0);
        let resampling = compare::resampling(dataset, blocks);
        let compared: Vec<Option<Comparison>> = cells
            .iter()
            .map(|cell| {
                let reference = reference(&cells, cell)?;
                Comparison::of(cell, reference, &resampling)
            })
            .collect();
        for plane in [Plane::Detect, Plane::Kill] {
            let asked: Vec<usize> = (0..cells.len())
                .filter(|at| cells[*at].row.plane == plane && compared[*at].is_some())
                .collect();
            let p_values: Vec<f64> = asked.iter().filter_map(|at| Some(compared[*at].as_ref()?.p)).collect();
            for (at, p) in asked.iter().zip(holm(&p_values)) {
                if let Some(comparison) = &compared[*at] {
                    cells[*at].compared_with(comparison, p);
                }
            }
        }
        let twins = compare::twins(&cells, &resampling);
        Self {
            dataset,
            cells,
            twins,
            scale: scale::medians(dataset),
        }
    }

    /// The cells of one plane.
    pub fn plane(&self, plane: Plane) -> impl Iterator<Item = &Cell<'s>> {
        self.cells.iter().filter(move |cell| cell.row.plane == plane)
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
        }
    }
}

/// The row that `cell` is compared with, unless it is that itself.
fn reference<'c, 's>(cells: &'c [Cell<'s>], cell: &Cell<'s>) -> Option<&'c Cell<'s>> {
    let (_, names) = REFERENCES.iter().find(|(plane, _)| *plane == cell.row.plane)?;
    let fit = |other: &&Cell<'s>, name: &str| {
        other.mechanism() == name && other.row.twin == 0 && other.same_point(cell) && other.good() * 2 >= other.row.n
    };
    let found = names
        .iter()
        .find_map(|name| cells.iter().find(|other| fit(other, name)))?;
    (found.mechanism() != cell.mechanism()).then_some(found)
}
