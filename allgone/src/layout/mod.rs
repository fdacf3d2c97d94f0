//! Where the cgroup hierarchies are mounted, and where in them this process is.
//!
//! Source: cgroup_namespaces(7).

pub mod mountinfo;
mod paths;

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::error::{SysError, Target};

use self::mountinfo::{parse_mountinfo, parse_own};

pub use self::mountinfo::{CgroupMount, Hierarchy, LayoutError, OwnCgroup};
pub use self::paths::Paths;

/// Why a directory of this process's own cgroup cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotVisible {
    /// No such hierarchy is mounted.
    #[error("no {0} hierarchy is mounted")]
    NotMounted(String),
    /// The process is in no cgroup of it.
    #[error("/proc/self/cgroup has no line for {0}")]
    NoLine(String),
    /// Only another part of the hierarchy is mounted.
    #[error("own cgroup {own} is outside of what is mounted at {point} (which shows {root})")]
    Outside {
        /// Own cgroup.
        own: String,
        /// Mount point.
        point: String,
        /// What it shows.
        root: String,
    },
    /// The cgroup was removed while the process is still counted in it.
    #[error("own cgroup {0} has been removed")]
    Removed(String),
}

/// A directory of this process in a v1 hierarchy, below which it may make its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Dir {
    /// Controller, such as `pids`.
    pub controller: &'static str,
    /// Mount point joined with the process's own cgroup of that hierarchy.
    pub path: PathBuf,
    /// The part below the mount point, without a leading slash (what `cgroups-rs` wants).
    pub relative: PathBuf,
}

/// All cgroup mounts, and this process's own cgroups in them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// Mounts, in the order of `/proc/self/mountinfo`.
    pub mounts: Vec<CgroupMount>,
    /// Lines of `/proc/self/cgroup`.
    pub own: Vec<OwnCgroup>,
}

impl Layout {
    /// Reads both files.
    pub fn read(paths: &Paths) -> Result<Self, LayoutError> {
        let read = |name: &'static str| {
            let path = paths.file(name);
            read_at_once(&path).map_err(|e| SysError::io("read", Target::Path(path), &e))
        };
        let cgroup = match read("/proc/self/cgroup") {
            // A kernel without CONFIG_CGROUPS has no such file: no hierarchy, which is a fact and
            // not an error.
            Err(e) if e.errno == nix::errno::Errno::ENOENT => Vec::new(),
            other => other?,
        };
        Ok(Self {
            mounts: parse_mountinfo(&read("/proc/self/mountinfo")?)?,
            own: parse_own(&cgroup)?,
        })
    }

    /// The v2 mount to work in: `/sys/fs/cgroup` or `.../unified` before any other, and one that
    /// can be written before one that cannot.
    pub fn v2(&self) -> Option<&CgroupMount> {
        let mounts = self.mounts.iter().filter(|m| m.hierarchy == Hierarchy::V2);
        mounts.min_by_key(|m| (m.read_only(), !m.point.starts_with("/sys/fs/cgroup")))
    }

    /// The mount of a v1 controller.
    pub fn v1(&self, controller: &str) -> Option<&CgroupMount> {
        let holds = |m: &&CgroupMount| {
            matches!(&m.hierarchy, Hierarchy::V1 { controllers,
            .. } if controllers.iter().any(|c| c == controller))
        };
        self.mounts
            .iter()
            .filter(holds)
            .min_by_key(|m| m.read_only())
    }

    /// Whether v1 controllers are mounted beside a v2 hierarchy.
    pub fn hybrid(&self) -> bool {
        let v1 = |m: &CgroupMount| {
            matches!(&m.hierarchy, Hierarchy::V1 { controllers,
            .. } if !controllers.is_empty())
        };
        self.v2().is_some() && self.mounts.iter().any(v1)
    }

    /// The directory of own v2 cgroup.
    pub fn own_v2(&self) -> Result<PathBuf, NotVisible> {
        let mount = self
            .v2()
            .ok_or_else(|| NotVisible::NotMounted("cgroup v2".to_owned()))?;
        let own = self
            .own
            .iter()
            .find(|o| o.id == 0 && o.controllers.is_empty());
        let own = own.ok_or_else(|| NotVisible::NoLine("cgroup v2 (0::)".to_owned()))?;
        Ok(at(mount, &below(mount, &own.path)?))
    }

    /// The directory of own cgroup in the v1 hierarchy of `controller`.
    pub fn own_v1(&self, controller: &'static str) -> Result<V1Dir, NotVisible> {
        let (path, relative) = self.own_dir_v1(controller)?;
        Ok(V1Dir {
            controller,
            path,
            relative,
        })
    }

    /// Own directories in all hierarchies of v1 controllers, as far as they can be seen here.
    pub fn own_v1_dirs(&self) -> Vec<PathBuf> {
        let controllers = self.own.iter().filter_map(|own| own.controllers.first());
        controllers
            .filter_map(|controller| self.own_dir_v1(controller).ok())
            .map(|(path, _)| path)
            .collect()
    }

    /// As [`Layout::own_v1`]: the directory, and its part below the mount point.
    pub fn own_dir_v1(&self, controller: &str) -> Result<(PathBuf, PathBuf), NotVisible> {
        let not_mounted = || NotVisible::NotMounted(format!("v1 {controller}"));
        let mount = self.v1(controller).ok_or_else(not_mounted)?;
        let own = self
            .own
            .iter()
            .find(|o| o.controllers.iter().any(|c| c == controller));
        let own = own.ok_or_else(|| NotVisible::NoLine(controller.to_owned()))?;
        let relative = below(mount, &own.path)?;
        Ok((at(mount, &relative), relative))
    }
}

/// A file of /proc. It says that its length is 0; `std::fs::read` begins with 32 bytes then, and
/// makes many calls.
fn read_at_once(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(8 * 1024);
    File::open(path)?.read_to_end(&mut text)?;
    Ok(text)
}

/// A directory below a mount. Joining an empty path would add a slash, which then stands in every
/// message.
fn at(mount: &CgroupMount, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() {
        mount.point.clone()
    } else {
        mount.point.join(relative)
    }
}

/// The part of `own` below the root of `mount`. Both are relative to the same cgroup namespace.
fn below(mount: &CgroupMount, own: &Path) -> Result<PathBuf, NotVisible> {
    if own.as_os_str().to_string_lossy().ends_with(" (deleted)") {
        return Err(NotVisible::Removed(own.display().to_string()));
    }
    let outside = || NotVisible::Outside {
        own: own.display().to_string(),
        point: mount.point.display().to_string(),
        root: mount.root.display().to_string(),
    };
    let relative = own.strip_prefix(&mount.root).map_err(|_| outside())?;
    // "/.." stands for a cgroup above the namespace's root: the names between are not visible.
    if relative.components().any(|c| c == Component::ParentDir) {
        return Err(outside());
    }
    Ok(relative.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &[u8] = b"23 1 8:1 / / rw - ext4 /dev/root rw\n\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:1 - cgroup cgroup \
        rw,cpu,cpuacct,clone_children\n\
        39 31 0:36 / /sys/fs/cgroup/pids ro,relatime - cgroup cgroup \
        rw,pids,release_agent=/sbin/x\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 \
        rw,nsdelegate,favordynmods\n";
    const OWN: &[u8] =
        b"9:name=systemd:/\n8:pids:/\n4:memory:/api/809:be6\n2:cpu,cpuacct:/a\n0::/user.slice/x\n";

    fn layout(mountinfo: &[u8], own: &[u8]) -> Layout {
        Layout {
            mounts: parse_mountinfo(mountinfo).unwrap(),
            own: parse_own(own).unwrap(),
        }
    }

    #[test]
    fn a_hybrid_machine_is_understood() {
        let layout = layout(HYBRID, OWN);
        assert!(layout.hybrid());
        let v2 = layout.v2().unwrap();
        assert_eq!(v2.options, ["rw", "nosuid", "nsdelegate", "favordynmods"]);
        assert_eq!(
            layout.own_v2().unwrap(),
            Path::new("/sys/fs/cgroup/unified/user.slice/x")
        );
        let memory = layout.own_v1("memory").unwrap();
        assert_eq!(memory.path, Path::new("/sys/fs/cgroup/memory/api/809:be6"));
        assert_eq!(memory.relative, Path::new("api/809:be6"));
        assert_eq!(
            layout.own_v1("cpuacct").unwrap().path,
            Path::new("/sys/fs/cgroup/cpu,cpuacct/a")
        );
        let pids = layout.v1("pids").unwrap();
        assert!(
            pids.read_only(),
            "the mount is read-only although the file system is not"
        );
        assert_eq!(
            pids.hierarchy,
            Hierarchy::V1 {
                controllers: vec!["pids".to_owned()],
                name: None
            }
        );
        assert_eq!(
            layout.own_v1("freezer"),
            Err(NotVisible::NotMounted("v1 freezer".to_owned()))
        );
    }

    #[test]
    fn a_part_of_the_hierarchy_hides_a_prefix() {
        let mounts = b"41 31 0:38 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let inside = layout(mounts, b"0::/docker/ab/x\n");
        assert_eq!(inside.own_v2().unwrap(), Path::new("/sys/fs/cgroup/x"));
        let same = layout(mounts, b"0::/docker/ab\n");
        assert_eq!(same.own_v2().unwrap().as_os_str(), "/sys/fs/cgroup");
        for outside in [&b"0::/\n"[..], b"0::/docker/abc\n", b"0::/../x\n"] {
            assert!(
                matches!(
                    layout(mounts, outside).own_v2(),
                    Err(NotVisible::Outside { .. })
                ),
                "{outside:?}"
            );
        }
        // A mount made outside of the cgroup namespace: its root is above, and the names between
        // are hidden.
        let above = layout(
            b"41 31 0:38 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
            b"0::/\n",
        );
        assert!(matches!(above.own_v2(), Err(NotVisible::Outside { .. })));
        let beside = layout(
            b"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
            b"0::/../y\n",
        );
        assert!(matches!(beside.own_v2(), Err(NotVisible::Outside { .. })));
    }

    #[test]
    fn a_writable_mount_at_the_usual_place_is_preferred() {
        let mounts = b"1 1 0:1 / /tmp/mine rw - cgroup2 none rw\n\
                2 1 0:1 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n\
                3 1 0:1 / /sys/fs/cgroup ro - cgroup2 none rw\n";
        assert_eq!(
            layout(mounts, b"").v2().unwrap().point,
            Path::new("/sys/fs/cgroup/unified")
        );
    }

    #[test]
    fn escapes_and_removed_cgroups() {
        let mounts = b"1 1 0:1 / /mnt/a\\040b\\134c rw - cgroup2 none rw\n";
        assert_eq!(
            layout(mounts, b"").v2().unwrap().point,
            Path::new("/mnt/a b\\c")
        );
        let gone = layout(mounts, b"0::/x (deleted)\n");
        assert_eq!(
            gone.own_v2(),
            Err(NotVisible::Removed("/x (deleted)".to_owned()))
        );
        assert_eq!(
            gone.own_v1("pids"),
            Err(NotVisible::NotMounted("v1 pids".to_owned()))
        );
    }

    #[test]
    fn this_machine_is_understood() {
        let layout = Layout::read(&Paths::default()).unwrap();
        assert_eq!(
            layout.own.is_empty(),
            !Path::new("/proc/self/cgroup").exists()
        );
    }

    proptest! {
        #[test]
        fn own_directory_is_always_below_the_mount(own in "(/[a-z.]{1,3}){0,4}",
            root in "(/[a-z.]{1,3}){0,2}") {
            let (own, root) = (format!("/{}", own.trim_start_matches('/')), format!("/{}",
                root.trim_start_matches('/')));
            let mounts = format!("1 1 0:1 {root} /m rw - cgroup2 none rw\n");
            if let Ok(dir) = layout(mounts.as_bytes(), format!("0::{own}\n").as_bytes()).own_v2() {
                prop_assert!(dir.starts_with("/m"));
                prop_assert!(!dir.components().any(|c| c == Component::ParentDir));
            }
        }
    }
}
