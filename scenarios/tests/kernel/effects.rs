//! What a mechanism changes in the process that uses it is what it states: each is used in a fresh process, and what is found there before,
//! while it watches, and afterwards is compared with its [`Effects`].

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use allgone::effects::{Effects, Holds, Reaps};
use allgone::spawn::Child;
use harness::detect::{AnyDetector, DETECTORS, Signal};
use harness::sys::fork::worker;
use harness::sys::time;
use harness::sys::wait::{Whose, waitid};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::WaitPidFlag;

use super::common::{Test, ensure};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::place::{Place, workload};
use scenarios::script::Op;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for detector in DETECTORS {
        let id = detector.spec().id;
        tests.push(Test::new(
            format!("effects::are_as_stated::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || stated(*detector),
        ));
    }
    tests
}

/// What of a process others could stumble over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    subreaper: bool,
    mask: String,
    caught: String,
    timers: usize,
    descriptors: usize,
    children: usize,
    threads: usize,
}

impl State {
    fn now() -> Result<Self, String> {
        let text = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let status = text("/proc/self/status")?;
        let line = |key: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(key));
            found
                .map(|value| value.trim().to_owned())
                .ok_or_else(|| format!("no {key}"))
        };
        let count = |dir: &str| {
            std::fs::read_dir(dir)
                .map(Iterator::count)
                .map_err(|e| format!("{dir}: {e}"))
        };
        Ok(Self {
            subreaper: prctl::get_child_subreaper().map_err(|e| e.to_string())?,
            mask: line("SigBlk:")?,
            caught: line("SigCgt:")?,
            timers: text("/proc/self/timers").map_or(0, |timers| timers.matches("ID:").count()),
            descriptors: count("/proc/self/fd")?,
            children: text("/proc/thread-self/children")?.split_whitespace().count(),
            threads: count("/proc/self/task")?,
        })
    }
}

/// Uses a detector in a process of its own, which writes what it found.
fn stated(detector: AnyDetector) -> Result<(), String> {
    let mut place = Place::make()?;
    place.site.params = harness::param::defaults(detector.spec().axes, harness::expect::Plane::Detect);
    let (hear, tell) = nix::unistd::pipe().map_err(|e| e.to_string())?;
    let started = worker(0, None, || {
        let said = watch(&place, detector).unwrap_or_else(|e| format!("could not be used: {e}"));
        let mut tell = std::fs::File::from(tell.try_clone().expect("a descriptor is left"));
        i32::from(tell.write_all(said.as_bytes()).is_err())
    })
    .map_err(|e| e.to_string())?;
    drop(tell);
    let mut said = String::new();
    std::fs::File::from(hear)
        .read_to_string(&mut said)
        .map_err(|e| e.to_string())?;
    let ended = Whose::Pidfd(started.pidfd.as_fd());
    waitid(ended, WaitPidFlag::WEXITED).map_err(|e| e.to_string())?;
    let label = place.site.label();
    harness::host::named::take_down(&label, time::now() + PATIENCE, &mut || {}).map_err(|e| e.to_string())?;
    ensure(said.is_empty(), || said)
}

/// What is found and not stated, or stated and not found; empty if that is nothing.
fn watch(place: &Place, detector: AnyDetector) -> Result<String, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let stated = detector.spec().effects;
    let bystander = worker(0, None, || 0).map_err(|e| text(&e))?;
    let program = workload(vec![vec![Op::Live { ns: 1_000_000 }]])?;
    let before = State::now()?;

    let mut plan = harness::trial::SpawnPlan::new(&place.site, &program).map_err(|e| text(&e))?;
    let mut armed = detector
        .arm(&place.site.set(), &mut plan.options)
        .map_err(|e| text(&e))?;
    let child = plan.spawn().map_err(|e| text(&e))?;
    let gated = stated.gates_spawn;
    armed.attach(&child).map_err(|e| text(&e))?;
    drop(plan);
    let during = State::now()?;
    if detector.spec().signal == Signal::Emptiness {
        armed.wait(time::now() + PATIENCE).map_err(|e| text(&e))?;
    }
    let after = State::now()?;
    let reaps = match (was_reaped(&child)?, gone(&bystander.pidfd)?) {
        (_, true) => Reaps::AnyChild,
        (true, false) => stated.reaps,
        (false, false) => Reaps::Nothing,
    };
    armed.finish();

    let found = Effects {
        subreaper: during.subreaper != before.subreaper,
        signal_mask: during.mask != before.mask,
        signal_handler: after.caught != before.caught,
        // Armed while it waits only; the handler that it needs stays.
        timer: stated.timer && after.caught != before.caught,
        reaps,
        single_thread: stated.single_thread,
        gates_spawn: gated,
        holds: Holds {
            descriptors: u8::try_from(
                during
                    .descriptors
                    .saturating_sub(before.descriptors + DESCRIPTORS_OF_A_CHILD),
            )
            .unwrap_or(u8::MAX),
            processes: u8::try_from(during.children.saturating_sub(before.children + 1)).unwrap_or(u8::MAX),
            threads: u8::try_from(during.threads - before.threads).unwrap_or(u8::MAX),
        },
    };
    let timers = after.timers != before.timers;
    Ok(if found == stated && !timers {
        String::new()
    } else {
        format!("stated {stated:?}\nfound  {found:?}\ntimers are left: {timers}")
    })
}

/// Its pidfd, a copy of that, and the pipe that tells of a failure before exec.
const DESCRIPTORS_OF_A_CHILD: usize = 3;

fn was_reaped(child: &Child) -> Result<bool, String> {
    gone(&child.pidfd)
}

fn gone(pidfd: &impl AsFd) -> Result<bool, String> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    match waitid(Whose::Pidfd(pidfd.as_fd()), flags) {
        Ok(_) => Ok(false),
        Err(Errno::ECHILD) => Ok(true),
        Err(e) => Err(e.to_string()),
    }
}
