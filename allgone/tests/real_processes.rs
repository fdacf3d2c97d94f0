//! The library with real processes, from a process with several threads. Needs a cgroup v2
//! directory in which this user may make others; where there is none, the tests say so and are
//! ignored, unless `HARNESS_REQUIRE` names `cgroup2-write`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the whole file is a test"
)]

mod place;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use allgone::detect::{self, Verdict};
use allgone::host::Support;
use allgone::job::Command;
use allgone::kill::{self, InThread, Killer};
use allgone::spawn::SpawnOptions;
use allgone::sys::{pidfd, time};

use place::{Place, host, sh};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_detector_is_probed_and_says_empty_when_the_last_process_has_ended() {
    let Some(host) = host() else { return };
    for detector in detect::DETECTORS {
        let id = detector.spec().id;
        if let Support::Missing { why, remedy } = detector.probe(&host).unwrap() {
            eprintln!("{id} is not tried here: {why} ({remedy})");
            continue;
        }
        let place = Place::make(&host);
        let mut options = SpawnOptions::default();
        let mut watch = detector.arm(&place.set, &mut options).unwrap();
        // The shell ends first and leaves one behind.
        let child = sh("sleep 0.05 &").spawn_in(&place.set, &options).unwrap();
        drop(options);
        watch.attach(&child).unwrap();
        let verdict = watch.wait(time::now() + PATIENCE).unwrap();
        assert!(
            matches!(verdict, Verdict::Empty { .. }),
            "{id}: {verdict:?}"
        );
        let over = !place.set.cgroup().events().unwrap().populated;
        assert_eq!(
            over,
            id != "pidfd-main",
            "{id}: only the first process is seen by pidfd-main"
        );
        watch.finish();
        place.clear(&child);
    }
}

#[test]
fn a_watch_moves_to_another_thread_and_can_be_cancelled() {
    let Some(host) = host() else { return };
    let place = Place::make(&host);
    let mut options = SpawnOptions::default();
    let mut watch = detect::RECOMMENDED.arm(&place.set, &mut options).unwrap();
    let child = sh("exec sleep 600").spawn_in(&place.set, &options).unwrap();
    watch.attach(&child).unwrap();
    let watch = std::thread::spawn(move || {
        let verdict = watch.wait(time::now() + Duration::from_millis(20)).unwrap();
        assert!(
            matches!(verdict, Verdict::DeadlinePassed { .. }),
            "{verdict:?}"
        );
        watch
    });
    let counters = watch.join().unwrap().finish();
    assert!(counters.reads > 0);
    place.clear(&child);
}

#[test]
fn every_strategy_ends_a_set_in_steps() {
    every_strategy_ends_a_set(false);
}

#[test]
fn every_strategy_ends_a_set_from_a_thread_of_its_own() {
    every_strategy_ends_a_set(true);
}

fn every_strategy_ends_a_set(in_thread: bool) {
    let Some(host) = host() else { return };
    for strategy in kill::STRATEGIES {
        let id = strategy.spec().id;
        if let Support::Missing { why, .. } = strategy.probe(&host).unwrap() {
            eprintln!("{id} is not tried here: {why}");
            continue;
        }
        let place = Place::make(&host);
        let mut options = SpawnOptions::default();
        let mut watch = detect::RECOMMENDED.arm(&place.set, &mut options).unwrap();
        let killer = strategy.prepare(&place.set, &mut options).unwrap();
        let mut killer: Box<dyn Killer> = match in_thread {
            true => Box::new(InThread::new(killer).unwrap()),
            false => killer,
        };
        let child = sh("trap '' TERM; sleep 600 & sleep 600 & wait")
            .spawn_in(&place.set, &options)
            .unwrap();
        watch.attach(&child).unwrap();
        killer.attach(&child).unwrap();
        let report = killer.kill(time::now() + PATIENCE).unwrap();
        assert!(report.signals > 0 && !report.gave_up, "{id}: {report:?}");
        let verdict = watch.wait(time::now() + PATIENCE).unwrap();
        assert!(
            matches!(verdict, Verdict::Empty { .. }),
            "{id}: {verdict:?}"
        );
        place.clear(&child);
    }
}

#[test]
fn a_killer_that_gives_up_leaves_nothing_frozen() {
    let Some(host) = host() else { return };
    let place = Place::make(&host);
    let mut options = SpawnOptions::default();
    let strategy = kill::STRATEGIES
        .iter()
        .find(|s| s.spec().id == "freeze-kill")
        .unwrap();
    if !strategy.probe(&host).unwrap().is_available() {
        return;
    }
    let mut killer = strategy.prepare(&place.set, &mut options).unwrap();
    let child = sh("exec sleep 600").spawn_in(&place.set, &options).unwrap();
    let mut report = kill::KillReport::begin();
    // The first step asks the kernel to freeze; the deadline passes before another.
    killer.step(time::now(), &mut report).unwrap();
    killer.give_up(&mut report).unwrap();
    assert_eq!(
        place.set.cgroup().read("cgroup.freeze").unwrap().trim(),
        "0"
    );
    place.clear(&child);
}

#[test]
fn a_child_is_reaped_without_touching_others() {
    let Some(host) = host() else { return };
    let place = Place::make(&host);
    let mut other = std::process::Command::new("/bin/true").spawn().unwrap();
    let child = Command::new("/bin/true")
        .spawn_in(&place.set, &SpawnOptions::default())
        .unwrap();
    let deadline = time::now() + PATIENCE;
    while !pidfd::has_exited(child.as_fd()).unwrap() {
        assert!(!deadline.has_passed());
    }
    assert!(
        child
            .try_reap()
            .unwrap()
            .is_some_and(|change| change.ended())
    );
    assert!(
        other.wait().unwrap().success(),
        "another child is still there to be waited for"
    );
    place.clear(&child);
    drop(Arc::clone(place.set.cgroup()));
}
