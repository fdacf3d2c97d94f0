//! Trials: expectations hold, both ways; nothing stays behind, whatever happens.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use harness::cgroup::Cgroup;
use harness::detect::DETECTORS;
use harness::expect::{Expectation, KillExpectation, Plane};
use harness::kill::{self, STRATEGIES};
use harness::param::FOREVER;
use harness::record::{Entry, Outcome, TrialRecord, read_lines};
use harness::trial::Expected;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::{Pid, Uid, chown};
use scenarios::{SCENARIOS, Scenario};

use super::common::{
    Test, base, cgroups_of, ensure, play, reference, scenario, spec, spec_at, start, told,
    wait_until,
};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP, PIDS_LIMIT, ROOT};

/// An expected event may take this long on a machine that is slow or busy with a bomb: a walk
/// through a tree that makes cgroups takes seconds there. An event that must not come is waited for
/// as long as [`spec`] says.
const PATIENCE: Duration = Duration::from_secs(20);

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "trial::killpg_leaves_survivors_under_setsid",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            killpg_leaves_survivors,
        ),
        Test::new(
            "trial::a_file_left_behind_is_a_leak",
            &[CGROUP2_WRITE, ROOT],
            a_file_is_a_leak,
        ),
        Test::new(
            "trial::sigkill_of_the_harness_leaves_nothing_alive",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            sigkill_of_the_harness,
        ),
        Test::new(
            "trial::an_interrupt_keeps_records_and_leaves_nothing",
            &[CGROUP2_WRITE],
            interrupt,
        ),
        Test::new(
            "trial::a_bomb_is_born_in_its_cgroup",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, PIDS_LIMIT],
            born_there,
        ),
    ];
    for scenario in SCENARIOS.iter().copied() {
        if scenario.spec().planes.contains(&Plane::Detect) {
            tests.extend(
                DETECTORS
                    .iter()
                    .map(|d| expectation_of_detector(scenario, d.spec().id)),
            );
        }
        if scenario.spec().planes.contains(&Plane::Kill) {
            tests.extend(
                STRATEGIES
                    .iter()
                    .map(|s| expectation_of_strategy(scenario, s.spec().id)),
            );
        }
    }
    tests
}

/// One trial; the outcome is what the scenario says about the detector's scope.
fn expectation_of_detector(scenario: &'static dyn Scenario, id: &'static str) -> Test {
    let name = format!("trial::expectation_holds::{}::{id}", scenario.spec().id);
    let needs = [&[CGROUP2_WRITE, id], scenario.needs()].concat();
    Test::new(name, &needs, move || {
        let detector = harness::detect::by_id(id).ok_or("not registered")?;
        let mut spec = spec(scenario, detector, None);
        if matches!(spec.expected, Expected::Detect(Expectation::Early(_))) {
            // At the default the tree ends while an observer may still wait for a processor.
            spec = spec_at(scenario, detector, None, &[("lifetime", FOREVER)]);
        }
        match spec.expected {
            Expected::Detect(Expectation::NotApplicable(_)) => return Ok(()),
            Expected::Detect(Expectation::Sound | Expectation::Removed(_)) => {
                spec.deadline = PATIENCE
            }
            _ => {}
        }
        held(&play(&spec)?)
    })
}

/// As [`expectation_of_detector`], for a strategy's reach.
fn expectation_of_strategy(scenario: &'static dyn Scenario, id: &'static str) -> Test {
    let name = format!("trial::expectation_holds::{}::{id}", scenario.spec().id);
    let needs = [&[CGROUP2_WRITE, PIDS_LIMIT, id], scenario.needs()].concat();
    Test::new(name, &needs, move || {
        let strategy = kill::by_id(id).ok_or("not registered")?;
        let mut spec = spec(scenario, reference(), Some(strategy));
        match spec.expected {
            Expected::Kill(KillExpectation::NotApplicable(_)) => return Ok(()),
            Expected::Kill(KillExpectation::Empties) => spec.deadline = PATIENCE,
            _ => {}
        }
        held(&play(&spec)?)
    })
}

fn held(record: &TrialRecord) -> Result<(), String> {
    ensure(record.held, || {
        serde_json::to_string_pretty(record).unwrap_or_else(|e| e.to_string())
    })
}

fn by_id(id: &str) -> &'static dyn Scenario {
    scenarios::by_id(id).expect("it is registered")
}

/// Known unsoundness is an asserted fact: the group does not reach a process that has left it.
fn killpg_leaves_survivors() -> Result<(), String> {
    let strategy = kill::by_id("killpg").ok_or("not registered")?;
    let spec = spec(by_id("setsid"), reference(), Some(strategy));
    ensure(
        matches!(spec.expected, Expected::Kill(KillExpectation::Survives(_))),
        || format!("{:?}", spec.expected),
    )?;
    let record = play(&spec)?;
    ensure(
        record.outcome == Outcome::Survived && !record.survivors.is_empty(),
        || format!("{record:?}"),
    )?;
    held(&record)
}

fn born_there() -> Result<(), String> {
    let strategy = kill::by_id("cgroup-kill").ok_or("not registered")?;
    let record = play(&spec(by_id("forkbomb"), reference(), Some(strategy)))?;
    ensure(record.entry == Some(Entry::Born), || format!("{record:?}"))?;
    ensure(
        record.ledger.births > 1 && record.ledger.refused > 0,
        || format!("the limit was never reached: {record:?}"),
    )
}

/// The leak check has to be able to fail.
fn a_file_is_a_leak() -> Result<(), String> {
    let run = start();
    let file = tempfile::NamedTempFile::new_in("/tmp").map_err(|e| e.to_string())?;
    let actor = run
        .credentials()
        .ok_or("root has actors with a user of their own")?;
    chown(file.path(), Some(Uid::from_raw(actor.uid)), None).map_err(|e| e.to_string())?;
    let leaks = run.finish().map_err(|e| e.to_string())?;
    let name = file.path().display().to_string();
    ensure(leaks.left.iter().any(|leak| leak.contains(&name)), || {
        format!("{name} is not in: {leaks}")
    })
}

/// A running command in the middle of a bomb that only a clean-up can end.
fn bombing(dir: &Path) -> Result<Child, String> {
    let out = dir.join("out");
    let out = out.to_str().ok_or("not UTF-8")?;
    let args = [
        "forkbomb-setsid",
        "--detector",
        "none",
        "--kill",
        "kill-main",
        "--trials",
        "1000",
        "--deadline",
        "1s",
        "--out",
        out,
    ];
    scenario(dir, &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())
}

/// Whether one of the sites below `run` has members.
fn site_is_populated(run: &Path) -> bool {
    let trials = std::fs::read_dir(run)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    trials.map(|t| t.path().join("site")).any(|site| {
        Cgroup::open(site)
            .and_then(|site| site.procs())
            .is_ok_and(|members| members.pids.len() > 10)
    })
}

fn sigkill_of_the_harness() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut child = bombing(dir.path())?;
    let pid = child.id();
    wait_until("the bomb has gone off", || {
        cgroups_of(pid).iter().any(|run| site_is_populated(run))
    })?;
    child.kill().map_err(|e| e.to_string())?;
    child.wait().map_err(|e| e.to_string())?;
    wait_until("nothing lives in the run's cgroup", || {
        cgroups_of(pid).iter().all(|run| empty(run))
    })?;
    // What may be left are empty directories. They are removed by `clean`, and nothing else is.
    let (code, out, err) = super::common::run(&["clean"]);
    ensure(code == Some(0), || format!("clean: {code:?} {out} {err}"))?;
    ensure(cgroups_of(pid).is_empty(), || {
        format!("{:?} after: {out} {err}", cgroups_of(pid))
    })
}

/// A cgroup that is gone is empty; one that cannot be read is not known to be.
fn empty(run: &Path) -> bool {
    match Cgroup::open(run).and_then(|run| run.events()) {
        Ok(events) => !events.populated,
        Err(e) => matches!(
            e.errno(),
            Some(nix::errno::Errno::ENOENT | nix::errno::Errno::ENODEV)
        ),
    }
}

fn interrupt() -> Result<(), String> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let child = bombing(dir.path())?;
        let pid = child.id();
        let trials = dir.path().join("out/trials.jsonl");
        let recorded = || std::fs::read_to_string(&trials).map_or(0, |text| text.lines().count());
        wait_until("a trial is recorded", || recorded() > 0)?;
        let pid_of_child = i32::try_from(pid).map_err(|e| e.to_string())?;
        send(Pid::from_raw(pid_of_child), signal).map_err(|e| e.to_string())?;
        let (code, out, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
        ensure(code == Some(5), || {
            format!("{signal}: {code:?} {out} {err}")
        })?;
        ensure(out.contains("Interrupted after"), || format!("{out} {err}"))?;
        let file = std::fs::File::open(&trials).map_err(|e| e.to_string())?;
        let records: Result<Vec<_>, _> = read_lines(std::io::BufReader::new(file)).collect();
        ensure(!records.map_err(|e| e.to_string())?.is_empty(), || {
            "no record".to_owned()
        })?;
        ensure(cgroups_of(pid).is_empty(), || {
            format!(
                "{:?} below {}",
                cgroups_of(pid),
                base().cgroup().path().display()
            )
        })?;
    }
    Ok(())
}
