//! `killpg`: SIGKILL to the process group of the main process. What shells, `timeout` and most test
//! runners do.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp};

use super::common::acting;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::may_be_signalled;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct Killpg;

static SPEC: KillSpec = KillSpec {
    id: "killpg",
    summary: "SIGKILL to the process group of the main process, by its number",
    reach: Reach {
        scope: Scope::ProcessGroup,
        // The group is walked under tasklist_lock, and fork joins a group under the same lock after
        // a look at pending signals.
        sweep: Sweep::Atomic,
    },
    claims_sound: false,
    may_hit: &[Bystander::SameGroup],
    effects: Effects::NONE,
    since: KernelVersion(1, 0),
    privilege: "",
    faults: "setsid(2) and setpgid(2) escape; outsiders that joined the group die too; once the \
        group is empty and its leader reaped, the number may belong to another group",
    sources: &[
        "kill(2)",
        "kernel/signal.c: __kill_pgrp_info()",
        "kernel/fork.c: copy_process() (Linux 4.19, c3ad2c3b02e9)",
    ],
    axes: &[],
};

impl BlockingStrategy for Killpg {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(acting(|child, _, report| kill_group(child, report)))
    }
}

/// The main process made a group with its own number before exec. A group that is the caller's
/// own is never signalled.
fn kill_group(child: &Child, report: &mut KillReport) -> Result<(), KillError> {
    let group: Pid = child.pid;
    if !may_be_signalled(group.as_raw(), getpgrp().as_raw()) {
        return Err(KillError::Refused {
            strategy: SPEC.id,
            why: format!("process group {group} is the caller's own"),
        });
    }
    report.passes = 1;
    report.about_to_signal();
    report.sent(killpg(group, Signal::SIGKILL), group.as_raw());
    Ok(())
}
