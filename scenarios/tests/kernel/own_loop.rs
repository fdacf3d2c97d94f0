//! Watches in a loop of one's own: a check never sleeps and leaves no source ready that it has
//! dealt with, and a loop that sleeps on the sources until the next look hears of the end.

use std::time::Duration;

use allgone::detect::{Detector, Interest, Progress, Verdict, Watch};
use harness::detect::{AnyDetector, DETECTORS, Signal};
use harness::expect::Plane;
use harness::host::named;
use harness::param;
use harness::sys::time;
use harness::trial::SpawnPlan;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use scenarios::Op;
use scenarios::script::FOREVER;

use super::common::{Test, ensure};
use super::kill::text;
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::order::apart;
use super::place::{Place, reap_all, workload};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks after which a source that is still ready is one that was not dealt with.
const CHECKS: usize = 100;

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

/// While the first process lives nothing stays ready. (An event of its start may still come.)
fn becomes_quiet(watch: &mut dyn Watch) -> Result<(), String> {
    for _ in 0..CHECKS {
        let progress = watch.check(time::now()).map_err(text)?;
        ensure(progress.verdict.is_none(), || format!("{progress:?}"))?;
        if !is_ready(watch, PollTimeout::ZERO)? {
            return Ok(());
        }
    }
    Err(format!("a source is ready after {CHECKS} checks"))
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
        let sleep = next_look
            .map_or(deadline, |at| at.min(deadline))
            .remaining();
        // Rounded up: a loop that wakes too early would spin.
        let sleep = PollTimeout::try_from(sleep + Duration::from_millis(1)).map_err(text)?;
        is_ready(watch, sleep)?;
    }
}

fn is_ready(watch: &dyn Watch, sleep: PollTimeout) -> Result<bool, String> {
    let sources = watch.sources();
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
