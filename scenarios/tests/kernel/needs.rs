//! What a test needs, what this machine has, and what `HARNESS_REQUIRE` says that it must have.

use std::collections::{BTreeMap, BTreeSet};

use harness::detect::DETECTORS;
use harness::host::features::FEATURES;
use harness::host::{Detected, Options, Support, detect};
use harness::kill::STRATEGIES;
use harness::requirements::OF_OTHER_TESTS;

/// Something that a test needs: a feature of `harness::host::features` (the names that the tests
/// use stand below), the id of a detector or of a strategy, or [`MOUNT`].
pub(crate) type Need = &'static str;

/// The process is root.
pub(crate) const ROOT: Need = "root";
/// A cgroup v2 directory in which children can be made.
pub(crate) const CGROUP2_WRITE: Need = "cgroup2-write";
/// A limit on tasks for these children.
pub(crate) const PIDS_LIMIT: Need = "pids-limit";
/// `clone3` with `CLONE_INTO_CGROUP`.
pub(crate) const CLONE_INTO_CGROUP: Need = "clone-into-cgroup";
/// Mounting in a mount namespace of one's own, with unshare(1).
pub(crate) const MOUNT: Need = "mount";
/// A user namespace in which limits on inotify can be lowered.
pub(crate) const OWN_LIMITS: Need = "own-limits";
/// PID namespaces.
pub(crate) const PID_NAMESPACE: Need = "pid-namespace";
/// The scheduler's tracepoints, in the initial PID namespace.
pub(crate) const TRACEPOINTS: Need = "tracepoints";
/// The v1 freezer hierarchy.
pub(crate) const V1_FREEZER: Need = "v1-freezer";
/// An own cgroup of the v1 cpu hierarchy.
pub(crate) const V1_CPU: Need = "v1-cpu";
/// The cpu controller of cgroup v2, enabled for the cgroups of a test.
pub(crate) const V2_CPU: Need = "v2-cpu";
/// A loop-mounted file system that can be frozen (FIFREEZE): a sleep that no signal ends.
pub(crate) const FILE_SYSTEM_FREEZE: Need = "file-system-freeze";

/// Kernel threads: they are seen and moved in the initial PID namespace alone.
pub(crate) const KERNEL_THREADS: Need = "kernel-threads";
/// This process can be stopped: the first one of a PID namespace cannot, from within.
pub(crate) const STOPPABLE: Need = "stoppable";

/// Programs that are real workloads, and can be executed by any user.
const PROGRAMS: [Need; 14] = [
    "program:cc",
    "program:git",
    "program:gpg-agent",
    "program:initdb",
    "program:make",
    "program:node",
    "program:npm",
    "program:postgres",
    "program:python3",
    "program:screen",
    "program:sh",
    "program:ssh-agent",
    "program:stress-ng",
    "program:tmux",
];

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// For each need, why it is missing, or nothing.
    has: BTreeMap<Need, Option<String>>,
    required: BTreeSet<Need>,
}

/// Why a test cannot be run.
#[derive(Debug)]
pub(crate) struct Missing {
    /// What, and the kernel's answer.
    pub why: String,
    /// `HARNESS_REQUIRE` names it.
    pub required: bool,
}

impl Machine {
    /// Tries everything once.
    pub(crate) fn look() -> Result<Self, String> {
        // Without a program to run again: a test does not move itself into a scope of systemd.
        let options = Options {
            program: None,
            ..Options::here()
        };
        let host = match detect(&options).map_err(|e| e.to_string())? {
            Detected::Here(here) => here.host,
            Detected::Rerun(rerun) => {
                return Err(format!("no program was given, and yet: {}", rerun.why));
            }
        };
        let support = |probed: Result<Support, _>| match probed {
            Ok(Support::Available) => None,
            Ok(Support::Missing { why, .. }) => Some(why),
            Err(e) => Some(format!("the probe failed: {e}")),
        };
        let mut has = BTreeMap::from([
            (MOUNT, mount()),
            (V1_CPU, v1_cpu()),
            (
                V2_CPU,
                super::place::Place::make()
                    .and_then(|place| place.cpu_limit().map(drop))
                    .err(),
            ),
            (OWN_LIMITS, super::fleet::no_own_limits()),
            (FILE_SYSTEM_FREEZE, super::place::FrozenFiles::make().err()),
            (KERNEL_THREADS, no_kernel_threads()),
            (
                STOPPABLE,
                (std::process::id() == 1).then(|| "this is PID 1".to_owned()),
            ),
        ]);
        for feature in FEATURES.iter() {
            has.insert(feature.name, support(feature.probe(&host)));
        }
        has.extend(PROGRAMS.map(|need| (need, not_installed(need))));
        for detector in DETECTORS {
            has.insert(detector.spec().id, support(detector.probe(&host)));
        }
        for strategy in STRATEGIES {
            has.insert(strategy.spec().id, support(strategy.probe(&host)));
        }
        let mut required = BTreeSet::new();
        let list = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
        let ours = |name: &&str| !name.is_empty() && !OF_OTHER_TESTS.contains(name);
        for name in list.split(',').map(str::trim).filter(ours) {
            let (known, _) = has.get_key_value(name).ok_or_else(|| {
                format!(
                    "HARNESS_REQUIRE names {name:?}, which is none of {:?}",
                    has.keys()
                )
            })?;
            required.insert(*known);
        }
        Ok(Self { has, required })
    }

    /// The first of `needs` that this machine does not have.
    pub(crate) fn missing(&self, needs: &[Need]) -> Option<Missing> {
        let name = needs
            .iter()
            .find(|need| self.has.get(*need).is_none_or(Option::is_some))?;
        let why = self
            .has
            .get(name)
            .cloned()
            .flatten()
            .unwrap_or_else(|| "no such feature is known".to_owned());
        Some(Missing {
            why: format!("{name}: {why}"),
            required: self.required.contains(name),
        })
    }
}

/// Why no user but root can execute a program, if so. The workloads have a user of their own, and
/// find programs in this process's PATH.
fn not_installed(need: Need) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let name = need.strip_prefix("program:").unwrap_or(need);
    let for_all = |path: &std::path::Path| {
        let all_may = |path: &std::path::Path| {
            std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o001 != 0)
        };
        path.canonicalize()
            .is_ok_and(|path| path.is_file() && path.ancestors().all(all_may))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| for_all(&dir.join(name)));
    (!found).then(|| "not installed for every user".to_owned())
}

fn mount() -> Option<String> {
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(e) => Some(format!("unshare: {e}")),
    }
}

fn no_kernel_threads() -> Option<String> {
    let comm = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    (comm != "kthreadd\n").then(|| "there is no kthreadd".to_owned())
}

fn v1_cpu() -> Option<String> {
    super::place::V1Dir::make("cpu").err()
}
