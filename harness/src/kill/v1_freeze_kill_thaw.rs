//! `v1-freeze-kill-thaw`: freeze in the v1 freezer hierarchy, SIGKILL everyone, thaw. What runtimes
//! do on machines with cgroup v1.
//!
//! In v1 a frozen process does not act on SIGKILL: it dies when it is thawed. The workload is put
//! into a freezer cgroup of its own before it runs, by migration behind a gate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::Signal;

use super::common::own;
use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::cgroup::parse_members;
use crate::error::{SysError, Target, retry_eintr};
use crate::expect::{Reach, Scope, Sweep};
use crate::host::probe_name;
use crate::record::FallbackKind;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::freeze::FREEZE_WAIT;
use allgone::kill::signal::by_number;
use allgone::layout::{Layout, Paths};
use allgone::spawn::{Child, Gate, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct V1FreezeKillThaw;

static SPEC: KillSpec = KillSpec {
    id: "v1-freeze-kill-thaw",
    summary: "freeze the workload's cgroup of the v1 freezer hierarchy, wait until FROZEN, SIGKILL \
        everyone in it, thaw",
    reach: Reach {
        scope: Scope::Cgroup,
        sweep: Sweep::Held,
    },
    claims_sound: true,
    may_hit: &[],
    effects: Effects {
        gates_spawn: true,
        other_hierarchy: true,
        ..Effects::NONE
    },
    since: KernelVersion(2, 6),
    privilege: "root in the v1 freezer hierarchy",
    faults: "FREEZING may never become FROZEN (a member in vfork or in uninterruptible sleep), \
        then it goes on without and says so; if the caller dies in between, the members stay \
        frozen and cannot be killed",
    sources: &[
        "Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst",
        "kernel/cgroup/legacy_freezer.c",
    ],
    axes: &[FREEZE_WAIT],
};

impl BlockingStrategy for V1FreezeKillThaw {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        let dir = match own_freezer() {
            Ok(dir) => dir,
            Err(why) => {
                return Ok(Support::missing(
                    why,
                    "mount the v1 freezer hierarchy (a hybrid or v1 machine)",
                ));
            }
        };
        let name = dir.join(probe_name()?);
        match std::fs::create_dir(&name) {
            Ok(()) => {
                std::fs::remove_dir(&name)
                    .map_err(|e| SysError::io("rmdir", Target::Path(name), &e))?;
                Ok(Support::Available)
            }
            Err(e) => Ok(Support::missing(
                SysError::io("mkdir", Target::Path(name), &e),
                "run as root, or have a v1 freezer cgroup delegated",
            )),
        }
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let own = own_freezer().map_err(|why| KillError::Refused {
            strategy: SPEC.id,
            why,
        })?;
        let freezer = Freezer::make(&own, set.label())?;
        Ok(Box::new(Ready {
            set: set.clone(),
            freezer,
            gate: Some(spawn.gate()?),
        }))
    }
}

/// This process's directory in the freezer hierarchy.
fn own_freezer() -> Result<PathBuf, String> {
    let layout = Layout::read(&Paths::default()).map_err(|e| e.to_string())?;
    layout
        .own_v1("freezer")
        .map(|dir| dir.path)
        .map_err(|e| e.to_string())
}

/// A freezer cgroup of one trial. Thawed and removed when dropped.
#[derive(Debug)]
struct Freezer {
    path: PathBuf,
}

impl Freezer {
    /// Makes one, named after run and trial, so that it is found if it is not removed.
    fn make(own: &Path, name: &str) -> Result<Self, SysError> {
        let path = own.join(name);
        std::fs::create_dir(&path)
            .map_err(|e| SysError::io("mkdir", Target::Path(path.clone()), &e))?;
        Ok(Self { path })
    }

    fn write(&self, file: &str, value: &str) -> Result<(), SysError> {
        let path = self.path.join(file);
        std::fs::write(&path, value).map_err(|e| SysError::io("write to", Target::Path(path), &e))
    }

    fn read(&self, file: &str) -> Result<String, SysError> {
        let path = self.path.join(file);
        std::fs::read_to_string(&path).map_err(|e| SysError::io("read", Target::Path(path), &e))
    }

    fn members(&self) -> Result<Vec<i32>, SysError> {
        let content = self.read("cgroup.procs")?;
        parse_members(&content)
            .map(|members| members.pids)
            .ok_or_else(|| {
                SysError::path("understand", self.path.join("cgroup.procs"), Errno::EBADMSG)
            })
    }

    /// v1 sends no event, so the state is read every millisecond; reading also moves `FREEZING` to
    /// `FROZEN`.
    fn wait_frozen(&self, deadline: MonoNs) -> Result<bool, SysError> {
        while self.read("freezer.state")?.trim() != "FROZEN" {
            if deadline.has_passed() {
                return Ok(false);
            }
            rest()?;
        }
        Ok(true)
    }
}

impl Drop for Freezer {
    /// Waits for the last member to be gone: `rmdir` is refused with `EBUSY` until then.
    fn drop(&mut self) {
        let thawed = self.write("freezer.state", "THAWED");
        let patience = now() + Duration::from_secs(2);
        while let Err(e) = std::fs::remove_dir(&self.path) {
            if e.raw_os_error() != Some(nix::libc::EBUSY)
                || patience.has_passed()
                || rest().is_err()
            {
                tracing::warn!(path = %self.path.display(), error = %e, ?thawed, "could not remove \
                    a freezer cgroup");
                return;
            }
        }
    }
}

fn rest() -> Result<(), SysError> {
    retry_eintr(|| poll(&mut [], PollTimeout::from(1u8)))
        .map(|_| ())
        .map_err(|e| SysError::plain("poll", e))
}

#[derive(Debug)]
struct Ready {
    set: ProcessSet,
    freezer: Freezer,
    gate: Option<Gate>,
}

impl BlockingKiller for Ready {
    fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        self.freezer.write("cgroup.procs", &child.pid.to_string())?;
        if let Some(gate) = self.gate.take() {
            gate.open()
                .map_err(|e| SysError::plain("open the gate", e))?;
        }
        Ok(())
    }

    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let freezer = &self.freezer;
        loop {
            freezer.write("freezer.state", "FROZEN")?;
            let patience = now() + Duration::from_nanos(self.set.param(&FREEZE_WAIT));
            let held = freezer.wait_frozen(patience.min(deadline))?;
            if held {
                report.held_ns = Some(now().0);
            } else {
                report.fall_back(own(
                    FallbackKind::DidNotWaitForFrozen,
                    "freezer.state did not become FROZEN in time: went on without",
                ));
            }
            report.passes += 1;
            // A frozen process cannot end, so no pid can be reused.
            for pid in freezer.members()? {
                by_number(&mut report, pid, Signal::SIGKILL);
            }
            freezer.write("freezer.state", "THAWED")?;
            if held || freezer.members()?.is_empty() {
                return Ok(report.issued());
            }
            if deadline.has_passed() {
                report.gave_up = true;
                return Ok(report.issued());
            }
        }
    }
}
