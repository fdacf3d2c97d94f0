//! Reading what was recorded: `reports/data/<name>/` holds a campaign as `scenario measure` wrote
//! it, compressed.

mod add;
mod dataset;
mod file;
mod merge;
mod plan;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use add::{Taking, add};
pub use dataset::{Dataset, LOADED_PERMILLE, Machine, SiteCost};
pub use merge::add_all;
pub use plan::{Block, CampaignPlan, Loop, Plan, PlanRow, Shards, Skip};

/// Everything that a report is made from.
#[derive(Debug)]
pub struct Store {
    /// The top of the workspace.
    pub root: PathBuf,
    /// Campaigns, sorted by name.
    pub datasets: Vec<Dataset>,
}

impl Store {
    /// Reads all that is below `root` (the top of the workspace).
    pub fn read(root: &Path) -> Result<Self> {
        let data = data_dir(root);
        let mut dirs = Vec::new();
        if data.is_dir() {
            for entry in
                fs::read_dir(&data).with_context(|| format!("could not list {}", data.display()))?
            {
                let path = entry
                    .with_context(|| format!("could not list {}", data.display()))?
                    .path();
                // A name with a leading dot is a dataset that is being added.
                let hidden = path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with('.'));
                if path.is_dir() && !hidden {
                    dirs.push(path);
                }
            }
        }
        dirs.sort();
        Ok(Self {
            root: root.to_path_buf(),
            datasets: dirs
                .iter()
                .map(|dir| Dataset::read(dir))
                .collect::<Result<_>>()?,
        })
    }

    /// A dataset by its name.
    pub fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|d| d.name == name)
    }
}

/// Where datasets are.
pub fn data_dir(root: &Path) -> PathBuf {
    root.join("reports/data")
}

/// The top of the workspace, looked for from the current directory upwards.
pub fn find_root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("could not find the current directory")?;
    match here
        .ancestors()
        .find(|dir| dir.join("reports/data").is_dir())
    {
        Some(root) => Ok(root.to_path_buf()),
        None => bail!(
            "neither {} nor a directory above it has reports/data: go into the workspace, or say \
                --root DIR",
            here.display()
        ),
    }
}
