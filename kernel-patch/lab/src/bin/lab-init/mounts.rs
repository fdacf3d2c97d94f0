//! The file systems that programs expect, and cgroups as the job requires.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lab::protocol::CgroupMode;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Where cgroups are mounted.
const CGROUP: &str = "/sys/fs/cgroup";
/// Where version 2 is mounted when version 1 is, too.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// A version 1 hierarchy without a controller, such as systemd has in its hybrid mode.
const NAMED: &str = "lab";
/// Controllers of version 2 that are always on there, so that `cgroup.controllers` does not list
/// them.
const IN_V2_UNLISTED: [&str; 1] = ["perf_event"];

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
            let mounted = mount_v1(&v1_controllers()?)?;
            if mounted.is_empty() {
                bail!("this kernel mounts no cgroup v1 controller: run it with --cgroup v2");
            }
            with_v2_beside(&mounted)
        }
        CgroupMode::Hybrid => {
            mount_at("tmpfs", CGROUP, "tmpfs", "")?;
            let named = format!("{CGROUP}/{NAMED}");
            mount_at("cgroup", &named, "cgroup", &format!("none,name={NAMED}"))
                .context("this kernel has no cgroup v1")?;
            // Version 2 first: what it has stays with it.
            mount_at("cgroup2", UNIFIED, "cgroup2", "").context("this kernel has no cgroup v2")?;
            let in_v2 = controllers(UNIFIED)?;
            let rest: Vec<String> = v1_controllers()?
                .into_iter()
                .filter(|name| !in_v2.contains(name) && !IN_V2_UNLISTED.contains(&name.as_str()))
                .collect();
            let mut mounted = vec![format!("name={NAMED}")];
            mounted.extend(mount_v1(&rest)?);
            Ok(format!(
                "v1 {} + v2 {}",
                mounted.join(" "),
                enable_controllers(UNIFIED)?
            ))
        }
    }
}

/// Mounts each controller in a hierarchy of its own; those that could be mounted.
fn mount_v1(names: &[String]) -> Result<Vec<String>> {
    let mut mounted = Vec::new();
    for name in names {
        let at = format!("{CGROUP}/{name}");
        match mount_at("cgroup", &at, "cgroup", name) {
            Ok(()) => mounted.push(name.clone()),
            // Newer kernels can be built without the version 1 side of a controller.
            Err(_) => fs::remove_dir(&at).with_context(|| format!("rmdir {at}"))?,
        }
    }
    Ok(mounted)
}

/// Version 2 beside what was mounted before, with the controllers that are left.
fn with_v2_beside(mounted: &[String]) -> Result<String> {
    mount_at("cgroup2", UNIFIED, "cgroup2", "").context("this kernel has no cgroup v2")?;
    Ok(format!(
        "v1 {} + v2 {}",
        mounted.join(" "),
        enable_controllers(UNIFIED)?
    ))
}

/// The controllers that a version 2 hierarchy has.
fn controllers(root: &str) -> Result<Vec<String>> {
    let path = format!("{root}/cgroup.controllers");
    let names = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// Enables every controller of the root for its children, and reports them.
fn enable_controllers(root: &str) -> Result<String> {
    let names = controllers(root)?;
    for name in &names {
        let path = format!("{root}/cgroup.subtree_control");
        fs::write(&path, format!("+{name}")).with_context(|| format!("write +{name} to {path}"))?;
    }
    Ok(names.join(" "))
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
