//! `scenario clean`: ends and removes what crashed runs left, and nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use harness::host::leftovers::{self, Leftover};
use harness::host::name::Owner;
use harness::host::{Layout, Paths};

use super::args::CleanArgs;
use super::conclude::print;
use super::exit::{Exit, Failure};

/// How long one leftover may take to become empty.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cleans, or says what would be cleaned.
pub(super) fn clean(args: &CleanArgs) -> Result<Exit, Failure> {
    let layout = Layout::read(&Paths::default()).context("could not search for cgroups")?;
    let found = leftovers::find(&layout, args.cgroup.as_deref())
        .context("could not search for leftovers")?;
    if args.dry_run {
        print(&plan(&found))?;
        return Ok(Exit::Held);
    }
    let cleaned = leftovers::clean(&found, PATIENCE);
    let mut lines: Vec<String> = cleaned
        .removed
        .iter()
        .map(|(path, killed)| removed(path, *killed))
        .collect();
    lines.extend(cleaned.kept.iter().map(kept));
    lines.extend(
        cleaned
            .failed
            .iter()
            .map(|(path, why)| format!("could not remove {}: {why}", path.display())),
    );
    if found.is_empty() {
        lines.push("There is nothing to clean.".to_owned());
    }
    lines.push(String::new());
    print(&lines.join("\n"))?;
    Ok(if cleaned.failed.is_empty() {
        Exit::Held
    } else {
        Exit::Internal
    })
}

fn removed(path: &Path, killed: usize) -> String {
    let path = path.display();
    match killed {
        0 => format!("removed {path}"),
        1 => format!("removed {path}; 1 process in it was killed"),
        n => format!("removed {path}; {n} processes in it were killed"),
    }
}

fn plan(found: &[Leftover]) -> String {
    let mut text = String::new();
    for leftover in found {
        let line = match leftover.owner {
            Owner::Gone => format!(
                "would remove {} and kill its members",
                leftover.path.display()
            ),
            Owner::Alive | Owner::Unknown => kept(leftover),
        };
        text.push_str(&line);
        text.push('\n');
    }
    if found.is_empty() {
        text.push_str("There is nothing to clean.\n");
    }
    text
}

fn kept(leftover: &Leftover) -> String {
    let why = match leftover.owner {
        Owner::Alive => "its run is going on",
        Owner::Gone => "its run was still going on a moment ago",
        Owner::Unknown => {
            "whether its run is going on cannot be known from here (another PID namespace, or no \
                name of a run)"
        }
    };
    format!("left alone {}: {why}", leftover.path.display())
}
