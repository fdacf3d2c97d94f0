//! The directory of a running machine, and those that killed labs have left.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

/// The prefix of their names.
const PREFIX: &str = "lab-vm-";

/// A directory that is younger may be about to be locked.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory for one machine, removed when it goes out of scope. While its lab lives it is locked
/// (`flock(2)`).
#[derive(Debug)]
pub(super) struct Place {
    /// The directory.
    pub dir: TempDir,
    /// Closed by the kernel when the lab dies, however it dies.
    _lock: Flock<File>,
}

impl Place {
    /// Makes one, after removing those of labs that were killed.
    pub(super) fn make() -> Result<Self> {
        sweep(&std::env::temp_dir(), YOUNG);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .context("cannot make a temporary directory")?;
        let lock =
            lock(dir.path()).with_context(|| format!("cannot lock {}", dir.path().display()))?;
        Ok(Self { dir, _lock: lock })
    }
}

fn lock(dir: &Path) -> std::io::Result<Flock<File>> {
    Flock::lock(File::open(dir)?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| errno.into())
}

/// Removes directories that are not locked and that are at least `old`. What belongs to another
/// user or is just going away is left alone.
fn sweep(parent: &Path, old: Duration) {
    let entries = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    for entry in entries.filter(|entry| is_ours(&entry.file_name())) {
        let path = entry.path();
        let age = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .map(|made| made.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age >= old);
        if is_old && let Ok(_lock) = lock(&path) {
            // A process that could lock it may remove it; if that fails, the next start tries
            // again.
            drop(fs::remove_dir_all(&path));
        }
    }
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_dead_labs_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("initramfs"), "x").unwrap();
            dir
        };
        let (dead, alive, other) = (make("lab-vm-dead"), make("lab-vm-alive"), make("other"));
        let held = lock(&alive).unwrap();
        sweep(parent.path(), YOUNG);
        assert!(
            dead.exists(),
            "it is young, so its lab may be about to lock it"
        );
        sweep(parent.path(), Duration::ZERO);
        assert!(!dead.exists() && alive.exists() && other.exists());
        drop(held);
        sweep(parent.path(), Duration::ZERO);
        assert!(!alive.exists() && other.exists());
    }
}
