//! What has been played, by tier and user; and a file of it, from which a later call goes on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Mutex, OnceLock};

use serde::{Deserialize, Serialize};

use crate::tools;

/// What became of runs of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) runs: u32,
    /// Those with an expectation of their own.
    pub(crate) exceptions: u32,
    /// Runs that left a process alive that was not expected to be.
    pub(crate) survivors: u32,
    /// Runs that left cgroups, files or mounts.
    pub(crate) residue: u32,
    /// Runs with another answer than the expected one.
    pub(crate) otherwise: u32,
    /// Runs whose launcher was killed and that took more than a second to end then.
    #[serde(default)]
    pub(crate) late: u32,
    /// Processes that were left, where that is counted.
    pub(crate) processes: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.exceptions += other.exceptions;
        self.survivors += other.survivors;
        self.residue += other.residue;
        self.otherwise += other.otherwise;
        self.late += other.late;
        self.processes += other.processes;
    }
}

/// Of one cell, by what it is counted under.
pub(crate) type Tally = BTreeMap<String, Counts>;

/// A cell that has been played, as a line of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) cell: String,
    pub(crate) counts: Tally,
    /// What was not as expected.
    pub(crate) wrong: Vec<String>,
}

/// The first line of a record: what may go on with it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    runs: Option<u32>,
    kernel: String,
    /// Of the executables.
    build: u64,
}

static CELLS: Mutex<Vec<Cell>> = Mutex::new(Vec::new());

/// A record that was asked for, and what stood in it.
#[derive(Debug)]
struct Record {
    file: File,
    found: BTreeMap<String, Cell>,
}

/// The record that `LAUNCHER_RECORD` names. Errors: it is another build's, or cannot be read.
fn record() -> Result<Option<&'static Record>, String> {
    static RECORD: OnceLock<Result<Option<Record>, String>> = OnceLock::new();
    let opened = RECORD.get_or_init(|| {
        let Some(path) = std::env::var_os("LAUNCHER_RECORD") else {
            return Ok(None);
        };
        let said = |e: &dyn std::fmt::Display| format!("could not use the record {path:?}: {e}");
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let mut file = file.map_err(|e| said(&e))?;
        let text = fs::read_to_string(&path).map_err(|e| said(&e))?;
        let head = head();
        let mut lines = text.lines();
        match lines.next() {
            None => {
                let line = serde_json::to_string(&head).map_err(|e| said(&e))?;
                writeln!(file, "{line}").map_err(|e| said(&e))?;
            }
            Some(line) => {
                let began: Head = serde_json::from_str(line).map_err(|e| said(&e))?;
                if began != head {
                    return Err(said(&format!(
                        "it was begun by {began:?}, this is {head:?}"
                    )));
                }
            }
        }
        // A last line that was cut is of a cell that is played again.
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file).map_err(|e| said(&e))?;
        }
        let cells = lines.filter_map(|line| serde_json::from_str::<Cell>(line).ok());
        let found = cells.map(|cell| (cell.cell.clone(), cell)).collect();
        Ok(Some(Record { file, found }))
    });
    opened.as_ref().map(Option::as_ref).map_err(Clone::clone)
}

fn head() -> Head {
    let mut build = DefaultHasher::new();
    for name in ["allgone", "actor"] {
        fs::read(tools::tools().join(name))
            .unwrap()
            .hash(&mut build);
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Head {
        runs: tools::rounds(),
        kernel: kernel.trim().to_owned(),
        build: build.finish(),
    }
}

/// The cell of this name, if the record has it. It counts as played.
pub(crate) fn recorded(name: &str) -> Result<Option<Cell>, String> {
    let found = record()?.and_then(|record| record.found.get(name)).cloned();
    CELLS.lock().unwrap().extend(found.clone());
    Ok(found)
}

/// Notes a cell that has been played to its end.
pub(crate) fn note(cell: Cell) -> Result<(), String> {
    if let Some(record) = record()? {
        let mut line = serde_json::to_string(&cell).map_err(|e| e.to_string())?;
        line.push('\n');
        // In one write, for others may append to the same file.
        let written = (&record.file).write_all(line.as_bytes());
        written.map_err(|e| format!("could not write to the record: {e}"))?;
    }
    CELLS.lock().unwrap().push(cell);
    Ok(())
}

/// All that has been counted under names that `of` accepts.
pub(crate) fn sums(of: impl Fn(&str) -> bool) -> Tally {
    let mut sums = Tally::new();
    for cell in CELLS.lock().unwrap().iter() {
        for (name, counts) in cell.counts.iter().filter(|(name, _)| of(name)) {
            sums.entry(name.clone()).or_default().add(*counts);
        }
    }
    sums
}

/// One line for each tier and user, and one for all.
pub(crate) fn printed() -> String {
    let sums = sums(|name| !name.starts_with('`'));
    let mut all = Counts::default();
    sums.values().for_each(|counts| all.add(*counts));
    let line = |name: &str, counts: &Counts| {
        format!(
            "{name}: {} runs; survivors {}, cgroups and files left {}, wrong answers {}; {} with a \
             stated exception; {} ended more than a second after their launcher was killed\n",
            counts.runs,
            counts.survivors,
            counts.residue,
            counts.otherwise,
            counts.exceptions,
            counts.late,
        )
    };
    let mut lines = String::new();
    if tools::rounds().is_some() {
        lines.extend(sums.iter().map(|(name, counts)| line(name, counts)));
    }
    lines + &line("payloads", &all)
}
