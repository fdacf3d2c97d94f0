//! A process for probes: born in a cgroup, without a program of its own, never left behind.
//!
//! It executes `/dev/null`, which the kernel refuses; until then it can wait at a gate. So no
//! program is needed on disk, and a process with threads may start one.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use super::Refusal;
use crate::cgroup::Cgroup;
use crate::error::{SysError, Target, retry_eintr};
use crate::sys::pidfd;
use crate::sys::spawn::{self, ChildFailure, Entry, Plan, Session, Spawned, Step};
use crate::sys::wait::{Change, Whose, waitid};

/// How long a process that only has to end may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running subject.
#[derive(Debug)]
pub struct Subject {
    spawned: Spawned,
    /// The write end of its gate: it is held while this is open and unwritten.
    gate: Option<OwnedFd>,
    reaped: bool,
}

/// What happened to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Born in the cgroup, or moved.
    pub entry: Entry,
    /// It was ended by SIGKILL.
    pub killed: bool,
}

impl Subject {
    /// Starts one in `cgroup`; `held` keeps it at the gate until it is killed.
    pub fn start(cgroup: Option<&Cgroup>, clone_flags: u64, held: bool) -> Result<Self, Refusal> {
        let null = File::open("/dev/null")
            .map_err(|e| SysError::io("open /dev/null", Target::Nothing, &e))?;
        let gate = if held {
            Some(nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?)
        } else {
            None
        };
        let none: [CString; 0] = [];
        let plan = Plan {
            cgroup: cgroup.map(AsFd::as_fd),
            clone_flags,
            session: Session::Inherit,
            gate: gate.as_ref().map(|(read, _)| read.as_fd()),
            // Not all are born in a cgroup that the guards empty.
            parent_death_signal: Some(Signal::SIGKILL),
            ..Plan::new(null.as_fd(), &none)
        };
        let spawned = spawn::spawn(&plan).map_err(|e| Refusal::Entry {
            step: "clone3",
            errno: Errno::from_raw(e.raw_os_error().unwrap_or(nix::libc::EIO)),
        })?;
        Ok(Self {
            spawned,
            gate: gate.map(|(_, write)| write),
            reaped: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.spawned.pid.as_raw()
    }

    /// Waits until it has ended, by itself or by a kill that was issued before. A failure before
    /// exec is an error.
    pub fn end(mut self) -> Result<Fate, Refusal> {
        let pid = self.pid();
        let fail = |errno| SysError::pid("wait for the end", pid, errno);
        let mut fds = [PollFd::new(self.spawned.pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        if retry_eintr(|| poll(&mut fds, timeout)).map_err(fail)? == 0 {
            return Err(fail(Errno::ETIMEDOUT).into());
        }
        let end = self.reap().map_err(fail)?;
        match self.spawned.failure().map_err(fail)? {
            Some(ChildFailure { step, errno, .. }) if step != Step::Exec => Err(Refusal::Entry {
                step: step.name(),
                errno,
            }),
            _ => Ok(Fate {
                entry: self.spawned.entry,
                killed: end.signal() == Some(nix::libc::SIGKILL),
            }),
        }
    }

    fn reap(&mut self) -> Result<Change, Errno> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        let end = retry_eintr(|| waitid(Whose::Pidfd(self.spawned.pidfd.as_fd()), flags))?;
        // Without WNOHANG there is always one.
        let end = end.ok_or(Errno::ECHILD)?;
        self.reaped = true;
        self.gate = None;
        Ok(end)
    }

    /// Ends it by a signal to it alone.
    pub fn kill(self) -> Result<Fate, Refusal> {
        match pidfd::send_signal(self.spawned.pidfd.as_fd(), Some(Signal::SIGKILL)) {
            // ESRCH: it has ended already; the wait says how.
            Ok(()) | Err(Errno::ESRCH) => self.end(),
            Err(errno) => Err(SysError::pid("pidfd_send_signal", self.pid(), errno).into()),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if !self.reaped {
            // Its parent's death ends it too, and the removal of its cgroup says if it is still
            // there.
            match pidfd::send_signal(self.spawned.pidfd.as_fd(), Some(Signal::SIGKILL))
                .and_then(|()| self.reap())
            {
                Ok(_) | Err(_) => {}
            }
        }
    }
}
