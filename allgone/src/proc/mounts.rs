//! From the paths of `/proc/<pid>/cgroup` to directories, and back.

use std::path::{Path, PathBuf};

use crate::error::SysError;
use crate::layout::{CgroupMount, Hierarchy, Layout, Paths};

/// Where cgroup hierarchies are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts(Layout);

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    pub fn read() -> Result<Self, SysError> {
        Ok(Self(Layout::read(&Paths::default())?))
    }

    /// The directory of a path in the v1 hierarchy of `controller`. `None`: there is no such
    /// hierarchy, or the path is outside of what is mounted.
    pub fn v1(&self, controller: &str, path: &str) -> Option<PathBuf> {
        directory(self.0.v1(controller)?, path)
    }

    /// The directory of a path in the v2 hierarchy.
    pub fn v2(&self, path: &str) -> Option<PathBuf> {
        self.v2_mounts().find_map(|mount| directory(mount, path))
    }

    /// The path that `/proc/<pid>/cgroup` shows for members of the cgroup at `directory` in the v1
    /// hierarchy of `controller`.
    pub fn v1_path_of(&self, controller: &str, directory: &Path) -> Option<PathBuf> {
        let mount = self.0.v1(controller)?;
        Some(mount.root.join(directory.strip_prefix(&mount.point).ok()?))
    }

    /// The path that `/proc/<pid>/cgroup` shows for members of the v2 cgroup at `directory`.
    pub fn v2_path_of(&self, directory: &Path) -> Option<PathBuf> {
        self.v2_mounts()
            .find_map(|mount| Some(mount.root.join(directory.strip_prefix(&mount.point).ok()?)))
    }

    fn v2_mounts(&self) -> impl Iterator<Item = &CgroupMount> {
        self.0
            .mounts
            .iter()
            .filter(|mount| mount.hierarchy == Hierarchy::V2)
    }
}

fn directory(mount: &CgroupMount, path: &str) -> Option<PathBuf> {
    Some(
        mount
            .point
            .join(Path::new(path).strip_prefix(&mount.root).ok()?),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        let mount = |controllers: Option<&[&str]>, root: &str, point: &str| CgroupMount {
            hierarchy: controllers.map_or(Hierarchy::V2, |names| Hierarchy::V1 {
                controllers: names.iter().map(|n| (*n).to_owned()).collect(),
                name: None,
            }),
            root: root.into(),
            point: point.into(),
            options: vec!["rw".to_owned()],
        };
        Mounts(Layout {
            mounts: vec![
                mount(Some(&["cpu", "cpuacct"]), "/", "/cg/cpu"),
                mount(None, "/box", "/cg/unified"),
            ],
            own: Vec::new(),
        })
    }

    #[test]
    fn paths_and_directories_correspond() {
        let mounts = mounts();
        assert_eq!(mounts.v1("cpu", "/a/b"), Some("/cg/cpu/a/b".into()));
        assert_eq!(mounts.v1("freezer", "/a"), None);
        assert_eq!(mounts.v2("/box/x"), Some("/cg/unified/x".into()));
        assert_eq!(mounts.v2("/elsewhere"), None, "outside of what is mounted");
        assert_eq!(
            mounts.v2_path_of(Path::new("/cg/unified/x/y")),
            Some("/box/x/y".into())
        );
        assert_eq!(mounts.v2_path_of(Path::new("/tmp")), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(Mounts::read().is_ok());
    }
}
