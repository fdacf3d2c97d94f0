//! The observer: a process of its own per trial, in which detector and strategy run.
//!
//! It is forked from the harness without exec, so it needs no arguments; it reports by [`Message`].

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitPidFlag;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::TrialError;
use super::beside::Waiting;
use super::broken::Broken;
use super::canary::WaitingCanary;
use super::messages::{Message, say};
use super::{Root, Site, SpawnPlan, TrialSpec, oom, oracle};
use crate::MonoNs;
use crate::error::{SysError, Target, retry_eintr};
use crate::record::{self, Cause};
use crate::sys::spawn::{CLONE_NEWPID, CLONE_PARENT, Entry};
use crate::sys::wait::{Whose, waitid};
use crate::sys::{self, time};
use crate::{detect, kill};

/// The main function of an observer. If there is `start`, it waits for a byte from it before it
/// arms. `oom`: the OOM kills in this trial's cgroups so far. Returns its exit code.
pub(super) fn run(
    site: &Site,
    spec: &TrialSpec<'_>,
    oom: u64,
    report: OwnedFd,
    start: Option<OwnedFd>,
) -> i32 {
    let mut tell = std::fs::File::from(report);
    if start
        .is_some_and(|start| !matches!(retry_eintr(|| nix::unistd::read(&start, &mut [0])), Ok(1)))
    {
        return 3;
    }
    match observe(site, spec, oom, &mut tell) {
        Ok(()) => 0,
        Err(broken) => i32::from(say(&mut tell, &Message::Broken(broken)).is_err()) + 1,
    }
}

fn observe(
    site: &Site,
    spec: &TrialSpec<'_>,
    oom: u64,
    tell: &mut std::fs::File,
) -> Result<(), Broken> {
    nix::unistd::setsid().map_err(|e| Broken::harness(SysError::plain("setsid", e)))?;
    if let Some(limits) = &site.v1 {
        limits.enter().map_err(Broken::harness)?;
    }
    if let Some(cpu) = spec.conditions.observer_cpu {
        super::pin(cpu).map_err(Broken::harness)?;
    }
    idle_until(time::now() + spec.gap);

    // Before the mechanisms: it must not inherit what they open.
    let mut beside = Waiting::fork(site, spec)?;
    let set = site.set();
    let mut plan = SpawnPlan::new(site, &spec.workload).map_err(Broken::harness)?;
    plan.cpu = spec.conditions.workload_cpu;
    plan.given = beside.as_mut().and_then(Waiting::take_given);
    if let Some(copy) = &site.setuid {
        let copy = copy.try_clone();
        plan.given =
            Some(copy.map_err(|e| Broken::harness(SysError::io("dup", Target::Nothing, &e)))?);
        plan.heeds_setuid = true;
    }
    if let Some(tasks) = site.open_throttle().map_err(Broken::harness)? {
        plan.options.enter(tasks);
    }
    if spec.stage.pid_1 {
        plan.options.clone_flags |= CLONE_NEWPID;
    }
    let mut armed = spec
        .detector
        .arm(&set, &mut plan.options)
        .map_err(Broken::mechanism)?;
    // First the canary: it must not inherit what the strategy opens, such as a descriptor whose
    // last copy kills.
    let waiting = match spec.strategy {
        Some(_) => Some(WaitingCanary::fork(site).map_err(Broken::harness)?),
        None => None,
    };
    let mut killer = match spec.strategy {
        Some(strategy) => Some(
            strategy
                .prepare(&set, &mut plan.options)
                .map_err(Broken::mechanism)?,
        ),
        None => None,
    };
    let armed_at = time::now();
    if let Some(intended) = spec.conditions.intended {
        idle_until(intended);
    }
    // From here to the verdict: no allocation by the machinery, no logging, nothing but the
    // mechanism.
    let cpu_before = cpu_time();
    let root = match spec.stage.realtime {
        true => spawn_realtime(&plan)?,
        false => plan.spawn().map_err(|e| Broken::by(Cause::NotStarted, e))?,
    };
    if let Some(beside) = beside {
        beside.tell(root.pid).map_err(Broken::harness)?;
    }
    armed.attach(&root).map_err(Broken::mechanism)?;
    if let Some(killer) = &mut killer {
        killer.attach(&root).map_err(Broken::mechanism)?;
    }
    let renumbered = spec.stage.renumbered || plan.options.clone_flags & CLONE_NEWPID != 0;
    // Descriptors that the workload was to inherit are closed here.
    drop(plan);
    site.ledger.let_go();

    let started = Message::Started {
        armed_ns: armed_at.0,
        spawn_ns: root.spawn_ns,
        pid: root.pid.as_raw(),
        entry: match root.entry {
            Entry::Born => record::Entry::Born,
            Entry::Moved(errno) => record::Entry::Moved {
                errno: format!("{errno:?}"),
            },
            Entry::None => record::Entry::None,
        },
        renumbered,
    };
    // The strategy keeps its resources until the verdict, because releasing them may take time.
    if let (Some(killer), Some(waiting)) = (&mut killer, waiting) {
        say(tell, &started)?;
        wait_for_exec(&root).map_err(|e| Broken::by(Cause::NotStarted, e))?;
        child_failure(&root)?;
        let canary = waiting.join_group(root.pid).map_err(|e| match e.errno {
            Errno::ECHILD => Broken::by(Cause::CanaryKilled, TrialError::Canary),
            _ => Broken::harness(e),
        })?;
        say(
            tell,
            &Message::Canary {
                pid: canary.pid.as_raw(),
            },
        )?;
        if let Some(program) = &spec.workload.program {
            idle_until(time::now() + program.kill_after);
            if oom::in_trial(site) > oom {
                return say(tell, &Message::Damaged { pids: Vec::new() });
            }
        } else if let Some(pids) = wait_until_ready(site, spec, &root, oom, renumbered)? {
            return say(tell, &Message::Damaged { pids });
        }
        let ready_at = time::now();
        let report = killer
            .kill(&root, ready_at + spec.deadline)
            .map_err(Broken::mechanism)?;
        say(
            tell,
            &Message::Killed {
                ready_ns: Some(ready_at.0),
                report: kill::recorded(&report),
            },
        )?;
    } else if spec.stage.owner_removes {
        start_owner(site, &root).map_err(Broken::harness)?;
    }

    let verdict = armed
        .wait(time::now() + spec.patience())
        .map_err(Broken::mechanism)?;
    let cpu_ns = cpu_time().saturating_sub(cpu_before);
    if spec.strategy.is_none() {
        say(tell, &started)?;
    }
    child_failure(&root)?;
    let main_ended = sys::pidfd::has_exited(root.pidfd.as_fd())
        .map_err(|e| Broken::harness(SysError::plain("poll pidfd", e)))?;
    let counters = armed.finish();
    say(
        tell,
        &Message::Done {
            verdict: detect::recorded(verdict),
            counters: detect::recorded_counters(counters),
            cpu_ns,
            main_ended,
        },
    )
}

/// The program inherits a real-time priority, through a tiny init as well, which the observer has
/// for as long as it spawns. A limit that lets the program take one would need one more right.
fn spawn_realtime(plan: &SpawnPlan<'_>) -> Result<Root, Broken> {
    let failed = |e| Broken::harness(SysError::plain("sched_setscheduler", e));
    let own = Pid::from_raw(0);
    sys::actor::set_realtime(own).map_err(failed)?;
    let root = plan.spawn().map_err(|e| Broken::by(Cause::NotStarted, e));
    sys::actor::set_usual_priority(own).map_err(failed)?;
    root
}

/// Waits until the tree is in the state in which it is to be killed, and checks whether something
/// else has ended a part of it. In that case nothing is killed, because the result would say
/// nothing about the strategy. Returns the processes that were ended.
fn wait_until_ready(
    site: &Site,
    spec: &TrialSpec<'_>,
    root: &Root,
    oom: u64,
    renumbered: bool,
) -> Result<Option<Vec<i32>>, Broken> {
    /// How often a tree that is not ready yet is checked.
    const LOOK: Duration = Duration::from_millis(500);
    let give_up = time::now() + spec.ready_timeout();
    loop {
        let ready =
            !spec.stage.says_ready || site.ledger.wait_ready(give_up.min(time::now() + LOOK));
        let by_oom = oom::in_trial(site).saturating_sub(oom);
        if by_oom > 0 && spec.stage.memory_bytes.is_none() {
            return Ok(Some(Vec::new()));
        }
        let mut ended = match renumbered {
            true => Vec::new(),
            false => oracle::ended(site).map_err(Broken::harness)?,
        };
        match end_of(root)? {
            // A process that has not entered itself in the ledger yet, or an init in between.
            Some(End::Killed) if !ended.contains(&root.pid.as_raw()) => {
                ended.push(root.pid.as_raw())
            }
            Some(End::Killed | End::Exited) if site.ledger.sums().births == 0 => {
                return Err(Broken::new(Cause::NotStarted, NEVER_PLAYED));
            }
            _ => {}
        }
        if !ended.is_empty() && !spec.allows(ended.len(), by_oom) {
            return Ok(Some(ended));
        }
        if ready {
            return Ok(None);
        }
        if give_up.has_passed() {
            let stopped = oracle::stopped(site).map_err(Broken::harness)?;
            if !stopped.is_empty() && !spec.workload.stops {
                return Err(Broken::stopped(&stopped));
            }
            return Err(Broken::new(
                Cause::NotReady,
                format!(
                    "the workload was not ready to be killed after {} s",
                    spec.ready_timeout().as_secs()
                ),
            ));
        }
    }
}

/// A main process that ended without having entered itself in the ledger.
pub(super) const NEVER_PLAYED: &str = "the main process ended before it began to play";

/// How the main process ended.
enum End {
    Killed,
    Exited,
}

/// Whether and how the main process has ended; not known either once it has been reaped.
fn end_of(root: &Root) -> Result<Option<End>, Broken> {
    let flags =
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    match retry_eintr(|| waitid(Whose::Pidfd(root.pidfd.as_fd()), flags)) {
        Ok(None) | Err(Errno::ECHILD) => Ok(None),
        Ok(Some(change)) if change.code == nix::libc::CLD_EXITED => Ok(Some(End::Exited)),
        Ok(Some(_)) => Ok(Some(End::Killed)),
        Err(errno) => Err(Broken::harness(SysError::pid(
            "waitid",
            root.pid.as_raw(),
            errno,
        ))),
    }
}

/// An error if the workload did not reach its exec.
fn child_failure(root: &Root) -> Result<(), Broken> {
    match root.failure() {
        Ok(None) => Ok(()),
        Ok(Some(failure)) => Err(Broken::by(
            Cause::NotStarted,
            super::SpawnError::Child {
                step: failure.step.name(),
                errno: failure.errno,
            },
        )),
        Err(errno) => Err(Broken::harness(SysError::plain(
            "read the spawn report",
            errno,
        ))),
    }
}

/// Waits until the workload has exec'd (or died on the way).
fn wait_for_exec(root: &Root) -> Result<(), SysError> {
    let mut fds = [PollFd::new(root.exec_signal(), PollFlags::POLLIN)];
    match retry_eintr(|| poll(&mut fds, PollTimeout::from(5_000u16))) {
        Ok(0) => Err(SysError::plain("see the workload exec", Errno::ETIMEDOUT)),
        Ok(_) => Ok(()),
        Err(errno) => Err(SysError::plain("poll", errno)),
    }
}

/// Starts the second party of the lost wake-up: it waits for the main process's pidfd and then
/// removes the site at once.
///
/// It is a child of the harness, so that no detector waits for it. After `EBUSY` (a process is
/// alive, or the kernel has not released it yet) it tries again.
fn start_owner(site: &Site, root: &Root) -> Result<(), SysError> {
    sys::fork::worker(CLONE_PARENT, Some(site.control.as_fd()), || {
        let mut fds = [PollFd::new(root.pidfd.as_fd(), PollFlags::POLLIN)];
        while matches!(poll(&mut fds, PollTimeout::NONE), Err(Errno::EINTR)) {}
        let give_up = time::now() + Duration::from_secs(30);
        loop {
            match site.parent.remove_child("site") {
                Ok(()) => return 0,
                Err(e) if e.errno() == Some(Errno::EBUSY) && !give_up.has_passed() => {}
                Err(_) => return 1,
            }
        }
    })
    .map(|_| ())
    .map_err(|e| SysError::plain("fork the owner", e))
}

fn idle_until(until: MonoNs) {
    // A gap between trials, or the life of a program before it is killed; not a synchronisation.
    while matches!(time::sleep_until(until), Err(Errno::EINTR)) {}
}

#[expect(clippy::cast_sign_loss, reason = "CPU time is never negative")]
/// CPU time of this process, in nanoseconds.
pub(crate) fn cpu_time() -> u64 {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(0, |t| {
        t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
    })
}
