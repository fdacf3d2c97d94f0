//! After the verdict: the truth, reaping and removal, the canaries, and taking down the site.

use std::time::Duration;

use allgone::survivors::{self, Survivor};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::broken::Broken;
use super::canary::LiveCanary;
use super::oracle::{self, State};
use super::play::Seen;
use super::{Run, Site, TrialError, TrialSpec, leaks};
use crate::error::{Recorded, SysError};
use crate::expect::Plane;
use crate::record::TrialRecord;
use crate::sys::time;

/// How long reaping and removing may take before they count as not seen.
const BURIAL: Duration = Duration::from_secs(1);

/// Waits for the truth: the end of an undisturbed tree, or the death of the last process after a
/// kill.
pub(super) fn settle(
    run: &mut Run<'_>,
    spec: &TrialSpec<'_>,
    site: &Site,
    record: &mut TrialRecord,
    seen: &mut Seen,
) -> Result<(), TrialError> {
    if seen.broken.is_some()
        || seen.damaged.is_some()
        || seen.observer.is_some()
        || seen.interrupted
    {
        return Ok(());
    }
    let deadline = oracle::settle_deadline(spec.deadline);
    while record.stamps.unpopulated_ns.is_none() && !seen.lives_on {
        let state = oracle::look(site)?;
        let sums = site.ledger.sums();
        // Before 6.19 `populated 0` comes before the exit is reported, since then after it; stamps
        // come before both. So a stamp that is missing in an empty site will never come. A tree of
        // which nothing is known yet may be on its way into the site.
        let begun = sums.births > 0 || seen.main_ended;
        if state != State::Populated && (record.plane == Plane::Kill || begun) {
            record.stamps.unpopulated_ns = Some(time::now().0);
            break;
        }
        if deadline.has_passed() || run.reaper.ending().is_some() {
            break;
        }
        if record.plane == Plane::Detect {
            // Nothing of such a trial stops anything.
            let stopped = oracle::stopped(site)?;
            if !stopped.is_empty() {
                seen.broken = Some(Broken::stopped(&stopped));
                return Ok(());
            }
        }
        run.rest(&[], oracle::SETTLE_TICK)?;
    }
    record.stamps.over_upper_ns = record.stamps.unpopulated_ns;
    record.stamps.over_lower_ns = match record.plane {
        Plane::Detect => site.ledger.sums().last_exit.map(|at| at.0),
        Plane::Kill => record.kill.as_ref().map(|k| k.first_signal_ns),
    };
    record.stamps.running_ns = site.ledger.entries().map(|entry| entry.born.0).min();
    record.idle = seen.samples.of(record);
    if record.plane == Plane::Kill && record.stamps.unpopulated_ns.is_none() {
        match survivors::diagnose(&site.cgroup) {
            Ok(survivors) => record.survivors = survivors.into_iter().map(recorded).collect(),
            Err(e) => seen.errors.push(e.recorded()),
        }
    }
    Ok(())
}

/// A survivor as it stands in a record.
fn recorded(survivor: Survivor) -> crate::record::Survivor {
    crate::record::Survivor {
        pid: survivor.pid,
        comm: survivor.comm,
        state: survivor.state.to_string(),
        cgroup: survivor.cgroup,
        reason: survivor.reason.id().to_owned(),
        evidence: survivor.evidence,
    }
}

/// The last stages of a kill that left nothing alive: every child and orphan is reaped, and the
/// directory is removed. What does not come to pass in [`BURIAL`] has no stamp; cleaning up is done
/// later and for all.
pub(super) fn reap_and_remove(
    run: &mut Run<'_>,
    site: &Site,
    record: &mut TrialRecord,
    seen: &mut Seen,
) -> Result<(), TrialError> {
    if record.plane != Plane::Kill
        || record.stamps.unpopulated_ns.is_none()
        || seen.broken.is_some()
        || seen.interrupted
    {
        return Ok(());
    }
    let deadline = time::now() + BURIAL;
    let mut expected = run.expected_children();
    expected.extend(seen.canaries.iter().map(|canary| canary.pid));
    loop {
        if record.stamps.reaped_ns.is_none() && leaks::stray_children(&expected)?.is_empty() {
            record.stamps.reaped_ns = Some(time::now().0);
        }
        if record.stamps.removed_ns.is_none() {
            match site.cgroup.try_clone()?.remove_tree() {
                Ok(()) => record.stamps.removed_ns = Some(time::now().0),
                Err((_, e)) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => {
                    record.stamps.removed_ns = Some(time::now().0);
                }
                // The kernel has not released the dead processes yet.
                Err((_, e)) if e.errno() == Some(Errno::EBUSY) => {}
                Err((_, e)) => return Err(e.into()),
            }
        }
        let both = record.stamps.reaped_ns.is_some() && record.stamps.removed_ns.is_some();
        if both || deadline.has_passed() {
            return Ok(());
        }
        run.rest(&[], oracle::KILL_TICK)?;
    }
}

/// Cleans up: survivors, canaries, cgroups. A trial that leaves something behind ends the run.
pub(super) fn teardown(
    run: &mut Run<'_>,
    spec: &TrialSpec<'_>,
    site: Site,
    canaries: Vec<LiveCanary>,
    record: &mut TrialRecord,
) -> Result<(), TrialError> {
    for canary in canaries {
        canary.release()?;
    }
    let emptied_by_kill = record.stamps.unpopulated_ns.is_some();
    run.clean(Some(&Site::part(spec)))?;
    if emptied_by_kill {
        record
            .stamps
            .removed_ns
            .get_or_insert_with(|| time::now().0);
    }
    // A process that was killed above is a zombie for a moment; a child that stays is a leak.
    let patience = time::now() + Duration::from_secs(5);
    let expected = run.expected_children();
    loop {
        let strays = leaks::stray_children(&expected)?;
        if strays.is_empty() {
            record.stamps.reaped_ns.get_or_insert_with(|| time::now().0);
            return Ok(());
        }
        if patience.has_passed() {
            return Err(TrialError::Stuck {
                path: site.parent.path().to_path_buf(),
                seconds: 5,
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
