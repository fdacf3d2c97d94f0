//! The subreaper flag, for as long as a mechanism needs it.

use nix::errno::Errno;
use nix::sys::prctl;

use crate::error::SysError;
use crate::host::{ProbeError, Support};

/// `PR_SET_CHILD_SUBREAPER` of this process; dropping it restores what was there before.
#[derive(Debug)]
pub(crate) struct Subreaper {
    before: bool,
}

impl Subreaper {
    /// Sets it: from now on orphans of descendants become children of this process.
    pub(crate) fn become_one() -> Result<Self, SysError> {
        let before = prctl::get_child_subreaper()
            .map_err(|e| SysError::plain("prctl(PR_GET_CHILD_SUBREAPER)", e))?;
        prctl::set_child_subreaper(true)
            .map_err(|e| SysError::plain("prctl(PR_SET_CHILD_SUBREAPER)", e))?;
        Ok(Self { before })
    }

    /// Whether this kernel knows it.
    pub(crate) fn probe() -> Result<Support, ProbeError> {
        allgone::host::probe::tried("prctl", prctl::get_child_subreaper(), |errno| {
            (errno == Errno::EINVAL).then_some("Linux 3.4 or later")
        })
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        // It accepts any value once it has accepted one.
        match prctl::set_child_subreaper(self.before) {
            Ok(()) | Err(_) => {}
        }
    }
}
