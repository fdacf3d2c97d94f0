//! From the paths of `/proc/<pid>/cgroup` to directories, and back.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::SysError;

/// Where cgroup hierarchies are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounts {
    all: Vec<Mount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// `None`: v2. Else the controllers (and `name=`) of a v1 hierarchy.
    controllers: Option<Vec<String>>,
    /// What of the hierarchy is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    pub(crate) fn read() -> Result<Self, SysError> {
        let fail = |_| SysError::path("read", "/proc/self/mountinfo", Errno::EIO);
        let infos = procfs::process::Process::myself().and_then(|own| own.mountinfo()).map_err(fail)?;
        let all = infos
            .into_iter()
            .filter_map(|info| {
                let controllers = match info.fs_type.as_str() {
                    "cgroup2" => None,
                    "cgroup" => Some(
                        info.super_options
                            .into_iter()
                            .map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")))
                            .collect(),
                    ),
                    _ => return None,
                };
                Some(Mount {
                    controllers,
                    root: info.root.into(),
                    point: info.mount_point,
                })
            })
            .collect();
        Ok(Self { all })
    }

    /// The directory of a path in the v1 hierarchy of `controller`. `None`: there is no such hierarchy, or the path is outside of what is
    /// mounted.
    pub(crate) fn v1(&self, controller: &str, path: &str) -> Option<PathBuf> {
        self.all
            .iter()
            .filter(|m| m.controllers.as_ref().is_some_and(|c| c.iter().any(|name| name == controller)))
            .find_map(|m| m.directory(path))
    }

    /// The directory of a path in the v2 hierarchy.
    pub(crate) fn v2(&self, path: &str) -> Option<PathBuf> {
        self.all.iter().filter(|m| m.controllers.is_none()).find_map(|m| m.directory(path))
    }

    /// The path that `/proc/<pid>/cgroup` shows for members of the v2 cgroup at `directory`.
    pub(crate) fn v2_path_of(&self, directory: &Path) -> Option<PathBuf> {
        self.all
            .iter()
            .filter(|m| m.controllers.is_none())
            .find_map(|m| Some(m.root.join(directory.strip_prefix(&m.point).ok()?)))
    }
}

impl Mount {
    fn directory(&self, path: &str) -> Option<PathBuf> {
        Some(self.point.join(Path::new(path).strip_prefix(&self.root).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        let mount = |controllers: Option<&[&str]>, root: &str, point: &str| Mount {
            controllers: controllers.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
            root: root.into(),
            point: point.into(),
        };
        Mounts {
            all: vec![
                mount(Some(&["rw", "cpu", "cpuacct"]), "/", "/cg/cpu"),
                mount(Some(&["rw", "name=systemd"]), "/", "/cg/systemd"),
                mount(None, "/box", "/cg/unified"),
            ],
        }
    }

    #[test]
    fn paths_and_directories_correspond() {
        let mounts = mounts();
        assert_eq!(mounts.v1("cpu", "/a/b"), Some("/cg/cpu/a/b".into()));
        assert_eq!(mounts.v1("name=systemd", "/"), Some("/cg/systemd/".into()));
        assert_eq!(mounts.v1("freezer", "/a"), None);
        assert_eq!(mounts.v2("/box/x"), Some("/cg/unified/x".into()));
        assert_eq!(mounts.v2("/elsewhere"), None, "outside of what is mounted");
        assert_eq!(mounts.v2_path_of(Path::new("/cg/unified/x/y")), Some("/box/x/y".into()));
        assert_eq!(mounts.v2_path_of(Path::new("/tmp")), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(Mounts::read().is_ok());
    }
}
