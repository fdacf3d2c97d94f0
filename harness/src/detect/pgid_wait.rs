//! Wait for every child in the main process's group: `waitpid(-pgid)`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::adopt;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::alarm::Alarm;
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid};
use allgone::ProcessSet;
use allgone::detect::sleep::{self, Slept};
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `waitid(P_PGID)` until `ECHILD`, as a subreaper.
///
/// If it were not a subreaper it would see only its own children, and be no better than
/// `waitpid-main` (measured on 6.18.44: `ECHILD` after 57 ms for a group that lived 300 ms after
/// its leader had left). Libraries that say `waitpid(-pgid)` "waits for the group" do just that.
#[derive(Debug)]
pub(super) struct PgidWait;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pgid-wait",
    summary: "As a subreaper, reaps the members of the main process's group until waitid(P_PGID) \
        says ECHILD.",
    scope: Scope::ProcessGroup,
    wake: Wake::Interval,
    signal: super::Signal::Emptiness,
    effects: Effects {
        subreaper: true,
        timer: true,
        signal_handler: true,
        reaps: Reaps::ProcessGroup,
        ..Effects::NONE
    },
    since: KernelVersion(3, 4),
    privilege: "",
    escapes: "a process that calls setsid(2) or setpgid(2); a grandchild is not waited for while \
        its parent lives, only the parent is",
    early: "when the members that it can wait for have ended and a process of the tree is in \
        another group, or is a member with a live parent in another group",
    late: "one wake-up, as waitpid; up to 10 ms if the last member has left the group instead of \
        ending, which wakes no waiter",
    idle_cost: "a hundred interrupted waits a second",
    overflow: "cannot: zombies keep the state until they are read",
    loses_on_removal: false,
    sources: &[
        "waitid(2)",
        "credentials(7)",
        "kernel/exit.c: eligible_pid()",
    ],
    axes: &[],
};

impl BlockingDetector for PgidWait {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        adopt::Subreaper::probe()
    }

    fn arm(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Reaping {
            _adopts: adopt::Subreaper::become_one()?,
            group: None,
            counters: Counters::default(),
        }))
    }
}

/// How long the child may take to make its group.
const GROUP_LIMIT: Duration = Duration::from_secs(10);

/// How long the wait sleeps before it looks again. The alarm repeats by itself at about this
/// interval.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Reaping {
    _adopts: adopt::Subreaper,
    group: Option<Pid>,
    counters: Counters,
}

impl BlockingWatch for Reaping {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        // The child creates the group itself; before that the kernel knows no such group and says
        // ECHILD.
        let mut fds = [
            PollFd::new(child.exec_signal(), PollFlags::POLLIN),
            PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        match sleep::on(&mut fds, now() + GROUP_LIMIT)? {
            Slept::Woken(_) => {}
            Slept::Deadline => {
                return Err(
                    SysError::pid("see the exec", child.pid.as_raw(), Errno::ETIMEDOUT).into(),
                );
            }
        }
        self.group = Some(child.pid);
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let Some(group) = self.group else {
            return Ok(Verdict::unknown("nothing was attached"));
        };
        // A member that leaves the group by setsid(2) or setpgid(2) does not wake the waiter: only
        // an interrupted call checks which members are left.
        let _alarm = Alarm::at(deadline.min(now() + LOOK_AGAIN))?;
        let mut woke = now();
        loop {
            match waitid(
                Whose::Group(group),
                WaitPidFlag::WEXITED | WaitPidFlag::__WALL,
            ) {
                Ok(_) => {
                    woke = now();
                    self.counters.wakeups += 1;
                    self.counters.reaped += 1;
                    if woke >= deadline {
                        return Ok(Verdict::deadline());
                    }
                }
                Err(Errno::ECHILD) => return Ok(Verdict::empty(woke)),
                Err(Errno::EINTR) if deadline.has_passed() => return Ok(Verdict::deadline()),
                Err(Errno::EINTR) => {
                    woke = now();
                    self.counters.wakeups += 1;
                    self.counters.spurious += 1;
                }
                Err(e) => {
                    let why = SysError::pid("wait for the group", group.as_raw(), e);
                    return Ok(Verdict::unknown(why));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
