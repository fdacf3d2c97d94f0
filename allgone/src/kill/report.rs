//! What a strategy did.

use nix::errno::Errno;

use super::Fallback;
use crate::error::SysError;
use crate::sys::time::now;

/// What a strategy did. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KillReport {
    /// When the strategy began to act: to freeze, to look, to signal.
    pub begun_ns: u64,
    /// When all members were known to be held still (`frozen 1`), if the strategy waits for that.
    pub held_ns: Option<u64>,
    /// Just before the first signal (or write that signals). 0 if there was none.
    pub first_signal_ns: u64,
    /// After the last one.
    pub last_signal_ns: u64,
    /// When the strategy had nothing more to do.
    pub issued_ns: u64,
    /// Signals sent one by one. A write to `cgroup.kill` counts as one.
    pub signals: u64,
    /// Passes over the members.
    pub passes: u64,
    /// Signals answered with `ESRCH`: the process died first.
    pub esrch: u64,
    /// Members that could not be named (pid 0) and were not signalled.
    pub foreign: u64,
    /// Whether it gave up at the deadline.
    pub gave_up: bool,
    /// Whether the kernel kills most of the set only when another process has ended (an init, a
    /// tracer, a parent): "issued" then means less.
    pub indirect: bool,
    /// Whether the processes are ended by the kernel's OOM killer, on the strategy's order.
    pub by_oom: bool,
    /// What it did instead of what its name says, and why: each once.
    pub fallbacks: Vec<Fallback>,
    /// Other errors it met and went on.
    pub errors: Vec<SysError>,
}

/// How many errors are kept one by one in a report.
const ERRORS_KEPT: usize = 16;

impl KillReport {
    /// Begins a report: the strategy begins to act.
    pub fn begin() -> Self {
        Self {
            begun_ns: now().0,
            ..Self::default()
        }
    }

    /// Stamps the first signal. Call it right before each.
    pub fn about_to_signal(&mut self) {
        if self.first_signal_ns == 0 {
            self.first_signal_ns = now().0;
        }
    }

    /// Notes that a signal (or a write that signals) was sent or answered with `ESRCH`.
    pub fn sent(&mut self, answer: Result<(), Errno>, pid: i32) {
        match answer {
            Ok(()) => {
                self.last_signal_ns = now().0;
                self.signals += 1;
            }
            Err(Errno::ESRCH) => self.esrch += 1,
            Err(errno) => self.met(&SysError::pid("signal", pid, errno)),
        }
    }

    /// Notes an error after which the strategy went on. The same error is kept once, and only so
    /// many: a loop may meet it a million times.
    pub fn met(&mut self, error: &SysError) {
        if self.errors.len() < ERRORS_KEPT && !self.errors.contains(error) {
            self.errors.push(error.clone());
        }
    }

    /// Notes that it does something else than its name says, and why.
    pub fn fall_back(&mut self, fallback: Fallback) {
        if !self.fallbacks.contains(&fallback) {
            self.fallbacks.push(fallback);
        }
    }

    /// Ends a report: nothing more to do.
    #[must_use]
    pub fn issued(mut self) -> Self {
        self.issued_ns = now().0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_and_keeps_each_error_once() {
        let mut report = KillReport::begin();
        report.about_to_signal();
        report.sent(Ok(()), 7);
        report.sent(Err(Errno::ESRCH), 8);
        for _ in 0..100 {
            report.sent(Err(Errno::EPERM), 9);
        }
        let by_number = Fallback::SignalledByNumber(Errno::ENOSYS);
        report.fall_back(by_number.clone());
        report.fall_back(Fallback::DidNotWaitForFrozen);
        report.fall_back(by_number.clone());
        let report = report.issued();
        assert_eq!(
            (report.signals, report.esrch, report.errors.len()),
            (1, 1, 1)
        );
        assert_eq!(report.errors[0].errno, Errno::EPERM);
        assert_eq!(report.fallbacks, [by_number, Fallback::DidNotWaitForFrozen]);
        assert!(
            report.begun_ns <= report.first_signal_ns
                && report.first_signal_ns <= report.last_signal_ns
        );
        assert!(report.last_signal_ns <= report.issued_ns);
    }
}
