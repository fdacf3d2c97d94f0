//! Detectors beyond the expectations of every scenario: none gives a verdict while everything that
//! it can see is alive.

use std::time::Duration;

use harness::detect::{self, DETECTORS};
use harness::expect::Expectation;
use harness::param::FOREVER;
use harness::record::Outcome;
use harness::trial::Expected;

use super::common::{Test, ensure, play, spec_at};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let test = |id: &'static str| {
        let name = format!("detect::says_nothing_while_the_main_process_lives::{id}");
        Test::new(name, &[CGROUP2_WRITE, PIDS_LIMIT, id], move || silent(id))
    };
    let mut tests: Vec<Test> = DETECTORS.iter().map(|d| test(d.spec().id)).collect();
    tests.push(Test::new(
        "detect::waiting_costs_nothing_little_or_everything",
        &[CGROUP2_WRITE, PIDS_LIMIT],
        waiting,
    ));
    tests.push(Test::new(
        "detect::a_pool_serves_a_burst_and_then_falls_back",
        &[CGROUP2_WRITE, PIDS_LIMIT],
        pool,
    ));
    tests
}

/// A tree sleeps: a detector that is woken by events is not woken, one that reads at intervals is,
/// and one that spins uses the most CPU time.
fn waiting() -> Result<(), String> {
    let idle = |id: &str| {
        let detector = detect::by_id(id).ok_or("not registered")?;
        let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
        let mut spec = spec_at(scenario, detector, None, &[("lifetime", 1_200_000_000)]);
        spec.conditions.idle = true;
        spec.deadline = Duration::from_secs(10);
        let record = play(&spec)?;
        ensure(record.held, || format!("{record:?}"))?;
        record
            .idle
            .ok_or(format!("{id} was not sampled: {record:?}"))
    };
    for event in [
        "cgroup-events-poll",
        "subreaper+cgroup-events",
        "pidfd-main",
    ] {
        let seen = idle(event)?;
        ensure(seen.wakeups == 0 && seen.samples > 1, || {
            format!("{event}: {seen:?}")
        })?;
    }
    let event = idle("cgroup-events-inotify")?.cpu_ns_per_s();
    let interval = idle("cgroup-procs-poll")?;
    let spin = idle("cgroup-events-spin")?.cpu_ns_per_s();
    ensure(interval.wakeups > 0, || format!("{interval:?}"))?;
    let interval = interval.cpu_ns_per_s();
    ensure(event < interval && interval < spin, || {
        format!("{event} {interval} {spin}")
    })
}

/// The cgroups of the pool, launch by launch; and a process that was made beforehand records when
/// it was released.
fn pool() -> Result<(), String> {
    let launch = |set: &[(&str, u64)]| {
        let detector = detect::by_id("prepopulated-cgroup").ok_or("not registered")?;
        let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
        let record = play(&spec_at(scenario, detector, None, set))?;
        ensure(record.held, || format!("{record:?}"))?;
        ensure(record.stamps.running_ns > record.stamps.spawn_ns, || {
            format!("{record:?}")
        })?;
        Ok::<_, String>(record)
    };
    // The members are all warm when the burst begins. Those that are added during it may be warm at
    // its end, so that is not checked.
    let cases = [
        (1, 0, 1, false),
        (0, 0, 1, true),
        (3, 2, 1, false),
        (3, 2, 0, false),
        (3, 3, 0, true),
    ];
    for (size, burst, refill, falls_back) in cases {
        let record = launch(&[("pool-size", size), ("burst", burst), ("refill", refill)])?;
        ensure((record.counters.fallbacks > 0) == falls_back, || {
            format!("pool of {size}, launch {burst}, refill {refill}: {record:?}")
        })?;
    }
    let itself = launch(&[("placeholder-execs", 1)])?;
    let asked = itself.counters.asked_ns;
    ensure(
        Some(asked) > itself.stamps.spawned_ns && Some(asked) < itself.stamps.running_ns,
        || format!("{itself:?}"),
    )
}

/// The main process is in every scope, and it lives for ever: only the deadline may end the wait.
fn silent(id: &'static str) -> Result<(), String> {
    let detector = detect::by_id(id).ok_or("not registered")?;
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let mut spec = spec_at(scenario, detector, None, &[("lifetime", FOREVER)]);
    spec.deadline = Duration::from_millis(100);
    // Scenarios have no expectation for a detector that only a removal wakes; it too must give no
    // verdict.
    if matches!(
        spec.expected,
        Expected::Detect(Expectation::NotApplicable(_))
    ) {
        spec.expected = Expected::Detect(Expectation::NeverFires("nothing is removed"));
    }
    ensure(
        matches!(spec.expected, Expected::Detect(Expectation::NeverFires(_))),
        || format!("{:?}", spec.expected),
    )?;
    let record = play(&spec)?;
    ensure(
        record.held && record.outcome == Outcome::StillRunning,
        || format!("{record:?}"),
    )
}
