//! Checks before the first trial that the actors' user can start the workload at all.

use std::os::fd::{AsFd, AsRawFd};

use super::{Run, TrialError, Workload};
use crate::host::another_user;
use crate::sys::spawn::ChildFailure;

impl Run<'_> {
    /// Starts the workload's program once, without input and ledger, and ends it at its exec.
    ///
    /// # Errors
    ///
    /// [`TrialError::NotExecutable`]: each trial would break for this reason.
    pub fn try_to_start(&self, workload: &Workload) -> Result<(), TrialError> {
        let cgroup = Some(self.control().as_fd());
        let failure = another_user::attempt(
            workload.exe.as_fd(),
            &workload.argv,
            cgroup,
            self.credentials(),
        )?;
        let Some(ChildFailure { step, errno, .. }) = failure else {
            return Ok(());
        };
        let link = format!("/proc/self/fd/{}", workload.exe.as_raw_fd());
        let user = self.credentials().map(|user| user.uid);
        Err(TrialError::NotExecutable {
            program: std::fs::read_link(&link).unwrap_or(link.into()),
            user: user.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            step: step.name(),
            errno,
        })
    }
}
