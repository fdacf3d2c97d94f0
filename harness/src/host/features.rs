//! Named features of a machine, each really tried: what `scenario doctor` lists and what
//! `HARNESS_REQUIRE` may demand. Those of the library are in [`allgone::host::features`].

use std::sync::LazyLock;

use thiserror::Error;

use super::probes::{process, tracing};
use super::{Host, Support};

pub use allgone::host::features::Feature;

/// All features, sorted by name.
pub static FEATURES: LazyLock<Vec<&'static Feature>> = LazyLock::new(|| {
    let mut all: Vec<_> = allgone::host::features::FEATURES
        .iter()
        .chain(OF_CONTENDERS)
        .collect();
    all.sort_by_key(|feature| feature.name);
    all
});

macro_rules! features {
    ($($name:literal $probe:path, $summary:literal;)*) => {
        /// What contenders need beyond the features of the library.
        static OF_CONTENDERS: &[Feature] = &[$(Feature { name: $name, summary: $summary,
            run: $probe }),*];
    };
}

features! {
    "bpf" tracing::bpf, "a BPF program can be attached to a raw tracepoint";
    "cpu-limit" process::cpu_limit, "a limit on processor time can be had for a trial";
    "inotify" process::inotify, "one more inotify instance can be had";
    "io-uring" tracing::io_uring, "an io_uring can be made";
    "io-uring-unprivileged" tracing::io_uring_unprivileged, "so can a process without privileges";
    "kernel-objects" process::kernel_objects, "objects of System V and POSIX queues can be made";
    "pid-namespace" process::pid_namespace, "a process can be the init of a new PID namespace";
    "proc-connector" tracing::proc_connector, "the kernel reports forks and exits through the \
        netlink connector";
    "realtime" process::realtime, "a process here can take a real-time priority";
    "root" process::root, "effective user 0 that may change user and group";
    "setuid-file" process::setuid_file, "a set-user-ID file can be made, and is heeded";
    "subreaper" process::subreaper, "orphans can be handed to this process";
    "taskstats" tracing::taskstats, "the kernel reports exits through taskstats";
    "tracefs" tracing::tracefs, "an own tracing instance can be made";
    "tracepoints" tracing::tracepoints, "the kernel's scheduler can be listened to, and names \
        processes as they are named here";
    "userfaultfd" process::userfaultfd, "a process can have the kernel wait for a page";
    "userns" process::user_namespace, "a user namespace can be made";
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
    let found = FEATURES.iter().copied().find(|f| f.name == name);
    found.ok_or_else(|| {
        let likeness = |f: &&&Feature| -> u32 {
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
