//! The built command on first use: the answer comes first, and a run that cannot work is refused
//! before anything starts.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::{Test, binary, cgroups_of, ensure, run, scenario, told};
use super::needs::CGROUP2_WRITE;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "first_use::the_answer_is_first_and_fits",
            &[CGROUP2_WRITE],
            answer_first,
        ),
        Test::new(
            "first_use::all_prints_every_row",
            &[CGROUP2_WRITE],
            every_row,
        ),
        Test::new(
            "first_use::what_cannot_work_is_refused",
            &[CGROUP2_WRITE],
            refused,
        ),
        Test::new(
            "first_use::run_is_the_same_as_its_short_form",
            &[CGROUP2_WRITE],
            explicit_run,
        ),
        Test::new(
            "first_use::an_interruption_is_called_one",
            &[CGROUP2_WRITE],
            interrupted,
        ),
        Test::new(
            "first_use::a_low_limit_on_descriptors_is_enough",
            &[CGROUP2_WRITE],
            few_descriptors,
        ),
        Test::new(
            "first_use::recommend_is_one_page",
            &[CGROUP2_WRITE],
            one_page,
        ),
    ]
}

fn fits(text: &str, most: usize) -> Result<(), String> {
    ensure(text.lines().count() <= most, || {
        format!("{} lines and not {most}: {text}", text.lines().count())
    })?;
    ensure(text.lines().all(|line| line.chars().count() <= 80), || {
        text.to_owned()
    })
}

const TWO: [&str; 5] = [
    "exit-now",
    "--detector",
    "waitpid-main,pidfd-main",
    "--trials",
    "1",
];

fn answer_first() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = scenario(state.path(), &TWO)
        .env("CLICOLOR_FORCE", "1")
        .output()
        .map_err(|e| e.to_string())?;
    let (code, out, err) = told(&output);
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))?;
    let mut lines = out.lines();
    ensure(
        lines.next() == Some("Every expectation held (2 of 2 trials)."),
        || out.clone(),
    )?;
    ensure(lines.next() == Some("Nothing was left behind."), || {
        out.clone()
    })?;
    ensure(!out.contains('\u{1b}'), || {
        "red, and nothing failed".to_owned()
    })?;
    fits(&out, 40)
}

fn every_row() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = scenario(state.path(), &[&TWO[..], &["--all"]].concat())
        .output()
        .map_err(|e| e.to_string())?;
    let (_, out, _) = told(&output);
    ensure(
        out.contains("waitpid-main") && out.contains("wakes"),
        || out.clone(),
    )?;
    fits(&out, 80)?;
    let runs = state.path().join("scenario");
    let dir = std::fs::read_dir(runs)
        .map_err(|e| e.to_string())?
        .next()
        .ok_or("no run is recorded")?
        .map_err(|e| e.to_string())?
        .path();
    let kept = std::fs::read_to_string(dir.join("summary.txt")).map_err(|e| e.to_string())?;
    ensure(kept == out, || format!("{kept}\n--- is not ---\n{out}"))
}

fn refused() -> Result<(), String> {
    for (args, why) in [
        (&["exit-now", "--set", "lifetime=2s"][..], "--deadline 4s"),
        (
            &["sleepers", "--detector", "none", "--set", "sleepers=100"],
            "--tasks 101",
        ),
        (
            &["exit-now", "--set", "lifetime=0", "--set", "lifetime=5ms"],
            "set twice",
        ),
        (&["exit-now", "--deadline", "0"], "leaves no time"),
        (&["scale", "--deadline", "0"], "leaves no time"),
        (&["exit-now", "--log", "bogus"], "levels are"),
    ] {
        let (code, out, err) = run(args);
        ensure(code == Some(2) && err.contains(why), || {
            format!("{args:?}: {code:?} {out} {err}")
        })?;
        ensure(!err.contains("recording"), || {
            format!("{args:?} has begun: {err}")
        })?;
    }
    Ok(())
}

fn explicit_run() -> Result<(), String> {
    let plan = ["exit-now", "--dry-run", "--seed", "7"];
    let (short, long) = (run(&plan), run(&[&["run"], &plan[..]].concat()));
    ensure(short.0 == Some(0) && short.1 == long.1, || {
        format!("{short:?} {long:?}")
    })
}

fn interrupted() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = state.path().join("out");
    let out = out.to_str().ok_or("not UTF-8")?;
    let args = [
        "exit-now",
        "--detector",
        "waitpid-main,pidfd-main",
        "--trials",
        "1000",
        "--out",
        out,
    ];
    let mut child = scenario(state.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let pid = child.id();
    let mut err = BufReader::new(child.stderr.take().ok_or("no pipe")?);
    let mut line = String::new();
    err.read_line(&mut line).map_err(|e| e.to_string())?;
    ensure(line.contains("recording"), || line.clone())?;
    let trials = std::path::Path::new(out).join("trials.jsonl");
    super::common::wait_until("a trial is recorded", || {
        std::fs::read_to_string(&trials).is_ok_and(|text| text.contains('\n'))
    })?;
    let raw = i32::try_from(pid).map_err(|e| e.to_string())?;
    kill(Pid::from_raw(raw), Signal::SIGINT).map_err(|e| e.to_string())?;
    let mut said = String::new();
    child
        .stdout
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut said)
        .map_err(|e| e.to_string())?;
    let code = child.wait().map_err(|e| e.to_string())?.code();
    ensure(code == Some(5), || format!("{code:?} {said}"))?;
    ensure(
        said.starts_with("Interrupted after ") && said.contains(" of 2000 trials."),
        || said.clone(),
    )?;
    ensure(
        !said.contains("NO") && !said.contains("did not hold"),
        || said.clone(),
    )?;
    ensure(cgroups_of(pid).is_empty(), || {
        format!("{:?}", cgroups_of(pid))
    })
}

/// A run needs few descriptors, so a low limit is no reason to refuse it, and least of all with
/// advice about containers.
fn few_descriptors() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let script = r#"ulimit -n 128; exec "$0" exit-now --detector waitpid-main --trials 1"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(binary())
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (code, out, err) = told(&output);
    ensure(code == Some(0) && !err.contains("container"), || {
        format!("{code:?} {out} {err}")
    })
}

fn one_page() -> Result<(), String> {
    let (code, out, err) = run(&["recommend"]);
    ensure(
        code == Some(0) && out.matches("  know  ").count() == 5,
        || format!("{out} {err}"),
    )?;
    fits(&out, 45)
}
