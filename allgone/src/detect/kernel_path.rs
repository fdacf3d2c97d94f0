//! The name by which tracepoints call a cgroup: its path from the root of the hierarchy.

use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::error::SysError;

/// The path of the cgroup directory `dir` inside its hierarchy, as far as this cgroup namespace can
/// tell.
///
/// Errors: `ENOENT` it is on no cgroup2 mount; `EXDEV` the mount shows a part of the hierarchy that
/// lies outside the namespace.
pub fn of(dir: &Path) -> Result<PathBuf, SysError> {
    let source = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(source)
        .map_err(|e| SysError::io("read", crate::Target::Path(source.into()), &e))?;
    resolve(&text, dir).map_err(|e| SysError::path("find in the hierarchy", dir, e))
}

/// Looks `dir` up in a mountinfo table; later mounts hide earlier ones. Source:
/// proc_pid_mountinfo(5).
fn resolve(mountinfo: &str, dir: &Path) -> Result<PathBuf, Errno> {
    let mut best: Option<(PathBuf, PathBuf)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        if right.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let fields: Vec<&str> = left.split(' ').collect();
        let (Some(root), Some(point)) = (fields.get(3), fields.get(4)) else {
            continue;
        };
        let (root, point) = (
            PathBuf::from(unescape(root)),
            PathBuf::from(unescape(point)),
        );
        let longest = best
            .as_ref()
            .is_none_or(|(_, p)| point.as_os_str().len() >= p.as_os_str().len());
        if dir.starts_with(&point) && longest {
            best = Some((root, point));
        }
    }
    let (root, point) = best.ok_or(Errno::ENOENT)?;
    if root.components().any(|c| c == Component::ParentDir) {
        return Err(Errno::EXDEV);
    }
    let below = dir.strip_prefix(&point).map_err(|_| Errno::ENOENT)?;
    Ok(root.join(below))
}

/// Octal escapes of mountinfo: space, tab, newline, backslash.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
33 24 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
34 24 0:31 /pod/x /mnt/my\\040cg rw,relatime shared:3 - cgroup2 none rw
35 24 0:32 /../other /mnt/outside rw - cgroup2 none rw
";

    #[test]
    fn the_root_of_the_mount_counts() {
        let at = |dir: &str| resolve(TABLE, Path::new(dir));
        assert_eq!(at("/sys/fs/cgroup/unified/a/site"), Ok("/a/site".into()));
        assert_eq!(at("/mnt/my cg/site"), Ok("/pod/x/site".into()));
        assert_eq!(at("/sys/fs/cgroup/memory/a"), Err(Errno::ENOENT));
        assert_eq!(at("/mnt/outside/a"), Err(Errno::EXDEV));
    }
}
