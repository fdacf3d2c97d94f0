//! What all runs share: the executables, numbers of users, and how often each is played.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often each payload is played in each tier by each user, if the environment says so.
pub(crate) fn rounds() -> Option<u32> {
    let rounds = std::env::var("LAUNCHER_RUNS").ok()?;
    Some(rounds.parse().expect("LAUNCHER_RUNS is a number"))
}

static TOOLS: OnceLock<PathBuf> = OnceLock::new();

/// A directory with `allgone`, `actor` and `reaper`, which every user may execute.
pub(crate) fn tools() -> &'static Path {
    TOOLS.get_or_init(|| {
        // Not in /tmp: the launcher's own is empty there.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap().keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let this = std::env::current_exe().unwrap();
        let named =
            |variable| std::env::var_os(variable).map_or_else(|| this.clone(), PathBuf::from);
        same(&named("LAUNCHER_BINARY"), &dir.join("allgone"));
        same(&named("LAUNCHER_ACTOR"), &dir.join("actor"));
        same(&this, &dir.join("reaper"));
        dir
    })
}

/// Takes that directory away. To be called when no test runs any more.
pub(crate) fn end() {
    if let Some(dir) = TOOLS.get() {
        fs::remove_dir_all(dir).unwrap();
    }
}

/// Another name for an executable, or a copy where that cannot be had.
fn same(source: &Path, name: &Path) {
    if fs::hard_link(source, name).is_err() {
        fs::copy(source, name).unwrap();
    }
}

/// A user that no other run has.
pub(crate) fn user() -> u32 {
    /// Far from those that systems, containers and the harness give away.
    const FIRST: u32 = 2_000_000_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    FIRST + (std::process::id() % 100_000) * 1_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000
}
