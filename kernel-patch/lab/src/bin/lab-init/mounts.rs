//! The file systems that programs expect, and cgroups as the job requires.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lab::protocol::CgroupMode;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Where cgroups are mounted.
const CGROUP: &str = "/sys/fs/cgroup";

/// Mounts everything but `/dev`, which the channel needs before.
pub(crate) fn mount_all() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        mount_at(kind, at, kind, "")?;
    }
    for (kind, at) in [
        ("tmpfs", "/dev/shm"),
        ("devpts", "/dev/pts"),
        ("tracefs", "/sys/kernel/tracing"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        optional_mount(kind, at)?;
    }
    Ok(())
}

pub(crate) fn mount_at(source: &str, at: &str, kind: &str, options: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("mkdir {at}"))?;
    match mount(
        Some(source),
        at,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    ) {
        Ok(()) => Ok(()),
        // A kernel with DEVTMPFS_MOUNT has done it already.
        Err(Errno::EBUSY) if kind == "devtmpfs" => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("mount {kind} at {at} ({options})")),
    }
}

/// Mounts what not every kernel has; anything but "no such file system" is an error.
fn optional_mount(kind: &str, at: &str) -> Result<()> {
    if !Path::new(at).exists() && fs::create_dir_all(at).is_err() {
        return Ok(());
    }
    match mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>) {
        Ok(()) | Err(Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("mount {kind} at {at}")),
    }
}

/// Mounts cgroups as the job requires and reports which controllers are where.
pub(crate) fn mount_cgroups(mode: CgroupMode) -> Result<String> {
    match mode {
        CgroupMode::None => Ok("none".to_owned()),
        CgroupMode::V2 => {
            mount_at("cgroup2", CGROUP, "cgroup2", "").context(
                "this kernel has no cgroup v2 (CONFIG_CGROUPS); nothing of the suite can run in it",
            )?;
            enable_controllers(CGROUP).map(|names| format!("v2 {names}"))
        }
        CgroupMode::V1 => {
            mount_at("tmpfs", CGROUP, "tmpfs", "")?;
            let mut mounted = Vec::new();
            for name in v1_controllers()? {
                let at = format!("{CGROUP}/{name}");
                match mount_at("cgroup", &at, "cgroup", &name) {
                    Ok(()) => mounted.push(name),
                    // Newer kernels can be built without the version 1 side of a controller.
                    Err(_) => fs::remove_dir(&at).with_context(|| format!("rmdir {at}"))?,
                }
            }
            if mounted.is_empty() {
                bail!("this kernel mounts no cgroup v1 controller: run it with --cgroup v2");
            }
            let unified = format!("{CGROUP}/unified");
            mount_at("cgroup2", &unified, "cgroup2", "").context("this kernel has no cgroup v2")?;
            Ok(format!(
                "v1 {} + v2 {}",
                mounted.join(" "),
                enable_controllers(&unified)?
            ))
        }
    }
}

/// Enables every controller of the root for its children, and reports them.
fn enable_controllers(root: &str) -> Result<String> {
    let path = format!("{root}/cgroup.controllers");
    let names = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    for name in names.split_whitespace() {
        let path = format!("{root}/cgroup.subtree_control");
        fs::write(&path, format!("+{name}")).with_context(|| format!("write +{name} to {path}"))?;
    }
    Ok(names.trim().to_owned())
}

/// The controllers of `/proc/cgroups` that are switched on (`cgroups(7)`). Kernels from 6.15 hide
/// those of version 2 only there, which is right here.
fn v1_controllers() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/cgroups").context("read /proc/cgroups")?;
    let enabled = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.len() == 4 && words[3] == "1").then(|| words[0].to_owned())
    };
    Ok(text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(enabled)
        .collect())
}
