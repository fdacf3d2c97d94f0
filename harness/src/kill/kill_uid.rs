//! `kill-uid`: `kill(-1, SIGKILL)` as the user that the workload runs as. What build daemons with
//! one user per build do.
//!
//! The kernel walks all processes under one lock, so no fork escapes. The killer is a process of
//! its own that was forked before the workload (a bomb uses up the limit on tasks). It takes the
//! victims' user id as its effective id only: real and saved id are an unused one, so the victims
//! may not signal it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};

use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::error::{SysError, retry_eintr};
use crate::host::another_user;
use crate::sys::fork::{Worker, worker};
use crate::sys::spawn::Credentials;
use crate::sys::wait::{Whose, waitid};
use crate::users::{KILLER_UIDS, unused};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct KillUid;

static SPEC: KillSpec = KillSpec {
    id: "kill-uid",
    summary: "kill(-1, SIGKILL) from a process that has the workload's user as its effective user",
    reach: Reach {
        scope: Scope::User,
        sweep: Sweep::Atomic,
    },
    claims_sound: true,
    may_hit: &[Bystander::SameUid],
    effects: Effects {
        single_thread: true,
        ..Effects::descriptors(2).and_processes(1)
    },
    since: KernelVersion(1, 0),
    privilege: "root, and a user id for this workload alone",
    faults: "everyone else with that user id dies too; set-user-ID programs escape (not under \
        no_new_privs)",
    sources: &[
        "kill(2): pid -1",
        "kernel/signal.c: kill_something_info()",
        "credentials(7)",
    ],
    axes: &[],
};

impl BlockingStrategy for KillUid {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        another_user::probe()
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        let Some(credentials) = set.user() else {
            return Err(KillError::Refused {
                strategy: SPEC.id,
                why: "the workload has the harness's own user".to_owned(),
            });
        };
        let immune = unused(KILLER_UIDS)?.ok_or_else(|| KillError::Refused {
            strategy: SPEC.id,
            why: format!(
                "processes have all user ids from {} on that a killer could become",
                KILLER_UIDS.start
            ),
        })?;
        let failed = |e| SysError::plain("start the process that kills", e);
        let (order, give) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let give = std::cell::Cell::new(Some(give));
        let order = std::cell::Cell::new(Some(order));
        let worker = worker(0, set.helpers().map(|helpers| helpers.as_fd()), || {
            // The copy must not hold the other end, or it would never get the end of file.
            drop(give.take());
            order.take().map_or(1, |order| {
                wait_and_kill(File::from(order), credentials, immune)
            })
        })
        .map_err(failed)?;
        drop(order.take());
        Ok(Box::new(Ready {
            worker,
            give: give.take().map(File::from),
        }))
    }
}

/// Waits for a byte; its absence (the end of the pipe) means that nothing is to be done. Returns 0,
/// or the errno.
fn wait_and_kill(mut order: File, credentials: Credentials, immune: u32) -> i32 {
    let mut byte = [0];
    if order.read_exact(&mut byte).is_err() {
        return 0;
    }
    let (uid, gid, immune) = (
        Uid::from_raw(credentials.uid),
        Gid::from_raw(credentials.gid),
        Uid::from_raw(immune),
    );
    let done = setgroups(&[])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(immune, uid, immune))
        .and_then(|()| kill(Pid::from_raw(-1), Signal::SIGKILL));
    done.map_or_else(|errno| errno as i32, |()| 0)
}

#[derive(Debug)]
struct Ready {
    worker: Worker,
    give: Option<File>,
}

impl BlockingKiller for Ready {
    fn kill(&mut self, _: &Child, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.passes = 1;
        report.about_to_signal();
        if let Some(mut give) = self.give.take() {
            give.write_all(b"k").map_err(|e| {
                SysError::io("write to", crate::Target::Pid(self.worker.pid.as_raw()), &e)
            })?;
        }
        let ended = retry_eintr(|| {
            waitid(
                Whose::Pidfd(self.worker.pidfd.as_fd()),
                WaitPidFlag::WEXITED,
            )
        })
        .map_err(|e| SysError::pid("waitid", self.worker.pid.as_raw(), e))?;
        let answer = match ended {
            Some(change) if change.status == 0 => Ok(()),
            Some(change) => Err(Errno::from_raw(change.status)),
            None => Err(Errno::ECHILD),
        };
        report.sent(answer, -1);
        Ok(report.issued())
    }
}
