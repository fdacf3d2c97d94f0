//! The last phase of a trial: survivors, canaries, cgroups and children of it are ended and
//! removed, whatever the phases before have come to.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::conclude::Concluded;
use super::prepare::Trial;
use super::{Run, Site, TrialError, leaks, objects};
use crate::MonoNs;
use crate::error::SysError;
use crate::record::TrialRecord;
use crate::sys::time;

/// How long a process that was killed may stay a child of the harness.
const DYING: Duration = Duration::from_secs(5);

impl Concluded<'_, '_> {
    /// Cleans up and hands out the record. A trial that leaves something behind ends the run.
    pub(super) fn clean(self) -> Result<TrialRecord, TrialError> {
        let Trial {
            run,
            spec,
            site,
            mut record,
            ..
        } = self.trial;
        for canary in self.canaries {
            canary.release()?;
        }
        let emptied_by_kill = record.stamps.unpopulated_ns.is_some();
        run.clean(Some(&Site::part(spec)))?;
        if spec.stage.leaves_objects {
            objects::remove(site.ledger.tag())?;
        }
        if emptied_by_kill {
            record
                .stamps
                .removed_ns
                .get_or_insert_with(|| time::now().0);
        }
        // A process that was killed above is a zombie for a moment; a child that stays is a leak.
        end_children(run, &site, time::now() + DYING)?;
        record.stamps.reaped_ns.get_or_insert_with(|| time::now().0);
        Ok(record)
    }
}

/// Kills the children of the harness that ought not to be there, until there are none.
fn end_children(run: &mut Run<'_>, site: &Site, patience: MonoNs) -> Result<(), TrialError> {
    let expected = run.expected_children();
    loop {
        let strays = leaks::stray_children(&expected)?;
        if strays.is_empty() {
            return Ok(());
        }
        if patience.has_passed() {
            return Err(TrialError::Stuck {
                path: site.parent.path().to_path_buf(),
                seconds: DYING.as_secs(),
                why: format!("processes {strays:?} are children of the harness and do not end"),
            });
        }
        for pid in &strays {
            // Helpers in the control cgroup (an owner that still tries) end with the trial. They
            // are our children, so the number is theirs.
            match nix::sys::signal::kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(SysError::pid("kill", *pid, errno).into()),
            }
        }
        run.rest(&[], Duration::from_millis(1))?;
    }
}
