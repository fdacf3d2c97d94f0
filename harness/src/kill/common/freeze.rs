//! The four ways to freeze and kill: wait for `frozen 1` or not, thaw after the signals or before them.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::hold::{FREEZE_WAIT, Freeze};
use super::levers::Levers;
use super::{signal::by_number, sweep};
use crate::MonoNs;
use crate::cgroup::Census;
use crate::cgroup::CgroupError;
use crate::kill::{KillError, KillReport, Killer};
use crate::trial::{Root, Site};

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kill) struct Variant {
    /// Wait until `cgroup.events` says `frozen 1`.
    pub(in crate::kill) wait: bool,
    /// Thaw between the walk and the signals.
    pub(in crate::kill) thaw_first: bool,
}

/// Freeze and kill, ready for one site.
#[derive(Debug)]
pub(in crate::kill) struct FreezeKill<'t> {
    site: &'t Site,
    levers: Levers<'t>,
    variant: Variant,
}

impl<'t> FreezeKill<'t> {
    /// Opens what it needs.
    pub(in crate::kill) fn prepare(site: &'t Site, variant: Variant) -> Result<Self, CgroupError> {
        let levers = Levers::of(site)?;
        Ok(Self { site, levers, variant })
    }
}

impl Killer for FreezeKill<'_> {
    fn kill(&mut self, _: &Root, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        freeze_and_kill(self.site, &self.levers, self.variant, deadline, &mut report)?;
        Ok(report.issued())
    }
}

/// Freezes, signals everybody, thaws. Where freezing is refused (`ENOENT` before Linux 5.2, `EACCES`) it kills in a loop, and says so.
pub(in crate::kill) fn freeze_and_kill(
    site: &Site,
    levers: &Levers<'_>,
    variant: Variant,
    deadline: MonoNs,
    report: &mut KillReport,
) -> Result<(), KillError> {
    let cgroup = &site.cgroup;
    let freeze = match Freeze::begin(levers) {
        Ok(freeze) => freeze,
        Err(e) if refused(&e) => {
            report.fall_back(format!("{e}: killed in a loop without freezing"));
            sweep::until_unpopulated(cgroup, Signal::SIGKILL, deadline, report)?;
            return Ok(());
        }
        Err(e) => return Err(e.into()),
    };
    if variant.wait {
        let patience = crate::sys::time::now() + std::time::Duration::from_nanos(site.param(&FREEZE_WAIT));
        if freeze.wait(patience.min(deadline))? {
            report.held_ns = Some(crate::sys::time::now().0);
        } else {
            report.fall_back("cgroup.events did not say `frozen 1` in time: went on without".to_owned());
        }
    }
    if variant.thaw_first {
        let census = Census::deep(cgroup)?;
        report.passes += 1;
        report.foreign = census.foreign;
        freeze.thaw()?;
        // By number, as whoever does it in this order does.
        for pid in census.pids {
            by_number(report, pid, Signal::SIGKILL);
        }
    } else {
        sweep::until_nobody_new(cgroup, Signal::SIGKILL, deadline, report)?;
        let was_held = report.held_ns.is_some();
        freeze.thaw()?;
        if !was_held {
            // Somebody may have been in the middle of a fork during the last walk. One more, now that it has come to an end.
            sweep::pass(cgroup, Signal::SIGKILL, &mut HashSet::new(), report)?;
        }
    }
    Ok(())
}

fn refused(e: &CgroupError) -> bool {
    matches!(
        e.errno(),
        Some(Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS)
    )
}
