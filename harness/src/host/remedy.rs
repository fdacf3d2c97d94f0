//! What would help on this machine, given what is known about it.

use nix::errno::Errno;

use super::base::{Attempt, Options};
use super::candidate::Refusal;
use super::mounts::{Layout, NotVisible};

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
    /// The user named a cgroup.
    pub named: bool,
}

impl Facts {
    /// Looks.
    pub(super) fn gather(options: &Options, layout: &Layout, euid: u32) -> Self {
        let filesystems = options.paths.read("/proc/filesystems").unwrap_or_default();
        Self {
            root: euid == 0,
            container: options.paths.container(),
            systemd: options.paths.systemd(),
            v2: layout.v2().is_some(),
            v1_pids: layout.v1("pids").is_some(),
            kernel_v2: filesystems.split_ascii_whitespace().any(|name| name == "cgroup2"),
            named: options.cgroup.is_some(),
        }
    }
}

/// Advice, most likely first. Never empty.
pub(super) fn for_no_base(facts: &Facts, attempts: &[Attempt]) -> Vec<String> {
    let mut advice = Vec::new();
    let refused = |test: fn(&Refusal) -> bool| attempts.iter().any(|a| test(&a.why));
    let read_only = refused(|r| matches!(r, Refusal::ReadOnly(_)) || r.errno() == Some(Errno::EROFS));
    let hidden = refused(|r| matches!(r, Refusal::NotVisible(NotVisible::Outside { .. })));
    let mounted_badly = read_only || hidden || !facts.v2;
    if let Some(mark) = facts.container.filter(|_| facts.root || mounted_badly) {
        let mount = if read_only {
            "the container's cgroups are read-only"
        } else {
            "this is a container"
        };
        advice.push(format!(
            "{mount} ({mark}): start it with --cgroupns=private and -v /sys/fs/cgroup:/sys/fs/cgroup:rw, or with --privileged"
        ));
    } else if read_only {
        advice.push(
            "remount the hierarchy writable (mount -o remount,rw), or name another cgroup with --cgroup PATH"
                .to_owned(),
        );
    }
    if !facts.v2 {
        advice.push(if !facts.kernel_v2 {
            "this kernel has no cgroup v2 (CONFIG_CGROUPS, Linux 4.5)".to_owned()
        } else if facts.systemd {
            "boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line".to_owned()
        } else {
            "mount cgroup v2 as root, for example: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned()
        });
    }
    if facts.v2 && refused(|r| matches!(r, Refusal::NoPids(_))) {
        advice.push(if facts.v1_pids {
            "the pids controller is in a v1 hierarchy in which this process may make no cgroup: run as root, or have one delegated there"
                .to_owned()
        } else {
            "the pids controller is missing: CONFIG_CGROUP_PIDS in the kernel, and no cgroup_disable=pids on its command line; \
             where it exists, an ancestor must pass it on (echo +pids > <parent>/cgroup.subtree_control, as root)"
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
            "a process may only be moved below a common ancestor that its user may write to: start inside that cgroup"
                .to_owned(),
        );
    }
    if refused(|r| matches!(r.errno(), Some(Errno::EAGAIN | Errno::ENOSPC))) {
        advice.push("a limit above is met: look at pids.max, cgroup.max.descendants and cgroup.max.depth of the ancestors, and at ulimit -u".to_owned());
    }
    if !facts.root {
        advice.push(if facts.systemd {
            "run it in a session with a user service manager (systemctl --user works), or as root".to_owned()
        } else {
            "run it as root, or have root make a cgroup, chown it to this user and start this shell in it".to_owned()
        });
    } else if facts.systemd && facts.container.is_none() {
        advice.push("run it as: systemd-run --scope -p Delegate=yes -- PROGRAM".to_owned());
    }
    if facts.named {
        advice.push("leave --cgroup away to let it look for one".to_owned());
    } else {
        advice.push("name a cgroup v2 directory that you may use: --cgroup PATH".to_owned());
    }
    advice
}
