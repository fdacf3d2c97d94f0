//! Named features of a machine, each really tried: what `scenario doctor` lists and what
//! `HARNESS_REQUIRE` may demand.

use thiserror::Error;

use super::probes::{cgroup, process, tracing};
use super::{Host, ProbeError, Support};

/// A feature that can be tried for.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Kebab-case.
    pub name: &'static str,
    /// What having it means, one sentence.
    pub summary: &'static str,
    probe: fn(&Host) -> Result<Support, ProbeError>,
}

impl Feature {
    /// Tries, cheaply, and undoes everything.
    pub fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        (self.probe)(host)
    }
}

macro_rules! features {
    ($($name:literal $probe:path, $summary:literal;)*) => {
        /// All features, sorted by name.
        pub static FEATURES: &[Feature] = &[$(Feature { name: $name, summary: $summary,
            probe: $probe }),*];
    };
}

features! {
    "bpf" tracing::bpf, "a BPF program can be attached to a raw tracepoint";
    "cgroup-kill" cgroup::kill, "a write to cgroup.kill ends a process";
    "cgroup2-write" cgroup::write, "a child of the base cgroup can be made and removed";
    "clone-into-cgroup" cgroup::clone_into, "clone3 lets a process be born in a cgroup";
    "freezer" cgroup::freezer, "a write to cgroup.freeze stops a process, and cgroup.events says \
        when";
    "inotify" process::inotify, "one more inotify instance can be had";
    "io-uring" tracing::io_uring, "an io_uring can be made";
    "memory-limit" cgroup::memory_limit, "a memory limit can be had for children of the base";
    "pid-namespace" process::pid_namespace, "a process can be the init of a new PID namespace";
    "pidfd" process::pidfd, "pidfd_open names a process";
    "pidfd-info" process::pidfd_info, "PIDFD_GET_INFO identifies the process behind a pidfd";
    "pids-limit" cgroup::pids_limit, "a limit on tasks can be had for children of the base";
    "proc-connector" tracing::proc_connector, "the kernel reports forks and exits through the \
        netlink connector";
    "root" process::root, "effective user 0 that may change user and group";
    "subreaper" process::subreaper, "orphans can be handed to this process";
    "taskstats" tracing::taskstats, "the kernel reports exits through taskstats";
    "tracefs" tracing::tracefs, "an own tracing instance can be made";
    "tracepoints" tracing::tracepoints, "the kernel's scheduler can be listened to, and names \
        processes as they are named here";
    "userns" process::user_namespace, "a user namespace can be made";
    "v1-freezer" cgroup::v1_freezer, "an own cgroup of the v1 freezer hierarchy can be made and \
        frozen";
    "v1-memory" cgroup::v1_memory, "an own cgroup of the v1 memory hierarchy can be made and \
        limited";
    "v1-pids" cgroup::v1_pids, "an own cgroup of the v1 pids hierarchy can be made and limited";
}

/// A name in a list of requirements that is not a feature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no feature {name:?}; did you mean {nearest}?")]
pub struct UnknownFeature {
    /// What was given.
    pub name: String,
    /// The feature with the most similar name.
    pub nearest: &'static str,
}

/// Finds a feature by its name, or names the one that comes nearest.
pub fn by_name(name: &str) -> Result<&'static Feature, UnknownFeature> {
    let found = FEATURES.iter().find(|f| f.name == name);
    found.ok_or_else(|| {
        let likeness = |f: &&Feature| -> u32 {
            let score = strsim::jaro_winkler(f.name, name) * 1e6;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and a million"
            )]
            let whole = score as u32;
            whole
        };
        UnknownFeature {
            name: name.to_owned(),
            nearest: FEATURES.iter().max_by_key(likeness).map_or("", |f| f.name),
        }
    })
}

/// A required feature that is not there, or could not be tried for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The feature.
    pub feature: &'static str,
    /// Why, with the kernel's answer.
    pub why: String,
    /// How to get it.
    pub remedy: String,
}

/// Tries each of `wanted` and returns what is missing. A probe that fails counts as missing:
/// unknown is not "there".
pub fn missing(wanted: &[&'static Feature], host: &Host) -> Vec<Missing> {
    let tried = wanted.iter().filter_map(|feature| {
        let (why, remedy) = match feature.probe(host) {
            Ok(Support::Available) => return None,
            Ok(Support::Missing { why, remedy }) => (why, remedy),
            Err(e) => (
                format!("the probe failed: {e}"),
                "fix the error of the probe".to_owned(),
            ),
        };
        Some(Missing {
            feature: feature.name,
            why,
            remedy,
        })
    });
    tried.collect()
}

/// Whether a test that needs something is run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything is there.
    Run,
    /// Something is missing; the text says what and why.
    Ignore(String),
    /// Something is missing that this machine was declared to have.
    Fail(String),
}

/// Decides on a test that needs `needs` on a machine that was declared to have `required`.
pub fn gate(needs: &[&'static Feature], required: &[&'static Feature], host: &Host) -> Gate {
    let lacking = missing(needs, host);
    let text = |m: &Missing| format!("{}: {}", m.feature, m.why);
    let declared = lacking
        .iter()
        .find(|m| required.iter().any(|f| f.name == m.feature));
    match (declared, lacking.first()) {
        (Some(m), _) => Gate::Fail(format!(
            "required here, but missing: {} (help: {})",
            text(m),
            m.remedy
        )),
        (None, Some(m)) => Gate::Ignore(text(m)),
        (None, None) => Gate::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(FEATURES.is_sorted_by(|a, b| a.name < b.name));
    }
}
