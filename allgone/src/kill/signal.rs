//! One signal to one process, without ever hitting pid 0, pid 1 or oneself.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::KillReport;
use crate::sys::pidfd;

/// Whether `pid` may be signalled as a member of a set: it names a process (0 would mean the
/// caller's own process group, a negative number another group or every process), and it is neither
/// init nor the caller.
pub fn may_be_signalled(pid: i32, own: i32) -> bool {
    pid > 1 && pid != own
}

/// `kill(2)` by number: the process that has the number *now* is hit. For strategies that are
/// studied because they do that, and where the number cannot have been reused (the process is held,
/// or is an unreaped child).
///
/// Source: kill(2). Linux 1.0.
pub fn by_number(report: &mut KillReport, pid: i32, signal: Signal) {
    if !may_be_signalled(pid, Pid::this().as_raw()) {
        return;
    }
    report.about_to_signal();
    report.sent(kill(Pid::from_raw(pid), signal), pid);
}

/// Sends `signal` through a descriptor: to that process or to none.
///
/// Source: pidfd_send_signal(2). Linux 5.1.
pub fn by_pidfd(
    report: &mut KillReport,
    fd: &OwnedFd,
    pid: i32,
    signal: Signal,
) -> Result<(), Errno> {
    report.about_to_signal();
    let answer = pidfd::send_signal(fd.as_fd(), Some(signal));
    report.sent(answer, pid);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_that_is_pid_0_is_never_signalled() {
        let mut report = KillReport::begin();
        // SIGWINCH is ignored by default, so even a broken check would kill nothing; the counters
        // would show it.
        by_number(&mut report, 0, Signal::SIGWINCH);
        by_number(&mut report, -1, Signal::SIGWINCH);
        by_number(&mut report, 1, Signal::SIGWINCH);
        by_number(&mut report, Pid::this().as_raw(), Signal::SIGWINCH);
        assert_eq!(
            (report.signals, report.esrch, report.errors.len()),
            (0, 0, 0)
        );
        assert_eq!(report.first_signal_ns, 0);
    }

    #[test]
    fn who_died_first_is_counted() {
        let mut report = KillReport::begin();
        by_number(&mut report, i32::MAX, Signal::SIGKILL);
        assert_eq!(
            (report.signals, report.esrch, report.errors.len()),
            (0, 1, 0)
        );
    }

    proptest! {
        #[test]
        fn nothing_but_another_process_may_be_signalled(pid in any::<i32>(),
            own in 1i32..=4_194_304) {
            prop_assert_eq!(may_be_signalled(pid, own), pid >= 2 && pid != own);
        }
    }
}
