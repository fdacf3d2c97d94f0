//! What a mechanism changes in the process that uses it is what it states: each is used in a fresh
//! process, and what is found there before, meanwhile and afterwards is compared with its
//! [`Effects`]. What is found and not stated fails, and so does what is stated and not found.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use allgone::ProcessSet;
use allgone::effects::{Effects, Holds, Reaps};
use allgone::limits::V1Dirs;
use allgone::spawn::{Child, SpawnOptions};
use harness::detect::{AnyDetector, DETECTORS, Signal};
use harness::expect::Plane;
use harness::host::LimitSource;
use harness::kill::{AnyStrategy, STRATEGIES};
use harness::param::{self, Axis};
use harness::sys::fork::{Worker, worker};
use harness::sys::spawn::Credentials;
use harness::sys::time;
use harness::sys::wait::{Whose, waitid};
use harness::trial::{SpawnPlan, Workload};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use scenarios::Op;
use scenarios::script::FOREVER;

use super::common::{Test, base, ensure};
use super::kill::text;
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::place::{Place, V1Dir, reap_all, workload};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a test waits for an undeclared timer. A declared one is waited for until it fires.
const LOOKING: Duration = Duration::from_millis(30);

/// A user for the strategy that kills by user.
const USER: Credentials = Credentials {
    uid: 60_906,
    gid: 60_906,
};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for detector in DETECTORS {
        let id = detector.spec().id;
        tests.push(Test::new(
            format!("effects::of_a_detector_are_as_stated::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || of_detector(*detector),
        ));
    }
    for strategy in STRATEGIES {
        let id = strategy.spec().id;
        tests.push(Test::new(
            format!("effects::of_a_strategy_are_as_stated::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || of_strategy(*strategy),
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
    descriptors: usize,
    children: Vec<i32>,
    threads: usize,
}

impl State {
    fn now() -> Result<Self, String> {
        let status = read("/proc/self/status")?;
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
            subreaper: prctl::get_child_subreaper().map_err(text)?,
            mask: line("SigBlk:")?,
            caught: line("SigCgt:")?,
            descriptors: count("/proc/self/fd")?,
            children: read("/proc/thread-self/children")?
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect(),
            threads: count("/proc/self/task")?,
        })
    }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// What was found in the process that used the mechanism.
struct Seen {
    before: State,
    /// After `attach`.
    during: State,
    /// When the set is gone, before the mechanism is given up.
    after: State,
    /// When it has been given up.
    end: State,
    gated: bool,
    reaps: Reaps,
    /// Whether a child that it holds is a copy of this process.
    copies: bool,
}

/// Its pidfd, a copy of that, and the pipe that tells of a failure before exec.
const DESCRIPTORS_OF_A_CHILD: usize = 3;

impl Seen {
    /// What is found and not stated, or stated and not found; empty if that is nothing. A timer is
    /// seen from outside.
    fn compared_with(&self, stated: &Effects) -> String {
        let Self { before, during, .. } = self;
        let found = Effects {
            subreaper: during.subreaper != before.subreaper,
            signal_mask: during.mask != before.mask,
            signal_handler: self.after.caught != before.caught,
            timer: stated.timer,
            reaps: self.reaps,
            single_thread: self.copies,
            gates_spawn: self.gated,
            // What these two mean is seen by the scenarios `late-joiner` and
            // `placeholder-attacker`.
            other_hierarchy: stated.other_hierarchy,
            process_in_set: stated.process_in_set,
            holds: self.held(stated.holds),
        };
        let end = &self.end;
        let left = [
            ("the subreaper flag", end.subreaper != before.subreaper),
            (
                "descriptors",
                end.descriptors > before.descriptors + DESCRIPTORS_OF_A_CHILD,
            ),
            ("threads", end.threads != before.threads),
            (
                "a signal mask",
                end.mask != before.mask && !stated.signal_mask,
            ),
        ];
        let left: Vec<&str> = left
            .iter()
            .filter(|(_, is)| *is)
            .map(|(what, _)| *what)
            .collect();
        if found == *stated && left.is_empty() {
            return String::new();
        }
        format!("stated {stated:?}\nfound  {found:?}\nleft when it was given up: {left:?}")
    }

    /// What is held, told apart as it is stated.
    fn held(&self, stated: Holds) -> Holds {
        let count = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let cpus = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
            .ok()
            .flatten()
            .and_then(|cpus| usize::try_from(cpus).ok())
            .unwrap_or(1);
        let others = usize::from(stated.descriptors_per_cpu) * cpus
            + usize::from(stated.descriptors_per_process);
        let Self { before, during, .. } = self;
        let more = during
            .descriptors
            .wrapping_sub(before.descriptors + DESCRIPTORS_OF_A_CHILD);
        Holds {
            descriptors: count(more.wrapping_sub(others)),
            processes: count(self.held_processes().count()),
            threads: count(during.threads - before.threads),
            ..stated
        }
    }

    fn held_processes(&self) -> impl Iterator<Item = &i32> {
        // The program is one of the new ones; it is the last one unless the mechanism forked after
        // it, which makes no difference to how many there are.
        let new = |pid: &&i32| !self.before.children.contains(pid);
        self.during.children.iter().filter(new).skip(1)
    }
}

/// Uses `body` in a process of its own, and answers its side of the talk. What it returns is what
/// is wrong.
fn in_fresh_process(
    place: &Place,
    timer: Option<bool>,
    body: impl FnOnce(&mut File) -> Result<String, String>,
) -> Result<(), String> {
    let (hear, tell) = nix::unistd::pipe().map_err(text)?;
    let started = worker(0, None, || {
        let mut tell = File::from(tell.try_clone().expect("a descriptor is left"));
        let said = body(&mut tell).unwrap_or_else(|e| format!("could not be used: {e}"));
        i32::from(tell.write_all(said.as_bytes()).is_err())
    })
    .map_err(text)?;
    drop(tell);
    let mut hear = File::from(hear);
    let mut wrong = None;
    if let Some(stated) = timer
        && hear.read_exact(&mut [0]).is_ok()
    {
        wrong = timer_is_seen(started.pid, stated)?;
        // From here on it has something to find.
        place.site.cgroup.kill().map_err(text)?;
    }
    let mut said = String::new();
    hear.read_to_string(&mut said).map_err(text)?;
    waitid(Whose::Pidfd(started.pidfd.as_fd()), WaitPidFlag::WEXITED).map_err(text)?;
    let label = harness::host::named::shared(&place.site.label());
    // What the process leaves comes to this one, and keeps the hierarchy until it is reaped.
    harness::host::named::take_down(&label, time::now() + PATIENCE, &mut reap_all).map_err(text)?;
    said.extend(wrong);
    ensure(said.is_empty(), || said)
}

/// What is wrong with the timers of a process that waits. A kernel without
/// `CONFIG_CHECKPOINT_RESTORE` does not show them.
fn timer_is_seen(pid: Pid, stated: bool) -> Result<Option<String>, String> {
    let file = format!("/proc/{pid}/timers");
    let patience = time::now() + if stated { PATIENCE } else { LOOKING };
    while std::path::Path::new(&file).exists() {
        let seen = read(&file)?.contains("ID:");
        if seen || patience.has_passed() {
            return Ok((seen != stated).then(|| format!("timer: stated {stated}, found {seen}")));
        }
    }
    Ok(None)
}

fn of_detector(detector: AnyDetector) -> Result<(), String> {
    let mut place = Place::make()?;
    let spec = detector.spec();
    place.site.params = param::defaults(spec.axes, Plane::Detect);
    let waits = spec.signal == Signal::Emptiness;
    in_fresh_process(&place, waits.then_some(spec.effects.timer), |tell| {
        let seen = used(
            &place,
            |set, options| detector.arm(set, options).map_err(text),
            |armed, child| armed.attach(child).map_err(text),
            |armed, _| {
                if waits {
                    tell.write_all(b"w").map_err(text)?;
                    armed.wait(time::now() + PATIENCE).map_err(text)?;
                }
                Ok(())
            },
            |armed| {
                armed.finish();
            },
        )?;
        Ok(seen.compared_with(&spec.effects))
    })
}

fn of_strategy(strategy: AnyStrategy) -> Result<(), String> {
    let mut place = Place::make()?;
    let spec = strategy.spec();
    let axes: Vec<Axis> = spec.axes.to_vec();
    place.site.params = param::defaults(&axes, Plane::Kill);
    let _limit = limit_tasks(&mut place)?;
    if nix::unistd::geteuid().is_root() {
        place.site.credentials = Some(USER);
    }
    in_fresh_process(&place, None, |_| {
        // The strategy that kills a session is refused in one that is not the caller's.
        nix::unistd::setsid().map_err(text)?;
        let seen = used(
            &place,
            |set, options| strategy.prepare(set, options).map_err(text),
            |ready, child| ready.attach(child).map_err(text),
            |ready, child| {
                let killed = ready.kill(child, time::now() + PATIENCE);
                killed.map(|_| ()).map_err(text)
            },
            drop,
        )?;
        Ok(seen.compared_with(&spec.effects))
    })
}

/// Uses a mechanism from before it is armed until it has been given up, and looks at this process
/// meanwhile.
fn used<M>(
    place: &Place,
    arm: impl FnOnce(&ProcessSet, &mut SpawnOptions) -> Result<M, String>,
    attach: impl FnOnce(&mut M, &Child) -> Result<(), String>,
    act: impl FnOnce(&mut M, &Child) -> Result<(), String>,
    give_up: impl FnOnce(M),
) -> Result<Seen, String> {
    let (bystander, program) = company()?;
    let before = State::now()?;
    let mut plan = SpawnPlan::new(&place.site, &program).map_err(text)?;
    let mut armed = arm(&place.site.set(), &mut plan.options)?;
    let gated = plan.options.is_gated();
    let child = plan.spawn().map_err(text)?;
    attach(&mut armed, &child)?;
    drop(plan);
    let during = State::now()?;
    let copies = copies(&before, &during, &child)?;
    act(&mut armed, &child)?;
    let after = State::now()?;
    let reaps = reaped(&child, &bystander, &after)?;
    give_up(armed);
    Ok(Seen {
        before,
        during,
        after,
        end: State::now()?,
        gated,
        reaps,
        copies,
    })
}

/// A limit on tasks as a trial has it, for the strategy that sets it to 0.
fn limit_tasks(place: &mut Place) -> Result<Option<V1Dir>, String> {
    match base().limits() {
        LimitSource::V1 { .. } => {
            let dir = V1Dir::make("pids")?;
            place.site.v1 = Some(V1Dirs {
                pids: Some(dir.path().to_owned()),
                memory: None,
            });
            Ok(Some(dir))
        }
        LimitSource::V2 { .. } => {
            let top = place.site.parent.path().parent().ok_or("no parent")?;
            std::fs::write(top.join("cgroup.subtree_control"), "+pids").map_err(text)?;
            Ok(None)
        }
        LimitSource::None => Ok(None),
    }
}

/// A child of the caller that has ended and is not reaped, and a program that leaves an orphan in
/// its own process group when both are killed.
fn company() -> Result<(Worker, Workload), String> {
    let bystander = worker(0, None, || 0).map_err(text)?;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Whose::Pidfd(bystander.pidfd.as_fd()), flags).map_err(text)?;
    let forever = Op::Live { ns: FOREVER };
    let fork = Op::Fork { block: 1, count: 1 };
    Ok((
        bystander,
        workload(vec![vec![fork, forever], vec![forever]])?,
    ))
}

/// Whether a child that is held is a copy of the caller: forked, and never executed
/// (`PF_FORKNOEXEC`).
fn copies(before: &State, during: &State, child: &Child) -> Result<bool, String> {
    const FORKED_WITHOUT_EXEC: u64 = 0x40;
    let held = during
        .children
        .iter()
        .filter(|pid| !before.children.contains(pid) && **pid != child.pid.as_raw());
    for pid in held {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        let flags = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok())
            .ok_or_else(|| format!("no flags in {stat}"))?;
        if flags & FORKED_WITHOUT_EXEC != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which of the caller's children have been reaped. An orphan comes to a caller that is a
/// subreaper.
fn reaped(child: &Child, bystander: &Worker, after: &State) -> Result<Reaps, String> {
    let orphan_is_left = after
        .children
        .iter()
        .any(|pid| *pid != child.pid.as_raw() && *pid != bystander.pid.as_raw());
    Ok(match (is_gone(&child.pidfd)?, is_gone(&bystander.pidfd)?) {
        (_, true) => Reaps::AnyChild,
        (true, false) if after.subreaper && !orphan_is_left => Reaps::ProcessGroup,
        (true, false) => Reaps::Main,
        (false, false) => Reaps::Nothing,
    })
}

fn is_gone(pidfd: &impl AsFd) -> Result<bool, String> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Whose::Pidfd(pidfd.as_fd()), flags | WaitPidFlag::__WALL) {
        Ok(_) => Ok(false),
        Err(Errno::ECHILD) => Ok(true),
        Err(e) => Err(e.to_string()),
    }
}
