//! Real programs as workloads: what is recorded about them, and that nothing of them stays behind.
//!
//! A program that is not installed makes its test ignored, with that reason. No test here depends
//! on how long a program takes, only on what is true of its record.

mod real;

use std::path::Path;

use harness::record::{Cause, Outcome, TrialRecord, TruthSource, Verdict, read_lines};

use super::common::{Test, ensure, scenario, told};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};
use real::{Kept, PRELUDE, REAL, Real};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "programs::the_truth_is_an_interval_and_every_record_says_from_what",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            interval,
        ),
        Test::new(
            "programs::one_that_daemonises_is_missed_by_whoever_sees_only_the_first_process",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            daemon,
        ),
        Test::new(
            "programs::one_that_cannot_start_is_a_recorded_outcome",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            cannot_start,
        ),
        Test::new(
            "programs::one_that_is_not_there_ends_with_2",
            &[],
            not_there,
        ),
        Test::new(
            "programs::one_that_outlives_the_deadline_is_still_running_and_then_removed",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            outlives,
        ),
        Test::new(
            "programs::its_own_copy_is_asked_with_a_lease",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            own_copy,
        ),
        Test::new(
            "programs::process_events_are_heard_where_they_are_allowed",
            &[CGROUP2_WRITE, PIDS_LIMIT, "proc-connector"],
            events,
        ),
        Test::new(
            "programs::every_detector_and_strategy_does_what_is_expected_of_it",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            everything,
        ),
    ];
    for real in REAL {
        let needs = [&[CGROUP2_WRITE, PIDS_LIMIT], real.needs].concat();
        tests.push(Test::new(
            format!("programs::{}", real.name),
            &needs,
            || played(real),
        ));
    }
    tests
}

/// Runs `scenario exec` and returns its exit code, what it printed, and its records.
fn exec(
    options: &[&str],
    program: &[&str],
) -> Result<(Option<i32>, String, Vec<TrialRecord>), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = dir.path().join("out");
    let words = [
        &[
            "exec",
            "--quiet",
            "--all",
            "--out",
            out.to_str().ok_or("UTF-8")?,
        ],
        options,
        &["--"],
        program,
    ]
    .concat();
    let output = scenario(dir.path(), &words)
        .current_dir("/")
        .output()
        .map_err(|e| e.to_string())?;
    let (code, out_text, err) = told(&output);
    let records = match std::fs::File::open(out.join("trials.jsonl")) {
        Ok(file) => read_lines(std::io::BufReader::new(file))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?,
        Err(_) => Vec::new(),
    };
    Ok((code, format!("{out_text}{err}"), records))
}

/// Whether the record is whole, and its interval has an order.
fn is_honest(record: &TrialRecord) -> Result<(), String> {
    let stamps = &record.stamps;
    let program = record.program.as_ref();
    ensure(
        program.is_some_and(|program| program.truth.contains(&TruthSource::Cgroup)),
        || format!("no source of the truth: {record:?}"),
    )?;
    if let (Some(lower), Some(upper)) = (stamps.over_lower_ns, stamps.over_upper_ns) {
        ensure(lower <= upper || record.strategy.is_some(), || {
            format!("the interval has no order: {record:?}")
        })?;
    }
    let decided = match &record.verdict {
        Some(Verdict::Empty { decided_ns, .. }) => *decided_ns,
        _ => return Ok(()),
    };
    let right = match record.outcome {
        Outcome::Early => {
            stamps.over_lower_ns.is_some_and(|lower| decided < lower)
                || stamps.over_upper_ns.is_none()
        }
        Outcome::Right => stamps.over_upper_ns.is_some_and(|upper| decided >= upper),
        Outcome::CannotTell => stamps.over_upper_ns.is_some_and(|upper| decided < upper),
        _ => true,
    };
    ensure(right, || {
        format!("the outcome does not follow from the interval: {record:?}")
    })
}

fn held(code: Option<i32>, text: &str, records: &[TrialRecord]) -> Result<(), String> {
    ensure(code == Some(0) && !records.is_empty(), || {
        format!("{code:?} {text}")
    })?;
    for record in records {
        is_honest(record)?;
        ensure(record.held, || format!("{text} {record:?}"))?;
    }
    Ok(())
}

/// Watched to its end if it has one, and killed while it is at work. Nothing is left either way.
fn played(real: &Real) -> Result<(), String> {
    let script = format!("{PRELUDE}{}", real.script);
    let program = ["/bin/sh", "-c", script.as_str()];
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let log = dir.path().join("log");
    let log = log.to_str().ok_or("not UTF-8")?;
    // One that lives for ever takes all of the time. A busy machine gets as much as for the others.
    let deadlines: &[&str] = match real.kept {
        Kept::Forever => &["5s", "60s"],
        Kept::Nothing | Kept::Ending => &["60s"],
    };
    let (mut records, mut said, mut first) = (Vec::new(), String::new(), None);
    for deadline in deadlines {
        let watched = [
            "--detector",
            "cgroup-events-poll",
            "--deadline",
            deadline,
            "--output",
            log,
        ];
        let (code, text, seen) = exec(&watched, &program)?;
        let code = without_segments(code, &text)?;
        said = std::fs::read_to_string(log).unwrap_or_default();
        held(code, &format!("{text} {said}"), &seen)?;
        first = seen[0].program.as_ref().and_then(|p| p.main.clone());
        records = seen;
        if first.is_some() {
            break;
        }
    }
    ensure(first.as_deref() == Some("exited with 0"), || {
        format!("it did not do what it was to do: {first:?} {said}")
    })?;
    let lived = records[0].outcome == Outcome::StillRunning;
    ensure(lived == (real.kept == Kept::Forever), || {
        format!("{:?} {said}", records[0])
    })?;
    let killed = ["--kill", "cgroup-kill", "--kill-after", "300ms"];
    let (code, text, records) = exec(&killed, &program)?;
    let code = without_segments(code, &text)?;
    held(code, &text, &records)?;
    ensure(records[0].outcome == Outcome::Emptied, || {
        format!("{text} {:?}", records[0])
    })
}

/// PostgreSQL that is killed leaves shared memory, of System V and in `/dev/shm`, and the command
/// says so. Here it is removed; anything else that was left keeps its exit code.
fn without_segments(code: Option<i32>, text: &str) -> Result<Option<i32>, String> {
    let left = text.lines().map(str::trim);
    let segments: Vec<&str> = left
        .filter_map(|line| line.strip_prefix("System V object shm "))
        .collect();
    for segment in &segments {
        let removed = std::process::Command::new("ipcrm")
            .args(["-m", segment])
            .status();
        ensure(removed.is_ok_and(|status| status.success()), || {
            format!("segment {segment} could not be removed")
        })?;
    }
    let lines = text.lines().map(str::trim);
    let (shared, others): (Vec<&str>, Vec<&str>) = lines
        .filter_map(|line| line.strip_prefix("file "))
        .partition(|file| file.starts_with("/dev/shm/PostgreSQL."));
    for file in &shared {
        std::fs::remove_file(file).map_err(|e| format!("{file}: {e}"))?;
    }
    let others = !others.is_empty() || text.contains("\n  process ");
    match (code, segments.is_empty() && shared.is_empty(), others) {
        (Some(1), false, false) => Ok(Some(0)),
        _ => Ok(code),
    }
}

fn interval() -> Result<(), String> {
    let (code, text, records) = exec(&["--trials", "3"], &["sleep", "0.05"])?;
    held(code, &text, &records)?;
    for record in &records {
        let stamps = &record.stamps;
        ensure(
            stamps.over_lower_ns.is_some() && stamps.over_upper_ns.is_some(),
            || format!("an end without an interval: {record:?}"),
        )?;
        let program = record.program.as_ref().ok_or("no program")?;
        ensure(program.argv == ["sleep", "0.05"], || format!("{program:?}"))?;
    }
    ensure(
        text.contains("learned from") && text.contains('–'),
        || format!("no interval and no source is printed: {text}"),
    )
}

fn daemon() -> Result<(), String> {
    let options = ["--detector", "pidfd-main,cgroup-events-poll"];
    let (code, text, records) = exec(&options, &["/bin/sh", "-c", "setsid sleep 0.5 & exit 3"])?;
    held(code, &text, &records)?;
    let of = |id: &str| records.iter().find(|record| record.detector == id);
    let naive = of("pidfd-main").ok_or("it was not run")?;
    ensure(
        naive.outcome == Outcome::Early && naive.expectation.as_deref() == Some("none"),
        || format!("{naive:?}"),
    )?;
    let sound = of("cgroup-events-poll").ok_or("it was not run")?;
    ensure(
        matches!(sound.outcome, Outcome::Right | Outcome::CannotTell)
            && sound.expectation.as_deref() == Some("sound-if-it-ends"),
        || format!("{sound:?}"),
    )?;
    let main = sound.program.as_ref().and_then(|p| p.main.clone());
    ensure(main.as_deref() == Some("exited with 3"), || {
        format!("{main:?}")
    })?;
    ensure(text.contains("no expectation"), || text.clone())
}

fn cannot_start() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "not a program").map_err(|e| e.to_string())?;
    for mode in [0o755, 0o644] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))
            .and_then(|()| std::fs::set_permissions(&broken, PermissionsExt::from_mode(mode)))
            .map_err(|e| e.to_string())?;
        let (code, text, records) = exec(&[], &[broken.to_str().ok_or("UTF-8")?])?;
        ensure(code == Some(5) && !records.is_empty(), || {
            format!("{code:?} {text}")
        })?;
        for record in &records {
            ensure(
                record.outcome == Outcome::Broken && record.cause == Some(Cause::NotStarted),
                || format!("{record:?}"),
            )?;
        }
    }
    Ok(())
}

fn not_there() -> Result<(), String> {
    let (code, text, records) = exec(&[], &["/no/such/program"])?;
    ensure(
        code == Some(2) && records.is_empty() && text.contains("nothing was started"),
        || format!("{code:?} {text}"),
    )
}

fn outlives() -> Result<(), String> {
    let program = ["/bin/sh", "-c", "mkdir -p \"$HOME/a/b\" && exec sleep 60"];
    let (code, text, records) = exec(
        &["--deadline", "200ms", "--detector", "cgroup-events-poll"],
        &program,
    )?;
    held(code, &text, &records)?;
    ensure(records[0].outcome == Outcome::StillRunning, || {
        format!("{:?}", records[0])
    })?;
    let scratch = harness::trial::Site::scratch_of(&records[0].run, 0);
    ensure(!Path::exists(&scratch), || {
        format!("{} was left", scratch.display())
    })
}

fn own_copy() -> Result<(), String> {
    let (code, text, records) = exec(&["--own-copy", "--trials", "2"], &["sleep", "0.05"])?;
    held(code, &text, &records)?;
    for record in &records {
        let program = record.program.as_ref().ok_or("no program")?;
        ensure(
            program.truth.contains(&TruthSource::Lease) && !program.left_its_cgroup,
            || format!("{record:?}"),
        )?;
        ensure(record.stamps.over_upper_ns.is_some(), || {
            format!("{record:?}")
        })?;
    }
    Ok(())
}

fn events() -> Result<(), String> {
    let (code, text, records) = exec(&[], &["/bin/sh", "-c", "sleep 0.01; sleep 0.01"])?;
    held(code, &text, &records)?;
    let heard = |record: &TrialRecord| {
        let program = record.program.as_ref();
        program.is_some_and(|program| program.truth.contains(&TruthSource::ProcessEvents))
    };
    ensure(records.iter().any(heard), || {
        format!("every stream was lost or not heard: {records:?}")
    })
}

/// A program that starts, leaves its session and ends is seen as expected by everything there is.
fn everything() -> Result<(), String> {
    let program = ["/bin/sh", "-c", "sleep 0.05 & setsid sleep 0.1 & exit 0"];
    let (code, text, records) = exec(&["--detector", "all"], &program)?;
    held(code, &text, &records)?;
    let program = [
        "/bin/sh",
        "-c",
        "sleep 60 & setsid sleep 60 & exec sleep 60",
    ];
    let options = ["--kill", "all", "--kill-after", "50ms", "--deadline", "2s"];
    let (code, text, records) = exec(&options, &program)?;
    held(code, &text, &records)
}
