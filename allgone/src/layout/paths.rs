//! Where the files of this machine are: below `/`, or below a directory that stands for the machine
//! in a test.

use std::path::{Path, PathBuf};

/// The root of everything that is read about a machine. Mount points found in `mountinfo` are used
/// as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    /// This machine.
    fn default() -> Self {
        Self::below("/")
    }
}

impl Paths {
    /// A machine whose `/proc`, `/sys`, `/run` and `/boot` are below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file by its absolute path on that machine.
    pub fn file(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Reads a file whole and trims it; `None` if it cannot be read, which is "unknown" to every
    /// caller.
    pub fn read(&self, absolute: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.file(absolute)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Whether systemd is the service manager: sd_booted(3).
    pub fn systemd(&self) -> bool {
        self.file("/run/systemd/system").is_dir()
    }

    /// The evidence that this is a container: a file that a container runtime leaves there.
    pub fn container(&self) -> Option<&'static str> {
        [
            "/.dockerenv",
            "/run/.containerenv",
            "/run/systemd/container",
        ]
        .into_iter()
        .find(|mark| self.file(mark).exists())
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
