//! Where a trial takes place: cgroups, namespaces, and a file system of its own for what is
//! temporary.
//!
//! ```text
//! <the job>/                 this process; killed by the suite, or by its guard
//!   ns/                      root of the cgroup namespace; killed at the end of a trial
//!     launcher/              the launcher is born here, and what it starts
//! ```
//!
//! The namespace has a mount of cgroup2 of its own, so a runtime that moves what it starts can move
//! it only to places below `ns`.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use allgone::cgroup::{Cgroup, ControlFile};
use allgone::layout::{Layout, Paths};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::{DIR, Order};

/// The cgroup of the launcher, by the trial's own mount.
pub(super) const LAUNCHER: &str = "/sys/fs/cgroup/launcher";

/// File systems that are the trial's own.
const PRIVATE: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// How much each may hold: enough for any trial, and little enough for a launcher that floods its
/// output.
const SIZE: &str = "size=128m,mode=1777";

/// The ground of one trial.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) ns: Cgroup,
    /// The payload's program, opened before it was hidden.
    pub(super) payload: File,
}

impl Ground {
    /// Makes it, for this process and all that it starts.
    pub(super) fn make(order: &Order) -> Result<Self, String> {
        let payload = File::open(&order.payload)
            .map_err(|e| format!("could not open {}: {e}", order.payload))?;
        let layout = Layout::read(&Paths::default()).map_err(|e| e.to_string())?;
        let own = layout.own_v2().map_err(|e| e.to_string())?;
        let own = Cgroup::open(own).map_err(|e| e.to_string())?;
        let back: ControlFile = own.control("cgroup.procs").map_err(|e| e.to_string())?;
        let ns = own.create("ns").map_err(|e| e.to_string())?;
        ns.create("launcher").map_err(|e| e.to_string())?;
        ns.write("cgroup.procs", "0").map_err(|e| e.to_string())?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP | CloneFlags::CLONE_NEWIPC)
            .map_err(|e| format!("could not make namespaces: {e}; the suite needs root"))?;
        back.write("0").map_err(|e| e.to_string())?;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mounted(
            "/",
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>),
        )?;
        own_cgroups()?;
        if let Some(user) = order.user {
            delegate(user)?;
        }
        kept_devices()?;
        own_files(order)?;
        Ok(Self { ns, payload })
    }
}

fn mounted(what: &str, result: nix::Result<()>) -> Result<(), String> {
    result.map_err(|e| format!("could not mount on {what}: {e}"))
}

/// Replaces every cgroup mount by one that begins at the namespace's root.
fn own_cgroups() -> Result<(), String> {
    let at = "/sys/fs/cgroup";
    match umount2(at, MntFlags::MNT_DETACH) {
        Ok(()) | Err(_) => {}
    }
    let kind = Some("cgroup2");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounted(at, mount(Some("cgroup2"), at, kind, flags, None::<&str>))
}

/// Gives the launcher's cgroup to its user, as a session of systemd with `Delegate=` is given: it
/// may make cgroups there and move its own processes among them.
fn delegate(user: u32) -> Result<(), String> {
    let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
    let files = files.map(|file| format!("{LAUNCHER}/{file}"));
    for path in std::iter::once(LAUNCHER.to_owned()).chain(files) {
        std::os::unix::fs::chown(&path, Some(user), Some(user))
            .map_err(|e| format!("could not give {path} to user {user}: {e}"))?;
    }
    Ok(())
}

/// Devices can be used, and their directory stays as it is: a runtime that takes it for that of a
/// container would put links where the machine has nodes (LXC does so with `/dev/ptmx`).
fn kept_devices() -> Result<(), String> {
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mounted(
        "/dev",
        mount(Some("/dev"), "/dev", None::<&str>, bind, None::<&str>),
    )?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    mounted(
        "/dev",
        mount(None::<&str>, "/dev", None::<&str>, flags, None::<&str>),
    )
}

/// Gives the trial its own temporary directories, in which programs stay where they were.
fn own_files(order: &Order) -> Result<(), String> {
    let hidden = |path: &str| PRIVATE.iter().any(|at| Path::new(path).starts_with(at));
    let mut kept: Vec<(PathBuf, File)> = Vec::new();
    for dir in order.path.iter().filter(|dir| hidden(dir)) {
        if let Ok(open) = File::open(dir) {
            kept.push((dir.into(), open));
        }
    }
    for at in PRIVATE {
        if at == "/run" && order.broker || !Path::new(at).is_dir() {
            continue;
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mounted(
            at,
            mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(SIZE)),
        )?;
    }
    for (path, open) in kept {
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let from = format!("/proc/self/fd/{}", open.as_raw_fd());
        let bound = mount(
            Some(from.as_str()),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        );
        mounted(&path.display().to_string(), bound)?;
    }
    for dir in [DIR.to_owned(), format!("{DIR}/home")] {
        fs::create_dir_all(&dir).map_err(|e| format!("{dir}: {e}"))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))
            .map_err(|e| format!("{dir}: {e}"))?;
    }
    Ok(())
}
