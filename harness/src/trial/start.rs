//! Starting the observer of a trial: the pipe it reports through, the fork, and the tracepoints
//! that are to be open before it arms.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::messages::Messages;
use super::prepare::Trial;
use super::trace::Tracer;
use super::{TrialError, observer};
use crate::error::SysError;
use crate::sys::fork::Worker;
use crate::sys::{fork, pidfd};

/// An observer that runs, from the harness's side.
#[derive(Debug)]
pub(super) struct RunningObserver {
    pub(super) worker: Worker,
    pub(super) messages: Messages,
    /// In a trial that is traced.
    pub(super) tracer: Option<Tracer>,
}

impl RunningObserver {
    /// Forks the observer. After an error it may run; it is a child in the control cgroup then, and
    /// is ended with the trial.
    pub(super) fn start(trial: &Trial<'_, '_>) -> Result<Self, TrialError> {
        let (site, spec) = (&trial.site, trial.spec);
        let (hear, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|e| SysError::plain("pipe2", e))?;
        let start = match spec.conditions.trace {
            true => Some(
                nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?,
            ),
            false => None,
        };
        let (start, go) = start.unzip();
        let (tell, start) = (Cell::new(Some(tell)), Cell::new(start));
        let control = trial.run.control().as_fd();
        let worker = fork::worker(0, Some(control), || match tell.take() {
            Some(tell) => observer::run(site, spec, trial.oom.in_trial, tell, start.take()),
            None => 104,
        })
        .map_err(|e| SysError::plain("fork the observer", e))?;
        drop((tell, start));
        let tracer = match go {
            Some(go) => {
                let tracer = Tracer::attach(worker.pid, site, spec)?;
                nix::unistd::write(&go, b"g")
                    .map_err(|e| SysError::plain("write to the observer", e))?;
                Some(tracer)
            }
            None => None,
        };
        Ok(Self {
            worker,
            messages: Messages::from(hear),
            tracer,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        self.worker.pid
    }

    /// Readable when there is something to read, or when it has ended.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.messages.fd(), self.worker.pidfd.as_fd()];
        fds.extend(self.tracer.iter().flat_map(Tracer::fds));
        fds
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> Result<bool, SysError> {
        pidfd::has_exited(self.worker.pidfd.as_fd()).map_err(|e| SysError::plain("poll pidfd", e))
    }
}
