//! What a tracer that is the subreaper of all its tracees needs. The tests of the guard use it, and
//! those of the launcher in `sandbox/tests/run/points`.
//!
//! Sources: ptrace(2), waitid(2), proc(5).

use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use allgone::sys::wait::{Change, Whose, waitid};
use nix::errno::Errno;
use nix::sys::ptrace::Options;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

/// Every process of a tree stops at each entry into and exit from a system call.
pub(crate) fn whole_tree() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
}

/// The next change of a child or tracee. `None`: there was none for so long. `ECHILD`: there is
/// nothing left that could change.
pub(crate) fn changed(limit: Duration) -> Option<Result<Change, Errno>> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
    let deadline = now() + limit;
    let mut looks = 0u32;
    loop {
        match waitid(Whose::Any, flags | WaitPidFlag::WNOHANG) {
            Ok(Some(change)) => return Some(Ok(change)),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(e) => return Some(Err(e)),
        }
        if deadline.has_passed() {
            return None;
        }
        // The next stop is mostly a few microseconds away.
        looks += 1;
        if looks < 200 {
            std::thread::yield_now();
        } else {
            sleep_until(now() + Duration::from_micros(100)).unwrap();
        }
    }
}

/// How it ended, as a shell says it.
pub(crate) fn code(change: &Change) -> Option<i32> {
    let signal = || change.signal().map(|signal| 128 + signal);
    change.exit_code().or_else(signal)
}

/// A process that has been killed meanwhile is no error.
pub(crate) fn ignore(result: Result<(), Errno>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => panic!("{e}"),
    }
}

/// The parent's number.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// One in words, for a failure.
pub(crate) fn told(pid: Pid) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:"));
    let line = read("cmdline").unwrap_or_default().replace('\0', " ");
    let (state, call) = (
        state.unwrap_or_default(),
        read("syscall").unwrap_or_default(),
    );
    format!("{pid} {line:?} {state} in {}", call.trim())
}
