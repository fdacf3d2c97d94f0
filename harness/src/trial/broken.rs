//! A trial that says nothing about a mechanism: why, by kind and in words.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::record::Cause;
use crate::sys::wait::Change;

/// Why a trial broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broken {
    pub(super) cause: Cause,
    /// The process and the event, or the operation that failed, for the record's note.
    pub(super) what: String,
    /// The kernel's answer, if that is why.
    pub(super) errno: Option<String>,
}

impl Broken {
    pub(super) fn new(cause: Cause, what: impl Into<String>) -> Self {
        Self {
            cause,
            what: what.into(),
            errno: None,
        }
    }

    /// `error` as a cause of its own, or as an exhausted resource if it is one: neither mechanism
    /// nor harness is to blame for a limit.
    pub(super) fn by(cause: Cause, error: impl Reason) -> Self {
        let cause = match error.errno() {
            Some(errno) if EXHAUSTION.contains(&errno) => Cause::OutOfResources,
            _ => cause,
        };
        Self {
            errno: error.errno().map(|errno| format!("{errno:?}")),
            ..Self::new(cause, error.to_string())
        }
    }

    /// A process of the trial was stopped by something outside of it.
    pub(super) fn stopped(pids: &[i32]) -> Self {
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        Self::new(
            Cause::StoppedFromOutside,
            format!(
                "process {} was stopped by a signal (SIGSTOP), which nothing of the trial sends",
                pids.join(", ")
            ),
        )
    }

    /// What a detector or strategy answered instead of a verdict.
    pub(super) fn mechanism(error: impl Reason) -> Self {
        Self::by(Cause::MechanismFailed, error)
    }

    /// An error of the harness's own side.
    pub(super) fn harness(error: impl Reason) -> Self {
        Self::by(Cause::HarnessFailed, error)
    }
}

/// Errors that mean that a resource is exhausted. `ENOBUFS` is not one of them: lost events are a
/// property of the mechanism.
const EXHAUSTION: [Errno; 5] = [
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EAGAIN,
];

/// Whether the name of an answer says that something ran out.
pub(super) fn is_exhaustion(name: &str) -> bool {
    EXHAUSTION.iter().any(|errno| format!("{errno:?}") == name)
}

/// The signal that ended a helper. A copy of the harness has its handlers, which exit with 128 and
/// the signal's number. A number, because real-time signals have no name.
pub(super) fn signal_of(end: Change) -> Option<i32> {
    let handled = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].map(|signal| signal as i32);
    let handled = handled
        .into_iter()
        .find(|signal| end.exit_code() == Some(128 + signal));
    end.signal().or(handled)
}

/// How a process ended.
pub(super) fn end_in_words(end: Option<Change>) -> String {
    if let Some(number) = end.and_then(signal_of) {
        return match Signal::try_from(number) {
            Ok(signal) => format!("was ended by {signal}"),
            Err(_) => format!("was ended by signal {number}"),
        };
    }
    match end.and_then(|end| end.exit_code()) {
        Some(code) => format!("exited with {code}"),
        None => "ended, how is not known".to_owned(),
    }
}

/// For tests: an end by exit code.
#[cfg(test)]
pub(super) fn exited(code: i32) -> Change {
    Change {
        pid: nix::unistd::Pid::from_raw(7),
        code: nix::libc::CLD_EXITED,
        status: code,
    }
}

/// For tests: an end by a signal.
#[cfg(test)]
pub(super) fn signalled(number: i32) -> Change {
    Change {
        code: nix::libc::CLD_KILLED,
        ..exited(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SysError;
    use crate::detect::DetectError;

    #[test]
    fn a_signal_is_seen_through_an_inherited_handler() {
        assert_eq!(signal_of(signalled(9)), Some(9));
        assert_eq!(signal_of(exited(129)), Some(1));
        assert_eq!(signal_of(exited(1)), None);
        assert_eq!(end_in_words(Some(exited(143))), "was ended by SIGTERM");
        assert_eq!(end_in_words(Some(signalled(40))), "was ended by signal 40");
    }

    #[test]
    fn what_ran_out_is_told_apart_from_what_failed() {
        let limit = DetectError::Limit {
            limit: "fs.inotify.max_user_instances",
            value: Some(128),
            errno: Errno::EMFILE,
            remedy: "raise it",
        };
        let broken = Broken::mechanism(limit);
        assert_eq!(broken.cause, Cause::OutOfResources);
        assert_eq!(broken.errno.as_deref(), Some("EMFILE"));
        let opened = SysError::path("open", "/x/cgroup.events", Errno::ENFILE);
        assert_eq!(Broken::mechanism(opened).cause, Cause::OutOfResources);
        let forked = std::io::Error::from_raw_os_error(Errno::EAGAIN as i32);
        assert_eq!(
            Broken::by(Cause::NotStarted, forked).cause,
            Cause::OutOfResources
        );
        // What an error says in words decides nothing.
        let named = "the file EMFILE: could not be found (os error 24)".to_owned();
        assert_eq!(Broken::harness(named).cause, Cause::HarnessFailed);
        let lost = SysError::plain("receive process events", Errno::ENOBUFS);
        assert_eq!(Broken::mechanism(lost).cause, Cause::MechanismFailed);
        assert!(is_exhaustion("EMFILE") && !is_exhaustion("EPERM"));
    }
}
