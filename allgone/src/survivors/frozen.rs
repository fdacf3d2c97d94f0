//! The frozen states, and which freezer causes them.

use std::path::{Path, PathBuf};

use super::Reason;
use super::case::{Case, Finding};

/// The v1 freezer: a frozen process does not act on SIGKILL until it is thawed.
///
/// Source: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst: `freezer.state`,
/// `freezer.self_freezing`.
pub(super) fn by_v1(case: &Case<'_>) -> Option<Finding> {
    let own = case.mounts.v1("freezer", case.membership.v1("freezer")?)?;
    let state = read(&own, "freezer.state")?;
    if state == "THAWED" {
        return None;
    }
    let culprit = above(&own, |dir| {
        read(dir, "freezer.self_freezing").map(|v| v == "1")
    });
    Some(Finding::new(
        Reason::FrozenV1,
        format!(
            "freezer.state of {} is {state}; {}; {}",
            own.display(),
            told(culprit, "freezer.self_freezing", &own),
            case.pending()
        ),
    ))
}

/// The v2 freezer. SIGKILL, and every other signal whose action is to end the process, ends a
/// frozen one; so a survivor has not been sent one. Signals with a handler wait for the thaw.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst: `cgroup.freeze`; kernel/signal.c,
/// `complete_signal()`, `JOBCTL_TRAP_FREEZE`.
pub(super) fn by_v2(case: &Case<'_>) -> Option<Finding> {
    if case.is_killed() {
        return None;
    }
    let own = case.mounts.v2(case.membership.v2()?)?;
    let culprit = above(&own, |dir| read(dir, "cgroup.freeze").map(|v| v == "1"))?;
    Some(Finding::new(
        Reason::FrozenV2,
        format!(
            "{}; {}; no SIGKILL is pending",
            told(Some(culprit), "cgroup.freeze", &own),
            match read(&own, "cgroup.events") {
                Some(events) if events.contains("frozen 1") => "frozen 1",
                Some(_) => "frozen 0, still freezing",
                None => "cgroup.events cannot be read",
            }
        ),
    ))
}

/// The nearest directory from `own` upwards for which `asked` is true; a directory without the file
/// ends the search.
fn above(own: &Path, asked: impl Fn(&Path) -> Option<bool>) -> Option<PathBuf> {
    own.ancestors()
        .map_while(|dir| asked(dir).map(|yes| (dir, yes)))
        .find(|(_, yes)| *yes)
        .map(|(dir, _)| dir.to_path_buf())
}

fn told(culprit: Option<PathBuf>, file: &str, own: &Path) -> String {
    match culprit {
        Some(dir) if dir == own => format!("by its own cgroup: {file} is 1"),
        Some(dir) => format!("by its ancestor {}: {file} is 1", dir.display()),
        None => "the cause cannot be read".to_owned(),
    }
}

fn read(directory: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(directory.join(name))
        .ok()
        .map(|content| content.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_frozen_ancestor_is_named_and_the_climb_ends_at_the_root() {
        let tree = tempfile::tempdir().unwrap();
        let own = tree.path().join("a/b/c");
        std::fs::create_dir_all(&own).unwrap();
        let frozen = |dir: &Path| read(dir, "cgroup.freeze").map(|v| v == "1");
        for (dir, value) in [("a", "1\n"), ("a/b", "0\n"), ("a/b/c", "0\n")] {
            std::fs::write(tree.path().join(dir).join("cgroup.freeze"), value).unwrap();
        }
        assert_eq!(above(&own, frozen), Some(tree.path().join("a")));
        std::fs::write(own.join("cgroup.freeze"), "1\n").unwrap();
        assert_eq!(above(&own, frozen), Some(own.clone()));
        assert_eq!(
            told(Some(own.clone()), "cgroup.freeze", &own),
            "by its own cgroup: cgroup.freeze is 1"
        );
        for dir in ["a", "a/b/c"] {
            std::fs::write(tree.path().join(dir).join("cgroup.freeze"), "0\n").unwrap();
        }
        assert_eq!(above(&own, frozen), None);
    }
}
