//! What would help on this machine, given what is known about it.

use std::path::PathBuf;

use nix::errno::Errno;

use super::{Attempt, Refusal};
use crate::layout::{Layout, NotVisible, Paths};

/// What the advice depends on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// Runs as root.
    pub root: bool,
    /// Inside a container, as this file says.
    pub container: Option<&'static str>,
    /// systemd is the service manager.
    pub systemd: bool,
    /// A cgroup v2 hierarchy is mounted.
    pub v2: bool,
    /// The kernel has a pids controller that is mounted as v1.
    pub v1_pids: bool,
    /// The kernel has cgroup v2, mounted or not.
    pub kernel_v2: bool,
    /// The user.
    pub uid: u32,
    /// The process that started this one: most likely the shell in which the command was given.
    pub shell: u32,
    /// Where cgroup v2 is mounted.
    pub v2_mount: Option<PathBuf>,
    /// Where the v1 hierarchies with the limits of a run are mounted.
    pub v1_mounts: Vec<PathBuf>,
}

impl Facts {
    /// Looks.
    pub(super) fn gather(paths: &Paths, layout: &Layout, euid: u32) -> Self {
        let filesystems = paths.read("/proc/filesystems").unwrap_or_default();
        Self {
            root: euid == 0,
            container: paths.container(),
            systemd: paths.systemd(),
            v2: layout.v2().is_some(),
            v1_pids: layout.v1("pids").is_some(),
            kernel_v2: filesystems
                .split_ascii_whitespace()
                .any(|name| name == "cgroup2"),
            uid: euid,
            shell: std::os::unix::process::parent_id(),
            v2_mount: layout.v2().map(|mount| mount.point.clone()),
            v1_mounts: ["pids", "memory"]
                .iter()
                .filter_map(|controller| layout.v1(controller).map(|mount| mount.point.clone()))
                .collect(),
        }
    }
}

impl Facts {
    /// The commands for root that give this user a cgroup and move this shell into it. `None`
    /// without a hierarchy to make one in.
    fn by_hand(&self) -> Option<String> {
        let Self { uid, shell, .. } = self;
        let mount = self.v2_mount.as_ref()?;
        let mut lines = vec!["or give this user a cgroup by hand. As root:".to_owned()];
        if self.v1_mounts.is_empty() {
            let control = mount.join("cgroup.subtree_control");
            lines.push(format!("echo +pids +memory > {}", control.display()));
        }
        for mount in std::iter::once(mount).chain(&self.v1_mounts) {
            let dir = mount.join(format!("user-{uid}"));
            let dir = dir.display();
            lines.push(format!("mkdir {dir}"));
            lines.push(format!("chown -R {uid} {dir}"));
            lines.push(format!("echo {shell} > {dir}/cgroup.procs"));
        }
        Some(lines.join("\n          "))
    }
}

/// Advice, most likely first. Never empty.
pub(super) fn for_no_base(facts: &Facts, attempts: &[Attempt]) -> Vec<String> {
    let mut advice = Vec::new();
    let refused = |test: fn(&Refusal) -> bool| attempts.iter().any(|a| test(&a.why));
    let read_only =
        refused(|r| matches!(r, Refusal::ReadOnly(_)) || r.errno() == Some(Errno::EROFS));
    let hidden = refused(|r| matches!(r, Refusal::NotVisible(NotVisible::Outside { .. })));
    let mounted_badly = read_only || hidden || !facts.v2;
    // An exhausted resource has nothing to do with where this runs.
    let ran_out = refused(|r| {
        matches!(
            r.errno(),
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN | Errno::ENOSPC)
        )
    });
    if refused(|r| matches!(r.errno(), Some(Errno::EMFILE))) {
        advice.push(
            "this process may have too few files open: raise the limit (ulimit -n 4096)".to_owned(),
        );
    }
    if refused(|r| matches!(r.errno(), Some(Errno::ENFILE))) {
        advice.push(
            "too many files are open on this machine: raise fs.file-max (sysctl, root)".to_owned(),
        );
    }
    if let Some(mark) = facts
        .container
        .filter(|_| mounted_badly || facts.root && !ran_out)
    {
        let mount = if read_only {
            "the container's cgroups are read-only"
        } else {
            "this is a container"
        };
        advice.push(format!(
            "{mount} ({mark}): start it with --cgroupns=private and -v \
                /sys/fs/cgroup:/sys/fs/cgroup:rw, or with --privileged"
        ));
    } else if read_only {
        advice.push(
            "remount the hierarchy writable (mount -o remount,rw), or name another cgroup"
                .to_owned(),
        );
    }
    if !facts.v2 {
        advice.push(if !facts.kernel_v2 {
            "this kernel has no cgroup v2 (CONFIG_CGROUPS, Linux 4.5)".to_owned()
        } else if facts.systemd {
            "boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line".to_owned()
        } else {
            "mount cgroup v2 as root, for example: mkdir -p /sys/fs/cgroup/unified && mount -t \
                cgroup2 none /sys/fs/cgroup/unified"
                .to_owned()
        });
    }
    if facts.v2 && refused(|r| matches!(r, Refusal::NoPids(_))) {
        advice.push(if facts.v1_pids {
            "the pids controller is in a v1 hierarchy in which this process may make no cgroup: \
                run as root, or have one delegated there"
                .to_owned()
        } else {
            "the pids controller is missing: CONFIG_CGROUP_PIDS in the kernel, and no \
                cgroup_disable=pids on its command line; where it exists, an ancestor must pass it \
                on (echo +pids > <parent>/cgroup.subtree_control, as root)"
                .to_owned()
        });
    }
    if refused(|r| {
        matches!(
            r,
            Refusal::Entry {
                errno: Errno::EACCES,
                ..
            }
        )
    }) {
        advice.push(
            "a process may only be moved below a common ancestor that its user may write to: start \
                inside that cgroup"
                .to_owned(),
        );
    }
    if refused(|r| matches!(r.errno(), Some(Errno::EAGAIN | Errno::ENOSPC))) {
        advice.push(
            "a limit of an ancestor is reached: check pids.max, cgroup.max.descendants and \
                cgroup.max.depth of the ancestors, and at ulimit -u"
                .to_owned(),
        );
    }
    if !facts.root {
        advice.push(if facts.systemd {
            "run it in a session with a user service manager (systemctl --user works), or as root"
                .to_owned()
        } else {
            "run it as root".to_owned()
        });
        advice.extend(facts.by_hand());
    } else if facts.systemd && facts.container.is_none() {
        advice.push("run it as: systemd-run --scope -p Delegate=yes -- PROGRAM".to_owned());
    }
    if advice.is_empty() {
        advice.push("name a cgroup v2 directory in which this process may make others".to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SysError;

    fn container() -> Facts {
        Facts {
            root: true,
            container: Some("/.dockerenv"),
            v2: true,
            kernel_v2: true,
            ..Facts::default()
        }
    }

    fn attempt(errno: Errno) -> Attempt {
        Attempt {
            what: "own cgroup".to_owned(),
            why: SysError::path("open", "/x", errno).into(),
        }
    }

    #[test]
    fn a_low_limit_is_not_called_a_container() {
        let advice = for_no_base(&container(), &[attempt(Errno::EMFILE)]).join("\n");
        assert!(
            advice.contains("ulimit -n") && !advice.contains("--privileged"),
            "{advice}"
        );
        let advice = for_no_base(&container(), &[attempt(Errno::EACCES)]).join("\n");
        assert!(
            advice.contains("--privileged") && !advice.contains("ulimit -n"),
            "{advice}"
        );
    }

    #[test]
    fn delegation_by_hand_names_every_command() {
        let mut facts = Facts {
            uid: 1000,
            shell: 77,
            v2: true,
            v2_mount: Some("/cg".into()),
            ..Facts::default()
        };
        let unified = for_no_base(&facts, &[]).join("\n");
        for command in [
            "echo +pids +memory > /cg/cgroup.subtree_control",
            "mkdir /cg/user-1000",
            "chown -R 1000 /cg/user-1000",
            "echo 77 > /cg/user-1000/cgroup.procs",
        ] {
            assert!(unified.contains(command), "{command:?} is not in {unified}");
        }
        facts.v1_mounts = vec!["/cg1/pids".into()];
        let hybrid = for_no_base(&facts, &[]).join("\n");
        assert!(
            hybrid.contains("echo 77 > /cg1/pids/user-1000/cgroup.procs"),
            "{hybrid}"
        );
        assert!(
            !hybrid.contains("subtree_control"),
            "the limits are in version 1: {hybrid}"
        );
    }
}
