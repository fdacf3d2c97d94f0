//! Watches and killers in a loop of one's own: a check never sleeps and leaves no source ready that
//! it has dealt with, and a loop that sleeps on the sources until the next look hears of the end.
//! For every registered mechanism that can be polled.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::detect::{Detector, Interest, Progress, Sources, Verdict, Watch};
use allgone::kill::{KillReport, KillStrategy, Step};
use harness::MonoNs;
use harness::detect::{AnyDetector, DETECTORS, Signal};
use harness::expect::Plane;
use harness::host::named;
use harness::kill::{AnyStrategy, STRATEGIES};
use harness::param;
use harness::sys::fork::worker;
use harness::sys::time;
use harness::trial::SpawnPlan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use scenarios::Op;
use scenarios::script::FOREVER;

use super::common::{Test, ensure, wait_until};
use super::kill::text;
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::order::apart;
use super::place::{Place, reap_all, workload};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks after which a source that is still ready is one that was not dealt with.
const CHECKS: usize = 100;

/// Milliseconds: longer than an event of the kernel is delayed by its rate limit. A mechanism that
/// has no source for it waits in vain.
const DELAYED: u8 = 100;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let polled = DETECTORS.iter().filter_map(|detector| match detector {
        AnyDetector::Polled(detector) => Some(*detector),
        AnyDetector::Blocking(_) => None,
    });
    let shares = |detector: &'static dyn Detector| {
        let id = detector.spec().id;
        Test::new(
            format!("own_loop::watches_share_one_inotify_instance::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || apart(|| share(detector)),
        )
    };
    let sharing = [
        "cgroup-events-inotify",
        "fanotify",
        "subreaper+cgroup-events",
    ];
    let stepped = STRATEGIES.iter().filter_map(|strategy| match strategy {
        AnyStrategy::Stepped(strategy) => Some(*strategy),
        AnyStrategy::Blocking(_) => None,
    });
    let killers = stepped.map(|strategy| {
        let id = strategy.spec().id;
        Test::new(
            format!("own_loop::plays_a_killer::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || apart(|| play_killer(strategy)),
        )
    });
    polled
        .flat_map(|detector| {
            let id = detector.spec().id;
            let played = Test::new(
                format!("own_loop::plays_a_watch::{id}"),
                &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
                move || apart(|| play(detector)),
            );
            let shared = sharing.contains(&id).then(|| shares(detector));
            std::iter::once(played).chain(shared)
        })
        .chain(killers)
        .collect()
}

fn play(detector: &dyn Detector) -> Result<(), String> {
    let mut place = Place::make()?;
    place.site.params = param::defaults(detector.spec().axes, Plane::Detect);
    let program = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let mut plan = SpawnPlan::new(&place.site, &program).map_err(text)?;
    let mut watch = detector
        .arm(&place.site.set(), &mut plan.options)
        .map_err(text)?;
    let child = plan.spawn().map_err(text)?;
    drop(plan);
    watch.attach(&child).map_err(text)?;
    becomes_quiet(watch.as_mut())?;
    stir(&place)?;
    is_ready(&watch.sources(), PollTimeout::from(DELAYED))?;
    becomes_quiet(watch.as_mut())?;
    never_sleeps(watch.as_mut())?;
    if detector.spec().signal == Signal::Emptiness {
        place.site.cgroup.kill().map_err(text)?;
        let verdict = until_verdict(watch.as_mut())?;
        ensure(matches!(verdict, Verdict::Empty { .. }), || {
            format!("{verdict:?}")
        })?;
    }
    watch.finish();
    reap_all();
    let shared = named::shared(&place.site.label());
    named::take_down(&shared, time::now() + PATIENCE, &mut reap_all).map_err(text)
}

/// Events that are not the end: the cgroup is frozen and thawed, and a process ends in it.
fn stir(place: &Place) -> Result<(), String> {
    let cgroup = &place.site.cgroup;
    cgroup.freeze(true).map_err(text)?;
    wait_until("it is frozen", || cgroup.events().is_ok_and(|e| e.frozen))?;
    cgroup.freeze(false).map_err(text)?;
    let ended = worker(0, Some(cgroup.as_fd()), || 0).map_err(text)?;
    wait_until("it has ended", || {
        harness::sys::pidfd::has_exited(ended.pidfd.as_fd()) == Ok(true)
    })
}

/// While the first process lives nothing stays ready. What is ready after a check is something new
/// (an event of the start, say, which was delayed), and there is not much of that.
fn becomes_quiet(watch: &mut dyn Watch) -> Result<(), String> {
    for _ in 0..CHECKS {
        let progress = watch.check(time::now()).map_err(text)?;
        ensure(progress.verdict.is_none(), || format!("{progress:?}"))?;
        if !is_ready(&watch.sources(), PollTimeout::ZERO)? {
            return Ok(());
        }
    }
    Err(format!("a source is ready after {CHECKS} checks"))
}

/// A check that sleeps gives up the processor each time; one that does not may still do so now and
/// then, where it waits for a lock of the kernel.
fn never_sleeps(watch: &mut dyn Watch) -> Result<(), String> {
    let switches = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).map_err(text)?;
        Ok::<_, String>(usage.voluntary_context_switches())
    };
    for _ in 0..CHECKS {
        let before = switches()?;
        let progress = watch.check(time::now()).map_err(text)?;
        ensure(progress.verdict.is_none(), || format!("{progress:?}"))?;
        if switches()? == before {
            return Ok(());
        }
    }
    Err(format!("each of {CHECKS} checks gave up the processor"))
}

/// A killer in a program's own loop: no step leaves a source ready that it has dealt with, and in
/// the end nothing is alive.
fn play_killer(strategy: &dyn KillStrategy) -> Result<(), String> {
    let mut place = Place::make()?;
    place.site.params = param::defaults(strategy.spec().axes, Plane::Kill);
    let program = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let mut plan = SpawnPlan::new(&place.site, &program).map_err(text)?;
    let mut killer = strategy
        .prepare(&place.site.set(), &mut plan.options)
        .map_err(text)?;
    let child = plan.spawn().map_err(text)?;
    drop(plan);
    killer.attach(&child).map_err(text)?;
    let mut report = KillReport::begin();
    let deadline = time::now() + PATIENCE;
    let mut ready = 0;
    while let Step::Again(at) = killer.step(time::now(), &mut report).map_err(text)? {
        ensure(!deadline.has_passed(), || format!("never done: {report:?}"))?;
        ready = match is_ready(&killer.sources(), PollTimeout::ZERO)? {
            true => ready + 1,
            false => 0,
        };
        ensure(ready < CHECKS, || {
            format!("a source is ready after {CHECKS} steps")
        })?;
        sleep_until(&killer.sources(), at.min(deadline))?;
    }
    let cgroup = &place.site.cgroup;
    wait_until("all are dead", || {
        reap_all();
        cgroup.events().is_ok_and(|events| !events.populated)
    })?;
    ensure(report.signals > 0, || format!("{report:?}"))
}

/// What a program's own loop does.
fn until_verdict(watch: &mut dyn Watch) -> Result<Verdict, String> {
    let deadline = time::now() + PATIENCE;
    loop {
        let Progress {
            verdict, next_look, ..
        } = watch.check(time::now()).map_err(text)?;
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
        ensure(!deadline.has_passed(), || "nothing woke it".to_owned())?;
        let until = next_look.map_or(deadline, |at| at.min(deadline));
        sleep_until(&watch.sources(), until)?;
    }
}

fn sleep_until(sources: &Sources<'_>, until: MonoNs) -> Result<(), String> {
    // Rounded up: a loop that wakes too early would spin.
    let sleep = until.remaining() + Duration::from_millis(1);
    let sleep = PollTimeout::try_from(sleep).map_err(text)?;
    is_ready(sources, sleep).map(|_| ())
}

fn is_ready(sources: &Sources<'_>, sleep: PollTimeout) -> Result<bool, String> {
    let mut fds: Vec<PollFd<'_>> = sources
        .iter()
        .map(|(fd, interest)| match interest {
            Interest::Readable => PollFd::new(fd, PollFlags::POLLIN),
            Interest::Priority => PollFd::new(fd, PollFlags::POLLPRI),
        })
        .collect();
    poll(&mut fds, sleep).map(|ready| ready > 0).map_err(text)
}

/// Several sets in one process take one inotify instance, and each hears of its own end.
fn share(detector: &dyn Detector) -> Result<(), String> {
    let program = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let mut places = Vec::new();
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut place = Place::make()?;
        place.site.params = param::defaults(detector.spec().axes, Plane::Detect);
        let mut plan = SpawnPlan::new(&place.site, &program).map_err(text)?;
        let mut watch = detector
            .arm(&place.site.set(), &mut plan.options)
            .map_err(text)?;
        let child = plan.spawn().map_err(text)?;
        watch.attach(&child).map_err(text)?;
        becomes_quiet(watch.as_mut())?;
        drop(plan);
        watches.push(watch);
        places.push((place, child));
    }
    let instances = std::fs::read_dir("/proc/self/fd")
        .map_err(text)?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|link| link.to_string_lossy().contains("inotify"))
        .count();
    ensure(instances == 1, || format!("{instances} inotify instances"))?;
    // The last first: what it takes off the queue for the others it has to tell them.
    for (place, _) in &places {
        place.site.cgroup.kill().map_err(text)?;
    }
    for watch in watches.iter_mut().rev() {
        let verdict = until_verdict(watch.as_mut())?;
        ensure(matches!(verdict, Verdict::Empty { .. }), || {
            format!("{verdict:?}")
        })?;
    }
    Ok(())
}
