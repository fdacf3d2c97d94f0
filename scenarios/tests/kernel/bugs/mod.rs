//! Deliberate bugs: five faults that real programs have, each in a mechanism that exists for this
//! test alone. The harness's own checks must convict it, and acquit the same mechanism without the
//! fault under the same scenario.
//!
//! Nothing is left to chance. Each mechanism, with the fault or without, pauses at the point where
//! the fault matters until what has to happen there has happened.

mod detectors;
mod strategies;

use std::time::Duration;

use harness::detect::AnyDetector;
use harness::expect::{Canary, Expectation, KillExpectation};
use harness::kill::AnyStrategy;
use harness::record::{Outcome, TrialRecord};
use harness::trial::{Expected, Stage, TrialSpec};
use nix::errno::Errno;
use scenarios::script::{FOREVER, Op, Script};

use super::common::{Test, ensure, play, reference, spec};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP, PIDS_LIMIT, ROOT};
use super::place::Place;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let test = |name: &str, needs: &[_], body: fn() -> Result<(), String>| {
        Test::new(format!("bugs::{name}"), needs, body)
    };
    let site = &[CGROUP2_WRITE, PIDS_LIMIT];
    let numbers = &[CGROUP2_WRITE, PIDS_LIMIT, ROOT, CLONE_INTO_CGROUP];
    vec![
        test("reading_before_subscribing_misses", site, reads_first),
        test("an_error_taken_as_empty_is_early", site, error_is_empty),
        test("one_list_that_decides_is_early", site, list_decides),
        test("a_single_pass_leaves_survivors", site, single_pass),
        test("a_stale_number_hits_a_stranger", numbers, stale_number),
        test("removal_by_path_is_early", site, removal_by_path),
        test("the_kernel_renames_no_cgroup_of_version_2", site, no_rename),
    ]
}

const STAY: Op = Op::Live { ns: FOREVER };

/// A trial of `blocks`, which need no scenario of their own.
fn trial<'a>(
    blocks: Vec<Vec<Op>>,
    stage: Stage,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
    expected: Expected,
) -> Result<TrialSpec<'a>, String> {
    let script = Script::new(blocks).map_err(|e| e.to_string())?;
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    Ok(TrialSpec {
        workload: scenarios::workload(&script).map_err(|e| e.to_string())?,
        stage,
        expected,
        deadline: Duration::from_secs(1),
        ..spec(scenario, detector, strategy)
    })
}

/// Both are played: the one with the fault is convicted of `crime`, the other is acquitted.
fn convict(
    play_one: impl Fn(bool) -> Result<TrialRecord, String>,
    crime: impl Fn(&TrialRecord) -> bool,
) -> Result<(), String> {
    let words = |record: &TrialRecord| {
        serde_json::to_string_pretty(record).unwrap_or_else(|e| e.to_string())
    };
    let faulty = play_one(true)?;
    ensure(!faulty.held && crime(&faulty), || {
        format!("the fault was not seen: {}", words(&faulty))
    })?;
    let right = play_one(false)?;
    ensure(right.held && right.outcome != Outcome::Broken, || {
        format!("blamed without a fault: {}", words(&right))
    })
}

/// The tree ends between the read and the subscription: no event comes any more.
fn reads_first() -> Result<(), String> {
    let one = |faulty| {
        play(&trial(
            vec![vec![Op::WaitGo]],
            Stage::default(),
            detectors::hinted(faulty),
            None,
            Expected::Detect(Expectation::Sound),
        )?)
    };
    convict(one, |record| record.outcome == Outcome::Missed)
}

/// The kernel refuses to list a threaded cgroup. Whoever takes that for "nobody there" is early.
fn error_is_empty() -> Result<(), String> {
    let one = |faulty| {
        play(&trial(
            vec![vec![STAY]],
            Stage::default(),
            detectors::listing(faulty),
            None,
            Expected::Detect(Expectation::Removed("what it reads cannot be read")),
        )?)
    };
    convict(one, |record| record.outcome == Outcome::Early)
}

/// The process moves to a cgroup below: the list that is read once is empty, and nobody has ended.
fn list_decides() -> Result<(), String> {
    let delegated = Stage {
        delegated: true,
        ..Stage::default()
    };
    let one = |faulty| {
        play(&trial(
            vec![vec![Op::EnterCgroup, STAY]],
            delegated,
            detectors::single_list(faulty),
            None,
            Expected::Detect(Expectation::NeverFires("a process lives for ever")),
        )?)
    };
    convict(one, |record| record.outcome == Outcome::Early)
}

/// A process with ever new numbers: whoever was listed is gone before it is signalled.
fn single_pass() -> Result<(), String> {
    let ready = Stage {
        says_ready: true,
        ..Stage::default()
    };
    let one = |faulty| {
        play(&trial(
            vec![
                vec![Op::Fork { block: 1, count: 1 }, Op::Ready, STAY],
                vec![Op::ForkExitLoop],
            ],
            ready,
            reference(),
            Some(strategies::one_pass(faulty)),
            Expected::Kill(KillExpectation::Empties),
        )?)
    };
    convict(one, |record| {
        record.outcome == Outcome::Survived && !record.survivors.is_empty()
    })
}

/// Numbers are remembered; then their processes end, and an outsider gets the number of one.
fn stale_number() -> Result<(), String> {
    // Orphans, so that the harness reaps them: it gives the number away.
    let fork = |block, count| Op::Fork { block, count };
    let blocks = vec![
        vec![fork(1, 1), Op::WaitGo, Op::Ready, STAY],
        vec![fork(2, strategies::ORPHANS)],
        vec![Op::AwaitParent, Op::WaitGo],
    ];
    let hostile = Stage {
        hostile: true,
        says_ready: true,
        ..Stage::default()
    };
    let once = |faulty| {
        play(&TrialSpec {
            deadline: Duration::from_secs(5),
            ..trial(
                blocks.clone(),
                hostile,
                reference(),
                Some(strategies::remembering(faulty)),
                Expected::Kill(KillExpectation::Empties),
            )?
        })
    };
    // On a machine where others fork, one of them may get each of the numbers. Then the moment
    // never comes, and there is nothing to judge.
    let one = |faulty| {
        let mut record = once(faulty)?;
        for _ in 0..4 {
            if record.outcome == Outcome::Broken {
                record = once(faulty)?;
            }
        }
        Ok(record)
    };
    convict(one, |record| {
        record.outcome == Outcome::Emptied && record.canaries_hit == [Canary::ReusedPid]
    })
}

/// The tree gives its cgroup another name: at the path that is removed there is nothing, and nobody
/// has ended.
fn removal_by_path() -> Result<(), String> {
    let one = |faulty| {
        play(&trial(
            vec![vec![STAY]],
            Stage::default(),
            detectors::removing(faulty),
            None,
            Expected::Detect(Expectation::NeverFires("a process lives for ever")),
        )?)
    };
    convict(one, |record| record.outcome == Outcome::Early)
}

/// Why a tree renames by moving: `cgroup_kf_syscall_ops` has no rename (kernel/cgroup/cgroup.c).
fn no_rename() -> Result<(), String> {
    let place = Place::make()?;
    let from = place.site.cgroup.path();
    let renamed = std::fs::rename(from, from.with_file_name("other"));
    let errno = renamed.map_err(|e| e.raw_os_error().map(Errno::from_raw));
    ensure(errno == Err(Some(Errno::EPERM)), || format!("{errno:?}"))
}
