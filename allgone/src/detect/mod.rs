//! Completion detectors: ways to learn that a set of processes is gone. One file each.
//!
//! A [`Detector`] has no state; [`Detector::arm`] makes the [`Watch`] of one set. The order is
//! always the same: `arm` before the program exists, `attach` right after it was started, then
//! `check` until there is a verdict, `finish`.
//!
//! A watch can be waited for ([`Watch::wait`]), or polled by a loop of one's own: sleep on its
//! [`Sources`] until the next look that the last [`Progress`] asks for, then call `check`, which
//! never sleeps.
//!
//! Invariants: an error while reading is [`Verdict::Unknown`]; an event is only a hint to read the
//! state again; "empty" is said only after a read that showed it.
//!
//! A mechanism that can only block (in `waitid(2)`, as a tracer, by spinning) implements
//! [`BlockingDetector`] instead.
//!
//! The mechanisms of this crate change nothing in the process that uses them; [`DETECTORS`] lists
//! them and [`RECOMMENDED`] names the one to take. A mechanism of one's own implements the same
//! traits: see `examples/own_detector.rs`.

mod backoff;
pub mod bpf;
mod bpf_notify_populated;
mod cgroup_events_poll;
mod cgroup_procs_poll;
pub mod kernel_path;
mod level;
pub mod limit;
mod pidfd_cgroup_events;
mod pidfd_main;
mod pool;
mod prepopulated_cgroup;
pub mod sleep;
mod sources;
mod spec;
mod verdict;

use std::fmt;

use thiserror::Error;

use crate::MonoNs;
use crate::cgroup::CgroupError;
use crate::error::SysError;
use crate::host::{Host, ProbeError, Support};
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};

pub use backoff::Backoff;
pub use bpf_notify_populated::BpfNotifyPopulated;
pub use cgroup_events_poll::CgroupEventsPoll;
pub use cgroup_procs_poll::CgroupProcsPoll;
pub use level::{Level, begun, entered, entered_behind_gate};
pub use pidfd_cgroup_events::PidfdCgroupEvents;
pub use pidfd_main::PidfdMain;
pub use pool::{Placeholder, Pool, Warm};
pub use prepopulated_cgroup::PrepopulatedCgroup;
pub use sources::{Interest, Sources, wait};
pub use spec::{DetectorSpec, INTERVAL, Signal, Wake};
pub use verdict::{Counters, Tally, Verdict};

/// Why everything that sleeps on `cgroup.events` is late.
pub const RATE_LIMIT: &str = "by 10 to 20 ms if another event of the file came less than 10 ms \
    before, as in every job that lives less than that (its own start is the other event), and \
    after a freeze; else one wake-up";

/// One way to learn that a set is gone.
pub trait Detector: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static DetectorSpec;

    /// Whether this machine offers it to this process; if not, why, and how to get it. It tries the
    /// mechanism and never compares versions.
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// Prepares to watch `set`, and says through `spawn` what the program's birth needs (a flag, a
    /// descriptor, a gate).
    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn Watch>, DetectError>;
}

/// A detector that watches one set. It is owned and can be moved to another thread.
pub trait Watch: fmt::Debug + Send + 'static {
    /// Called once, right after the program was started.
    ///
    /// Returns at once, unless the kernel refused to let the program be born in its cgroup: then it
    /// waits until the program is in the cgroup, because before that an empty cgroup means nothing.
    fn attach(&mut self, child: &Child) -> Result<(), DetectError>;

    /// What to sleep on before the next check. Call it again after a check that says that the
    /// sources have changed.
    fn sources(&self) -> Sources<'_>;

    /// Reads the state; `now` is the time of the wake-up. Never sleeps, and leaves no source ready
    /// that it has dealt with. Not called again after a verdict.
    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError>;

    /// Releases everything and returns the counters. It may be called at any time: that cancels the
    /// watch.
    fn finish(self: Box<Self>) -> Counters;

    /// Sleeps until there is a verdict or `deadline` has passed. To be overridden only where the
    /// loop is the mechanism.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        wait(self, deadline)
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The verdict, if there is one.
    pub verdict: Option<Verdict>,
    /// When to check again at the latest, even if no source is ready.
    pub next_look: Option<MonoNs>,
    /// Whether [`Watch::sources`] answers otherwise than before.
    pub sources_changed: bool,
}

impl Progress {
    /// There is a verdict.
    pub fn done(verdict: Verdict) -> Self {
        Self {
            verdict: Some(verdict),
            next_look: None,
            sources_changed: false,
        }
    }

    /// There is none, and only a source can change that.
    pub fn pending() -> Self {
        Self {
            verdict: None,
            next_look: None,
            sources_changed: false,
        }
    }

    /// A verdict, or none.
    pub fn of(verdict: Option<Verdict>) -> Self {
        Self {
            verdict,
            ..Self::pending()
        }
    }

    /// Check again at `at` at the latest.
    #[must_use]
    pub fn look_at(mut self, at: MonoNs) -> Self {
        self.next_look = Some(at);
        self
    }

    /// The sources have changed.
    #[must_use]
    pub fn with_new_sources(mut self, changed: bool) -> Self {
        self.sources_changed = changed;
        self
    }
}

/// One way to learn that a set is gone that can only block.
pub trait BlockingDetector: fmt::Debug + Sync {
    /// The facts.
    fn spec(&self) -> &'static DetectorSpec;

    /// As [`Detector::probe`].
    fn probe(&self, host: &Host) -> Result<Support, ProbeError>;

    /// As [`Detector::arm`].
    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError>;
}

/// A blocking detector that watches one set.
pub trait BlockingWatch: fmt::Debug + Send + 'static {
    /// As [`Watch::attach`].
    fn attach(&mut self, child: &Child) -> Result<(), DetectError>;

    /// Blocks until there is a verdict or `deadline` has passed. Not called again after a verdict.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError>;

    /// As [`Watch::finish`].
    fn finish(self: Box<Self>) -> Counters;
}

/// A detector could not be set up or went wrong in a way that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A cgroup file.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A limit of the machine was reached.
    #[error("{limit} ({}) is exhausted ({errno}): {remedy}", in_words(*value))]
    Limit {
        /// Which: `fs.inotify.max_user_instances`, `RLIMIT_NOFILE`.
        limit: &'static str,
        /// Its value, if it could be read.
        value: Option<u64>,
        /// What the kernel answered.
        errno: nix::errno::Errno,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The kernel's verifier refused a BPF program.
    #[error("could not load a BPF program for {tracepoint}: {errno}: the verifier says: {log}")]
    Verifier {
        /// What it was to be attached to.
        tracepoint: String,
        /// What the kernel answered.
        errno: nix::errno::Errno,
        /// The verifier's log.
        log: String,
    },
}

impl crate::error::Reason for DetectError {
    fn errno(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Sys(e) => Some(e.errno),
            Self::Cgroup(e) => e.errno(),
            Self::Limit { errno, .. } | Self::Verifier { errno, .. } => Some(*errno),
        }
    }
}

/// Support from the result of arming something; limits are reported as missing with their remedy.
pub fn armed<T>(result: Result<T, DetectError>) -> Result<Support, ProbeError> {
    match result {
        Ok(_) => Ok(Support::Available),
        Err(DetectError::Limit {
            limit,
            errno,
            remedy,
            ..
        }) => Ok(Support::missing(
            format_args!("{limit} is exhausted ({errno})"),
            remedy,
        )),
        Err(DetectError::Sys(e)) => Err(e.into()),
        Err(DetectError::Cgroup(e)) => Err(e.into()),
        Err(DetectError::Verifier {
            tracepoint, errno, ..
        }) => Err(SysError::path("load a BPF program for", tracepoint, errno).into()),
    }
}

fn in_words(value: Option<u64>) -> String {
    value.map_or_else(|| "value not known".to_owned(), |value| value.to_string())
}

impl From<nix::errno::Errno> for DetectError {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Sys(SysError::plain("system call", errno))
    }
}

/// The mechanisms of this crate, sorted by id.
pub static DETECTORS: &[&dyn Detector] = &[
    &BpfNotifyPopulated,
    &CgroupEventsPoll,
    &CgroupProcsPoll,
    &PidfdCgroupEvents,
    &PidfdMain,
    &PrepopulatedCgroup,
];

/// The detector to take if there is no reason for another.
pub static RECOMMENDED: &dyn Detector = &PidfdCgroupEvents;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanisms_are_sorted_and_harmless() {
        let ids: Vec<&str> = DETECTORS.iter().map(|d| d.spec().id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for spec in DETECTORS.iter().map(|d| d.spec()) {
            assert!(spec.effects.are_harmless(), "{}", spec.id);
            let file = format!(
                "{}/src/detect/{}.rs",
                env!("CARGO_MANIFEST_DIR"),
                spec.id.replace(['-', '+'], "_")
            );
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
    }
}
