//! The process that empties the run's cgroup if the harness dies, even by SIGKILL.
//!
//! One per run, in a session of its own and outside the run's cgroup. It sleeps on the harness's pidfd. When that ends without having said
//! goodbye, everything in the run's cgroup (actors, observers, canaries) is killed and every directory of the run is removed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::clean;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::sys;
use crate::sys::fork::Worker;

/// The harness's handle on its watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    worker: Worker,
    goodbye: OwnedFd,
}

impl Watchdog {
    /// Starts the watchdog over `run` (v2), the run's directories in v1 hierarchies, and whatever hierarchies bear its name.
    pub(super) fn start(run: &Cgroup, v1: &[PathBuf], name: &str) -> Result<Self, SysError> {
        let harness = sys::pidfd::open(Pid::this()).map_err(|e| SysError::plain("pidfd_open", e))?;
        let (heard, goodbye) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
        // The watchdog keeps its copy of the write end, so the pipe never reports an end: only a byte or the pidfd wakes it.
        let worker = sys::fork::worker(0, None, || guard(&harness, &heard, run, v1, name))
            .map_err(|e| SysError::plain("fork the watchdog", e))?;
        Ok(Self { worker, goodbye })
    }

    /// Its process id, for leak checks.
    pub(super) fn pid(&self) -> Pid {
        self.worker.pid
    }

    /// Tells it that all is well, so that it ends. The caller reaps it.
    pub(super) fn dismiss(self) -> Result<Worker, SysError> {
        nix::unistd::write(&self.goodbye, b"b").map_err(|e| SysError::plain("write to the watchdog", e))?;
        Ok(self.worker)
    }
}

fn guard(harness: &OwnedFd, heard: &OwnedFd, run: &Cgroup, v1: &[PathBuf], name: &str) -> i32 {
    // A session of its own: Ctrl-C is not for the watchdog.
    if nix::unistd::setsid().is_err() {
        return 3;
    }
    loop {
        let mut fds = [
            PollFd::new(heard.as_fd(), PollFlags::POLLIN),
            PollFd::new(harness.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return 4,
        }
        // The goodbye is looked for first: a harness that said it and then ended has ended well.
        if fds[0].any().unwrap_or(false) && matches!(nix::unistd::read(heard, &mut [0u8; 1]), Ok(1)) {
            return 0;
        }
        if fds[1].any().unwrap_or(false) {
            break;
        }
    }
    let deadline = sys::time::now() + Duration::from_secs(10);
    let emptied = clean::empty_and_remove(run, v1, name, deadline, &mut || {});
    i32::from(emptied.is_err())
}
