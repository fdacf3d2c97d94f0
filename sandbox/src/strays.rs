//! What init leaves becomes the launcher's: it is killed and reaped. When all of that has been
//! reaped, nothing is left.
//!
//! The kernel has killed what a tracer leaves. In the cgroup tier it may be a process that has
//! moved out of the cgroup, or one that `cgroup.kill` spares because its first thread has ended.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::sys::wait::{Whose, waitid};
use allgone::{MonoNs, SysError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

/// Makes this process the parent of orphans, and remembers what was its child before.
#[derive(Debug)]
pub(crate) struct Strays {
    before: Vec<i32>,
}

impl Strays {
    /// Before anything is started. Errors: a machine without /proc, if there are children already
    /// (this program may have been executed by a process that had some).
    pub(crate) fn begin() -> Result<Self, SysError> {
        prctl::set_child_subreaper(true)
            .map_err(|e| SysError::plain("prctl(PR_SET_CHILD_SUBREAPER)", e))?;
        // Nothing that is started may take this process over.
        prctl::set_dumpable(false).map_err(|e| SysError::plain("prctl(PR_SET_DUMPABLE)", e))?;
        let flags = WaitPidFlag::WEXITED
            | WaitPidFlag::WNOHANG
            | WaitPidFlag::WNOWAIT
            | WaitPidFlag::__WALL;
        let before = match waitid(Whose::Any, flags) {
            Err(Errno::ECHILD) => Vec::new(),
            _ => children()?,
        };
        Ok(Self { before })
    }

    /// Kills and reaps what is left. Errors: who is still there at the deadline.
    pub(crate) fn end(&self, signals: &SignalFd, deadline: MonoNs) -> Result<(), String> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        loop {
            // Before the look, so that an end after it is told again.
            while let Ok(Some(_)) = signals.read_signal() {}
            match waitid(Whose::Any, flags) {
                Ok(Some(_)) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(()),
                Ok(None) => {}
                Err(e) => return Err(format!("waitid: {e}")),
            }
            // Without children from before there is nothing to tell apart.
            if !self.before.is_empty() && self.left()?.is_empty() {
                return Ok(());
            }
            // Without /proc their numbers are not known. The kernel kills a tracer's tracees.
            for pid in self.left().into_iter().flatten() {
                // A child keeps its number until it is reaped here. Its children are this process's
                // next.
                match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(_) => {}
                }
            }
            if deadline.has_passed() {
                let left = self.left()?.into_iter();
                let left: Vec<_> = left
                    .map(|pid| crate::end::state(Pid::from_raw(pid)))
                    .collect();
                return Err(format!("did not end after SIGKILL: {}", left.join(", ")));
            }
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let left = deadline.remaining() + Duration::from_millis(1);
            match poll(
                &mut fds,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(format!("poll: {e}")),
            }
        }
    }
}

impl Strays {
    /// Children that were not there before. Errors: there is no /proc that says so.
    fn left(&self) -> Result<Vec<i32>, String> {
        let mut left = children().map_err(|e| e.to_string())?;
        left.retain(|pid| !self.before.contains(pid));
        Ok(left)
    }
}

/// The numbers of this process's children, which has one thread.
fn children() -> Result<Vec<i32>, SysError> {
    let this = std::process::id();
    let path = format!("/proc/self/task/{this}/children");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| SysError::io("read", allgone::Target::Path(path.into()), &e))?;
    Ok(text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}
