//! The built command: exit codes, messages, records.

use std::process::Command;

use harness::record::{TrialRecord, read_lines};

use super::common::{Test, binary, cgroups_of, ensure, run, scenario, told};
use super::needs::{CGROUP2_WRITE, MOUNT, ROOT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "cli::wrong_names_end_with_2_and_the_nearest",
            &[],
            wrong_names,
        ),
        Test::new("cli::help_has_examples_and_exit_codes", &[], help),
        Test::new("cli::list_names_everything", &[], list),
        Test::new(
            "cli::wrong_axes_and_values_end_with_2",
            &[CGROUP2_WRITE],
            wrong_axes,
        ),
        Test::new("cli::no_usable_cgroup_ends_with_3", &[], no_cgroup),
        Test::new(
            "cli::a_place_that_cannot_be_written_ends_with_2",
            &[CGROUP2_WRITE],
            bad_out,
        ),
        Test::new(
            "cli::dry_run_prints_the_plan_and_does_nothing",
            &[CGROUP2_WRITE],
            dry_run,
        ),
        Test::new("cli::json_is_one_record_per_line", &[CGROUP2_WRITE], json),
        Test::new(
            "cli::each_row_is_a_test_in_ktap_and_junit",
            &[CGROUP2_WRITE],
            test_formats,
        ),
        Test::new(
            "cli::all_names_what_its_budget_left_out",
            &[CGROUP2_WRITE],
            left_out,
        ),
        Test::new(
            "cli::the_same_seed_gives_the_same_order",
            &[CGROUP2_WRITE],
            same_seed,
        ),
        Test::new(
            "cli::several_values_are_several_rows",
            &[CGROUP2_WRITE],
            several_values,
        ),
        Test::new(
            "cli::a_full_disk_ends_with_5_and_keeps_the_records",
            &[CGROUP2_WRITE, ROOT, MOUNT],
            disk_full,
        ),
        Test::new(
            "cli::a_closed_pipe_ends_with_5_and_leaves_nothing",
            &[CGROUP2_WRITE],
            closed_pipe,
        ),
        Test::new("cli::doctor_says_what_there_is", &[CGROUP2_WRITE], doctor),
        Test::new(
            "cli::recommend_names_both_with_the_reason",
            &[CGROUP2_WRITE],
            recommend,
        ),
    ]
}

pub(crate) fn expect(args: &[&str], code: i32, words: &[&str]) -> Result<(String, String), String> {
    let (found, out, err) = run(args);
    ensure(found == Some(code), || {
        format!("{args:?} ended with {found:?} and not {code}: {out} {err}")
    })?;
    for word in words {
        ensure(out.contains(word) || err.contains(word), || {
            format!("{args:?}: {word:?} is not in: {out} {err}")
        })?;
    }
    Ok((out, err))
}

fn test_formats() -> Result<(), String> {
    let run = ["exit-now", "--detector", "pidfd-main,cgroup-events-poll"];
    let of = |format| {
        let rest = [
            "--trials",
            "1",
            "--quiet",
            "--deadline",
            "20s",
            "--format",
            format,
        ];
        expect(&[&run[..], &rest].concat(), 0, &[]).map(|(out, _)| out)
    };
    let ktap = of("ktap")?;
    ensure(ktap.starts_with("KTAP version 1\n1..2\n"), || ktap.clone())?;
    for line in [
        "    ok 1 detect cgroup-events-poll\n",
        "    ok 2 detect pidfd-main\n",
        "ok 1 exit-now\n",
        "    ok 2 nothing was left behind\n",
        "ok 2 run\n",
    ] {
        ensure(ktap.contains(line), || format!("{line:?} is not in {ktap}"))?;
    }
    let junit = of("junit")?;
    for part in [
        "<?xml",
        "tests=\"4\"",
        "failures=\"0\"",
        "name=\"detect pidfd-main\"",
    ] {
        ensure(junit.contains(part), || {
            format!("{part:?} is not in {junit}")
        })?;
    }
    Ok(())
}

fn left_out() -> Result<(), String> {
    let rows = [
        "all",
        "--detector",
        "pidfd-main",
        "--kill",
        "none",
        "--quiet",
    ];
    let words = ["The budget did not allow", "pidfd-main on exit-now", "0 of"];
    expect(&[&rows[..], &["--budget", "1ms"]].concat(), 5, &words).map(|_| ())
}

fn wrong_names() -> Result<(), String> {
    expect(
        &["forkbom"],
        2,
        &[
            "unknown scenario or command \"forkbom\"",
            "nearest are forkbomb",
        ],
    )?;
    expect(
        &["forkbomb", "--detector", "waitpid-mian"],
        2,
        &["unknown detector", "waitpid-main"],
    )?;
    expect(
        &["forkbomb", "--no-detector", "inotify"],
        2,
        &["unknown detector"],
    )?;
    expect(
        &["forkbomb", "--kill", "cgroup-kil"],
        2,
        &["unknown strategy", "cgroup-kill"],
    )?;
    expect(&["exit-now", "--trials", "many"], 2, &["--trials"])?;
    expect(&["exit-now", "--deadline", "5"], 2, &["5ms"])?;
    expect(&["exit-now", "--set", "lifetime"], 2, &["lifetime=0,5ms"])?;
    expect(&["mesure", "--resume", "x"], 2, &["nearest are measure"])?;
    expect(&["forkbomb", "doctor"], 2, &["doctor is a command"])?;
    expect(&[], 2, &["SCENARIO", "scenario forkbomb"]).map(|_| ())
}

fn wrong_axes() -> Result<(), String> {
    expect(
        &["exit-now", "--set", "lifetim=0"],
        2,
        &["unknown axis \"lifetim\"", "nearest are lifetime"],
    )?;
    expect(
        &["exit-now", "--set", "lifetime=soon"],
        2,
        &["lifetime", "soon", "250us"],
    )
    .map(|_| ())
}

fn help() -> Result<(), String> {
    let (long, _) = expect(
        &["--help"],
        0,
        &["Examples:", "Exit codes:", "4  an expectation did not hold"],
    )?;
    let (short, _) = expect(&["-h"], 0, &["--detector"])?;
    ensure(short.len() < long.len(), || short.clone())?;
    ensure(long.contains("Words:") && long.contains("oracle"), || {
        long.clone()
    })?;
    let (help, _) = expect(&["help"], 0, &["Examples:"])?;
    ensure(help == long, || "`help` and `--help` differ".to_owned())?;
    expect(&["help", "measure"], 0, &["--resume"])?;
    expect(&["--version"], 0, &["scenario"]).map(|_| ())
}

fn list() -> Result<(), String> {
    let (text, _) = expect(
        &["list"],
        0,
        &[
            "forkbomb-setsid",
            "cgroup-events-poll",
            "freeze-kill",
            "lifetime",
        ],
    )?;
    ensure(!text.contains('\u{1b}'), || {
        "escape sequences in a pipe".to_owned()
    })?;
    let (json, _) = expect(&["list", "--format", "json"], 0, &[])?;
    let json: serde_json::Value = serde_json::from_str(&json).map_err(|e| e.to_string())?;
    ensure(
        json["detectors"].as_array().is_some_and(|d| !d.is_empty()),
        || json.to_string(),
    )
}

fn no_cgroup() -> Result<(), String> {
    expect(
        &["exit-now", "--cgroup", "/tmp"],
        3,
        &["/tmp", "help: ", "--vm"],
    )
    .map(|_| ())
}

fn bad_out() -> Result<(), String> {
    expect(
        &["exit-now", "--out", "/proc/none/here"],
        2,
        &["/proc/none/here"],
    )
    .map(|_| ())
}

fn dry_run() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = scenario(state.path(), &["forkbomb", "--dry-run", "--seed", "7"])
        .output()
        .map_err(|e| e.to_string())?;
    let (code, out, err) = told(&output);
    ensure(
        code == Some(0) && out.contains("seed 7") && out.contains("cgroup-kill"),
        || format!("{code:?} {out} {err}"),
    )?;
    let made = std::fs::read_dir(state.path())
        .map_err(|e| e.to_string())?
        .count();
    ensure(made == 0, || "a dry run has written something".to_owned())
}

fn records(text: &str) -> Result<Vec<TrialRecord>, String> {
    read_lines(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{e}: {text}"))
}

fn json() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let args = [
        "exit-now",
        "--detector",
        "waitpid-main,pidfd-main",
        "--trials",
        "2",
        "--json",
    ];
    let (code, out, err) = told(
        &scenario(state.path(), &args)
            .output()
            .map_err(|e| e.to_string())?,
    );
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))?;
    let printed = records(&out)?;
    ensure(printed.len() == 4 && printed.iter().all(|r| r.held), || {
        out.clone()
    })?;
    ensure(err.contains("Every expectation held"), || err.clone())?;
    // The same records are kept, beside plan and environment, where standard error says.
    let runs: Vec<_> = std::fs::read_dir(state.path().join("scenario"))
        .map_err(|e| e.to_string())?
        .collect();
    ensure(runs.len() == 1, || format!("{runs:?}"))?;
    let dir = runs[0].as_ref().map_err(ToString::to_string)?.path();
    ensure(err.contains(&dir.display().to_string()), || err.clone())?;
    let read =
        |name: &str| std::fs::read_to_string(dir.join(name)).map_err(|e| format!("{name}: {e}"));
    ensure(records(&read("trials.jsonl")?)? == printed, || {
        "recorded and printed trials differ".to_owned()
    })?;
    for name in ["plan.json", "environment.json"] {
        let document: serde_json::Value =
            serde_json::from_str(&read(name)?).map_err(|e| e.to_string())?;
        ensure(document.is_object(), || format!("{name}: {document}"))?;
    }
    Ok(())
}

fn same_seed() -> Result<(), String> {
    let plan = |seed: &str| -> Result<serde_json::Value, String> {
        let args = [
            "exit-now",
            "--trials",
            "5",
            "--dry-run",
            "--format",
            "json",
            "--seed",
            seed,
        ];
        let (out, _) = expect(&args, 0, &[])?;
        let plan: serde_json::Value = serde_json::from_str(&out).map_err(|e| e.to_string())?;
        Ok(plan["blocks"].clone())
    };
    ensure(plan("1")? == plan("1")?, || {
        "seed 1 gives two orders".to_owned()
    })?;
    ensure(plan("1")? != plan("2")?, || {
        "seeds 1 and 2 give the same order".to_owned()
    })
}

fn several_values() -> Result<(), String> {
    let args = [
        "exit-now",
        "--detector",
        "waitpid-main",
        "--set",
        "lifetime=0,5ms",
        "--trials",
        "1",
        "--json",
    ];
    let (out, _) = expect(&args, 0, &["exit-now lifetime=0", "exit-now lifetime=5ms"])?;
    let mut lifetimes: Vec<u64> = records(&out)?
        .iter()
        .filter_map(|r| r.params.get("lifetime").copied())
        .collect();
    lifetimes.sort_unstable();
    ensure(lifetimes == [0, 5_000_000], || format!("{lifetimes:?}"))
}

/// In a mount namespace of its own, on a file system that holds the plan and a few trials.
fn disk_full() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let script = r#"mount -t tmpfs -o size=96k none "$1" &&
"$2" exit-now --detector waitpid-main --trials 500 --gap 0 --out "$1/out"
code=$?; echo "code $code"; cat "$1/out/trials.jsonl""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(state.path())
        .arg(binary())
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (_, out, err) = told(&output);
    ensure(
        err.contains("No space left on device") && err.contains("could not record trial"),
        || err.clone(),
    )?;
    ensure(
        err.contains("Nothing was left behind") || out.contains("Nothing was left behind"),
        || format!("{out} {err}"),
    )?;
    let (_, rest) = out.split_once("code ").ok_or_else(|| out.clone())?;
    let (code, kept) = rest.split_once('\n').ok_or_else(|| out.clone())?;
    ensure(code == "5", || format!("code {code}: {err}"))?;
    ensure(!records(kept)?.is_empty(), || "nothing was kept".to_owned())
}

/// The reader of the trials closes the pipe in the middle.
fn closed_pipe() -> Result<(), String> {
    use std::io::{BufRead, BufReader, Read};
    let state = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut child = scenario(
        state.path(),
        &[
            "exit-now",
            "--detector",
            "waitpid-main",
            "--trials",
            "1000",
            "--json",
        ],
    )
    .stdout(std::process::Stdio::piped())
    .stderr(std::process::Stdio::piped())
    .spawn()
    .map_err(|e| e.to_string())?;
    let pid = child.id();
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?)
        .read_line(&mut line)
        .map_err(|e| e.to_string())?;
    records(&line)?;
    let mut err = String::new();
    child
        .stderr
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut err)
        .map_err(|e| e.to_string())?;
    let code = child.wait().map_err(|e| e.to_string())?.code();
    ensure(code == Some(5) && err.contains("standard output"), || {
        format!("{code:?} {err}")
    })?;
    ensure(cgroups_of(pid).is_empty(), || {
        format!("{:?}", cgroups_of(pid))
    })
}

fn recommend() -> Result<(), String> {
    let (out, _) = expect(
        &["recommend", "server"],
        0,
        &["server: ", "  know ", "  kill ", "because ", "measured "],
    )?;
    ensure(!out.contains("one-shot:"), || out.clone())?;
    let (out, _) = expect(&["recommend", "--format", "json"], 0, &[])?;
    let answer: serde_json::Value =
        serde_json::from_str(&out).map_err(|e| format!("{e}: {out}"))?;
    let situations = answer["situations"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    ensure(situations.len() == 5, || out.clone())?;
    for advice in situations {
        for plane in ["detectors", "strategies"] {
            // Something that is sound can be had wherever there is a cgroup; what is named first is
            // there.
            let best = &advice[plane][0];
            ensure(best["id"].is_string() && best["missing"].is_null(), || {
                format!("{plane} of {}: {best}", advice["situation"])
            })?;
        }
    }
    expect(&["recommend", "nonsense"], 2, &["one-shot"]).map(|_| ())
}

fn doctor() -> Result<(), String> {
    expect(
        &["doctor"],
        0,
        &["kernel", "cgroup-events-poll", "cgroup-kill"],
    )?;
    let (json, _) = expect(&["doctor", "--format", "json"], 0, &[])?;
    serde_json::from_str::<serde_json::Value>(&json).map_err(|e| e.to_string())?;
    expect(&["doctor", "--cgroup", "/tmp"], 3, &["/tmp"]).map(|_| ())
}
