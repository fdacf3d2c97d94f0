//! `scenario --script` and `scenario show`, with the built command.

use std::fs;

use harness::record::read_lines;

use super::common::{Test, ensure, run};
use super::needs::CGROUP2_WRITE;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "scripted::a_script_is_watched_and_killed_as_the_model_expects",
            &[CGROUP2_WRITE],
            watched_and_killed,
        ),
        Test::new(
            "scripted::a_mistake_ends_with_2_and_its_place",
            &[],
            mistake,
        ),
        Test::new("scripted::a_scenario_is_shown", &[], shown),
    ]
}

/// A daemon that lives on so long.
fn daemon(life: &str) -> String {
    format!(
        "main: fork a\na: setsid; fork b; await-parent\n\
         b: close-all; await-parent; ready; live {life}\n"
    )
}

fn watched_and_killed() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (life, mechanisms) in [
        ("50ms", ["--detector", "cgroup-events-poll,waitpid-main"]),
        ("forever", ["--kill", "procs-loop,killpg"]),
    ] {
        let path = dir.path().join("tree");
        fs::write(&path, daemon(life)).map_err(|e| e.to_string())?;
        let (path, out) = (path.display().to_string(), dir.path().join(life));
        let kept = out.display().to_string();
        let words = ["--script", &path, "--trials", "2", "--json", "--out", &kept];
        let (code, lines, said) = run(&[&words[..], &mechanisms].concat());
        ensure(code == Some(0), || {
            format!("{life}: {code:?} {lines} {said}")
        })?;
        let records: Vec<_> = read_lines(lines.as_bytes()).collect();
        ensure(records.len() == 4, || format!("{life}: {lines}"))?;
        ensure(lines.contains("script-tree"), || lines.clone())?;
        let script = fs::read_to_string(out.join("script.txt")).map_err(|e| e.to_string())?;
        ensure(script.contains(&format!("  live {life}\n")), || {
            script.clone()
        })?;
    }
    Ok(())
}

fn mistake() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = dir.path().join("tree");
    fs::write(&path, "main:\n  fork main\n").map_err(|e| e.to_string())?;
    let (code, out, err) = run(&["--script", &path.display().to_string()]);
    let told = err.contains("line 1, column 1: block main forks itself");
    ensure(code == Some(2) && told, || format!("{code:?} {out} {err}"))
}

fn shown() -> Result<(), String> {
    let (code, out, err) = run(&["show", "setsid", "--set", "lifetime=7ms"]);
    let all = [
        "  live 7ms",
        "process-group",
        "may leave survivors",
        "setsid(2)",
    ];
    let told = all.iter().all(|word| out.contains(word));
    ensure(code == Some(0) && told, || format!("{code:?} {out} {err}"))
}
