//! What a figure depends on besides the program: captured once a run, for `environment.json`.
//!
//! What cannot be read is absent, never a default. Nothing is concluded: `preemption` holds three
//! separate facts and not a verdict.

mod capture;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the format. Fields are only ever added.
pub const SCHEMA: u32 = 1;

/// A machine, and the process on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// When it was captured, in seconds since 1970 (UTC).
    pub captured_unix_s: Option<u64>,
    /// The kernel.
    pub kernel: Kernel,
    /// Cgroups.
    pub cgroups: Cgroups,
    /// Processors.
    pub cpu: Cpu,
    /// Memory of the machine (`MemTotal`).
    pub memory_bytes: Option<u64>,
    /// What the machine runs in.
    pub virtualisation: Virtualisation,
    /// Limits that can stop a run.
    pub limits: Limits,
    /// Effective user id.
    pub euid: u32,
    /// Effective capabilities.
    pub capabilities: Vec<String>,
    /// What was built.
    pub build: Build,
}

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: Option<String>,
    /// `uname -m`.
    pub machine: Option<String>,
    /// Timer interrupts a second (`CONFIG_HZ`).
    pub hz: Option<u32>,
    /// How it preempts.
    pub preemption: Preemption,
    /// Current clock source.
    pub clocksource: Option<String>,
}

/// What is known about preemption.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preemption {
    /// Model chosen at build time: `none`, `voluntary`, `full`, `lazy` or `rt`.
    pub configured: Option<String>,
    /// Whether another one can be chosen at boot or at run time (`PREEMPT_DYNAMIC`, in the
    /// configuration or in `uname -v`).
    pub dynamic: Option<bool>,
    /// `preempt=` of the kernel command line.
    pub command_line: Option<String>,
    /// The model in force, from `/sys/kernel/debug/sched/preempt`.
    pub running: Option<String>,
}

/// Cgroup mounts, and what a run stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// `unified`, `hybrid`, `v1` or `none`.
    pub layout: String,
    /// Every mount.
    pub mounts: Vec<Mount>,
    /// Controllers that the v2 hierarchy offers at its root.
    pub v2_controllers: Option<Vec<String>>,
    /// The base, if one was found.
    pub base: Option<BaseFacts>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount point.
    pub point: String,
    /// `cgroup2`, or the controllers or name of a v1 hierarchy.
    pub hierarchy: String,
    /// Mount options.
    pub options: Vec<String>,
}

/// The base of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFacts {
    /// Its directory.
    pub path: String,
    /// How it was found.
    pub how: String,
    /// Where limits come from: `v2`, `v1` or `none`.
    pub limits: String,
    /// Whether there is a memory limit.
    pub memory_limit: bool,
    /// What was changed to get it.
    pub changes: Vec<String>,
    /// What was not had, and why.
    pub notes: Vec<String>,
}

/// Processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// `model name` of the first one.
    pub model: Option<String>,
    /// How many are online.
    pub online: Option<usize>,
    /// How many this process may use.
    pub allowed: Option<usize>,
    /// Frequency governor of the first one.
    pub governor: Option<String>,
}

/// What the machine runs in.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Virtualisation {
    /// Whether the processor says that there is a hypervisor. Absent where it has no such flag to
    /// say (not x86).
    pub hypervisor_flag: Option<bool>,
    /// Whether the processor's instructions are emulated, so that times are the emulator's: `true`
    /// for a processor that calls itself QEMU's TCG, `false` where there is no hypervisor. Absent
    /// where the machine does not say: an emulator may give itself any name.
    #[serde(default)]
    pub emulated: Option<bool>,
    /// `/sys/hypervisor/type`.
    pub hypervisor: Option<String>,
    /// `sys_vendor` of DMI.
    pub vendor: Option<String>,
    /// `product_name` of DMI.
    pub product: Option<String>,
    /// The file that says that this is a container.
    pub container: Option<String>,
}

/// Limits that can stop a run.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// `RLIMIT_NPROC`, soft and hard; absent if unlimited or unknown.
    pub nproc: Option<(u64, u64)>,
    /// `RLIMIT_NOFILE`, soft and hard.
    pub nofile: Option<(u64, u64)>,
    /// Sysctls, by their usual names.
    pub sysctl: BTreeMap<String, u64>,
    /// The smallest `pids.max` of own cgroup and its ancestors, as far as they are visible. Absent:
    /// unlimited or unknown.
    pub cgroup_pids_max: Option<u64>,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Version of the workspace.
    pub version: String,
    /// Git revision that was checked out when the library was built; says nothing about changes
    /// that were not committed.
    pub revision: Option<String>,
    /// Compiler.
    pub rustc: Option<String>,
    /// Whether it was built with debug assertions: then times are not comparable.
    pub debug_assertions: bool,
}
