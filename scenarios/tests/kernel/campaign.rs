//! `scenario measure`: campaigns that are interrupted and resumed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::record::{TrialRecord, Verdict, read_lines};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::common::{Test, binary, cgroups_of, ensure, run, scenario, told, wait_until};
use super::needs::{CGROUP2_WRITE, MOUNT, PID_NAMESPACE, TRACEPOINTS};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "campaign::interrupted_twice_it_plays_each_trial_once",
            &[CGROUP2_WRITE],
            interrupted,
        ),
        Test::new(
            "campaign::the_time_ends_it_between_blocks_with_6",
            &[CGROUP2_WRITE],
            in_windows,
        ),
        Test::new(
            "campaign::what_does_not_belong_together_is_refused",
            &[CGROUP2_WRITE],
            refused,
        ),
        Test::new(
            "campaign::an_open_loop_says_when_it_meant_to_start",
            &[CGROUP2_WRITE],
            open_loop,
        ),
        Test::new(
            "campaign::traced_stages_follow_each_other",
            &[CGROUP2_WRITE, TRACEPOINTS],
            traced,
        ),
        Test::new(
            "campaign::without_tracepoints_trace_ends_with_3",
            &[CGROUP2_WRITE, PID_NAMESPACE, MOUNT],
            untraceable,
        ),
        Test::new(
            "campaign::wrong_arguments_end_with_2",
            &[CGROUP2_WRITE],
            wrong_arguments,
        ),
    ]
}

/// Three rows (one of them a twin) and this many blocks.
const BLOCKS: usize = 12;

fn begin(dir: &str) -> Vec<&str> {
    let mut words = vec![
        "measure",
        "exit-now",
        "--detector",
        "waitpid-main,pidfd-main",
        "--twins",
        "waitpid-main",
    ];
    words.extend([
        "--trials",
        "12",
        "--seed",
        "7",
        "--gap",
        "1ms",
        "--noise",
        "100us",
        "--warm-up",
        "2",
        "--deadline",
        "30s",
    ]);
    words.extend(["--out", dir]);
    words
}

fn trials(dir: &Path) -> Result<Vec<TrialRecord>, String> {
    let file = fs::read(dir.join("trials.jsonl")).map_err(|e| e.to_string())?;
    read_lines(file.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())
}

fn document(dir: &Path, name: &str) -> Result<Value, String> {
    let text = fs::read(dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("{name}: {e}"))
}

/// Starts the command and, once `lines` trials are recorded, sends `signal`. Returns how it ended.
fn cut_short(
    dir: &Path,
    args: &[&str],
    lines: usize,
    signal: Signal,
) -> Result<std::process::ExitStatus, String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut command = scenario(state.path(), args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = command.spawn().map_err(|e| e.to_string())?;
    let pid = child.id();
    let recorded = || {
        fs::read(dir.join("trials.jsonl")).map_or(0, |f| f.iter().filter(|b| **b == b'\n').count())
    };
    let ended = wait_until("enough trials are recorded", || recorded() >= lines)
        .and_then(|()| kill(Pid::from_raw(pid.cast_signed()), signal).map_err(|e| e.to_string()))
        .and_then(|()| child.wait().map_err(|e| e.to_string()))?;
    wait_until("the cgroups of the campaign are gone", || {
        cgroups_of(pid).is_empty()
    })?;
    Ok(ended)
}

fn interrupted() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let dir = place.path().join("campaign");
    let name = dir.display().to_string();
    let ended = cut_short(&dir, &begin(&name), 4, Signal::SIGINT)?;
    ensure(ended.code() == Some(5), || format!("SIGINT: {ended:?}"))?;

    let resume = ["measure", "--resume", &name];
    let ended = cut_short(&dir, &resume, 14, Signal::SIGKILL)?;
    ensure(ended.signal() == Some(9), || format!("SIGKILL: {ended:?}"))?;
    // What a power cut may leave, too.
    let mut file = fs::File::options()
        .append(true)
        .open(dir.join("trials.jsonl"))
        .map_err(|e| e.to_string())?;
    file.write_all(b"{\"schema\":1,\"run\":\"scen")
        .map_err(|e| e.to_string())?;

    let (code, out, err) = run(&resume);
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))?;
    ensure(err.contains("cut off an unfinished line"), || err.clone())?;
    let trials = trials(&dir)?;
    let seqs: Vec<u32> = trials.iter().map(|t| t.seq).collect();
    ensure(seqs == (0..36).collect::<Vec<_>>(), || format!("{seqs:?}"))?;
    for block in trials.chunks(3) {
        let rows: BTreeSet<_> = block
            .iter()
            .map(|t| (t.detector.as_str(), t.twin))
            .collect();
        ensure(
            rows.len() == 3 && block.iter().all(|t| t.block == block[0].block),
            || format!("no complete block: {block:?}"),
        )?;
    }
    // Each sitting has a run and an environment of its own, and the records say to which they
    // belong.
    let sittings = document(&dir, "sittings.json")?;
    let runs: Vec<&str> = sittings["sittings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["run"].as_str())
        .collect();
    let mut seen: Vec<&str> = trials.iter().map(|t| t.run.as_str()).collect();
    seen.dedup();
    ensure(runs.len() == 3 && seen == runs, || {
        format!("{runs:?} and {seen:?}")
    })?;
    ensure(
        out.contains("Noise: a control that only spins lost"),
        || out.clone(),
    )?;
    // There is nothing left to do, which is not an error.
    let (code, out, err) = run(&resume);
    ensure(
        code == Some(0) && err.contains("36 recorded before"),
        || format!("{code:?} {out} {err}"),
    )
}

fn in_windows() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let name = place.path().join("campaign").display().to_string();
    let (code, out, err) = run(&[&begin(&name)[..], &["--for", "1us"]].concat());
    ensure(
        code == Some(6) && err.contains("go on with: scenario measure --resume"),
        || format!("{code:?} {out} {err}"),
    )?;
    let dir = Path::new(&name);
    ensure(trials(dir)?.len() == 3, || "not one whole block".to_owned())?;
    let (code, out, err) = run(&["measure", "--resume", &name, "--format", "json"]);
    let summary: Value = serde_json::from_str(&out).map_err(|e| format!("{e}: {out} {err}"))?;
    ensure(code == Some(0) && summary["planned"] == 3 * BLOCKS, || {
        format!("{code:?} {err}")
    })?;
    ensure(trials(dir)?.len() == 3 * BLOCKS, || {
        "not every trial".to_owned()
    })
}

fn refused() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let plain = place.path().join("plain").display().to_string();
    let expect = |args: &[&str], word: &str| -> Result<(), String> {
        let (code, out, err) = run(args);
        ensure(code == Some(2) && err.contains(word), || {
            format!("{args:?}: {code:?} {out} {err}")
        })
    };
    let (code, ..) = run(&[
        "exit-now",
        "--detector",
        "waitpid-main",
        "--trials",
        "1",
        "--out",
        &plain,
    ]);
    ensure(code == Some(0), || format!("{code:?}"))?;
    expect(&["measure", "--resume", &plain], "plain run")?;

    let name = place.path().join("campaign").display().to_string();
    let dir = Path::new(&name);
    let (code, out, err) = run(&[&begin(&name)[..], &["--for", "1us"]].concat());
    ensure(code == Some(6), || format!("{code:?} {out} {err}"))?;
    expect(&begin(&name), "not overwritten")?;
    let change = |file: &str, edit: fn(&mut Value)| -> Result<String, String> {
        let before = fs::read_to_string(dir.join(file)).map_err(|e| e.to_string())?;
        let mut document = document(dir, file)?;
        edit(&mut document);
        fs::write(dir.join(file), document.to_string()).map_err(|e| e.to_string())?;
        Ok(before)
    };
    for (file, edit, word) in [
        (
            "plan.json",
            (|d| d["version"] = "0.0.1".into()) as fn(&mut Value),
            "`version`",
        ),
        (
            "plan.json",
            |d| d["blocks"][0]["script_seed"] = 8.into(),
            "`blocks`",
        ),
        (
            "sittings.json",
            |d| d["sittings"][0]["boot_id"] = "another".into(),
            "--across-boots",
        ),
        (
            "sittings.json",
            |d| d["sittings"][0]["environment"]["kernel"]["release"] = "5.4.0".into(),
            "the kernel was 5.4.0",
        ),
    ] {
        let before = change(file, edit)?;
        expect(&["measure", "--resume", &name], word)?;
        fs::write(dir.join(file), before).map_err(|e| e.to_string())?;
    }
    change("sittings.json", |d| {
        d["sittings"][0]["boot_id"] = "another".into()
    })?;
    let (code, out, err) = run(&["measure", "--resume", &name, "--across-boots"]);
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))
}

fn open_loop() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let name = place.path().join("campaign").display().to_string();
    let args = [
        "measure",
        "exit-now",
        "--detector",
        "pidfd-main",
        "--trials",
        "5",
        "--every",
        "poisson:1ms",
        "--out",
        &name,
    ];
    let (code, out, err) = run(&args);
    ensure(
        code == Some(0) && out.contains("Open loop: trials started later"),
        || format!("{code:?} {out} {err}"),
    )?;
    let trials = trials(Path::new(&name))?;
    let meant: Vec<_> = trials.iter().filter_map(|t| t.stamps.intended_ns).collect();
    ensure(meant.len() == 5 && meant.is_sorted(), || {
        format!("{meant:?}")
    })?;
    for trial in &trials {
        let stamps = &trial.stamps;
        ensure(stamps.spawn_ns > stamps.intended_ns, || {
            format!("started before it was meant to: {stamps:?}")
        })?;
    }
    Ok(())
}

/// A workload that lives longer than the notification window, so that the last wake-up is the one
/// for its end, and for so long that its observer sleeps by then on a busy machine, too. Meanwhile
/// more processes end than the kernel has room to tell of.
fn traced() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let name = place.path().join("campaign").display().to_string();
    let detectors = ["waitpid-main", "cgroup-events-poll"];
    let args = [
        "measure",
        "exit-now",
        "--set",
        "lifetime=500ms",
        "--trials",
        "3",
        "--detector",
        "waitpid-main,cgroup-events-poll",
        "--trace",
        // There are more processes that want a processor than processors.
        "--deadline",
        "30s",
        "--out",
        &name,
    ];
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut command = scenario(state.path(), &args);
    // Some for each processor.
    let mut others = Vec::new();
    for _ in 0..4 {
        // It ends with this process, however that ends.
        let loops = "while kill -0 $PPID; do (:); (:); (:); (:); done";
        let other = Command::new("sh").args(["-c", loops]).spawn();
        others.push(other.map_err(|e| e.to_string())?);
    }
    let answer = command.output().map_err(|e| e.to_string());
    for mut other in others {
        other.kill().map_err(|e| e.to_string())?;
        other.wait().map_err(|e| e.to_string())?;
    }
    let (code, out, err) = told(&answer?);
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))?;
    let trials = trials(Path::new(&name))?;
    for detector in detectors {
        ensure(
            out.contains(&format!("Stages of {detector} on exit-now")),
            || format!("no stages of {detector} are told: {out} {err}"),
        )?;
        let mut ways = Vec::new();
        for trial in trials.iter().filter(|t| t.detector == detector) {
            let stages = trial.stages.ok_or_else(|| {
                let errors = &trial.errors;
                format!("trial {} was not traced: {errors:?}", trial.seq)
            })?;
            let Some(Verdict::Empty { decided_ns, .. }) = trial.verdict else {
                return Err(format!("no verdict: {trial:?}"));
            };
            let over = trial.stamps.over_lower_ns;
            let way = [
                ("over", over),
                ("exit", stages.exit_ns),
                ("flip", stages.flip_ns),
                ("waking", stages.waking_ns),
                ("running", stages.running_ns),
                ("decided", Some(decided_ns)),
            ];
            // From the end on, so that it can be read.
            let way = way.map(|(name, at)| {
                let since = at.map(|at| i128::from(at) - i128::from(over.unwrap_or_default()));
                (name, since)
            });
            let seen: Vec<i128> = way.iter().filter_map(|(_, at)| *at).collect();
            ensure(seen.is_sorted(), || {
                format!("{detector}: not in this order: {way:?} ns")
            })?;
            ways.push(way);
        }
        let complete = |way: &[(&str, Option<i128>); 6]| way.iter().all(|(_, at)| at.is_some());
        ensure(ways.iter().any(complete), || {
            format!("{detector}: no trial has all stages: {ways:?} ns")
        })?;
    }
    Ok(())
}

/// In a PID namespace of its own the command has pids that the kernel's tracepoints do not use.
fn untraceable() -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = place.path().join("campaign");
    let answer = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", &binary()])
        .args([
            "measure",
            "exit-now",
            "--detector",
            "pidfd-main",
            "--trace",
            "--out",
        ])
        .arg(&out)
        .env("XDG_STATE_HOME", place.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (code, text, err) = told(&answer);
    ensure(
        code == Some(3) && err.contains("--trace") && err.contains("initial PID namespace"),
        || format!("{code:?} {text} {err}"),
    )?;
    ensure(!out.exists(), || "something was recorded".to_owned())
}

fn wrong_arguments() -> Result<(), String> {
    for (args, word) in [
        (&["measure"][..], "--resume"),
        (&["measure", "exit-now", "--across-boots"], "--resume"),
        (
            &[
                "measure",
                "exit-now",
                "--twins",
                "waitpid-mian",
                "--dry-run",
            ],
            "waitpid-main",
        ),
        (&["measure", "exit-now", "--pin", "1023"], "processor 1023"),
        (&["measure", "--resume", "/nonexistent"], "is no campaign"),
    ] {
        let (code, out, err) = run(args);
        ensure(code == Some(2) && err.contains(word), || {
            format!("{args:?}: {code:?} {out} {err}")
        })?;
    }
    Ok(())
}
