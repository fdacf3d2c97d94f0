//! Limits on all of it: enforced, or refused with the reason.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use allgone::layout::{Layout, Paths};
use nix::sys::signal::{Signal, kill};

use crate::crash::init_of;
use crate::support::{Whose, allgone, code, errors, within};

/// Runs it with a report on standard error; the report, if the limit could be had.
fn limited(options: &[&str], script: &str) -> Option<(Output, serde_json::Value)> {
    let rest = ["-t", "30s", "--report", "2", "--", "bash", "-c", script];
    let mut run = allgone(Whose::Own, &[options, &rest].concat());
    let child = run
        .command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    let number = child.id();
    let output = child.wait_with_output().unwrap();
    run.nothing_left();
    assert_eq!(groups(number), Vec::<PathBuf>::new());
    if code(&output) == 125 {
        let said = errors(&output);
        assert!(said.contains(options[0]), "{options:?}: {said}");
        assert!(said.contains("cgroup"), "{options:?}: {said}");
        return None;
    }
    let said = errors(&output);
    let report = serde_json::from_str(&said[said.find("{\n").unwrap()..]).unwrap();
    Some((output, report))
}

/// Cgroups of this launcher in all hierarchies.
fn groups(launcher: u32) -> Vec<PathBuf> {
    let layout = Layout::read(&Paths::default()).unwrap();
    let prefix = format!("allgone-{launcher}-");
    let dirs = layout.own_v1_dirs().into_iter().chain(layout.own_v2().ok());
    let entries = dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(&prefix)
        })
        .collect()
}

fn enforced(report: &serde_json::Value, option: &str) -> bool {
    let asked = report["asked"].as_array().unwrap().iter();
    let mut of_it = asked.filter(|asked| asked["option"] == option);
    of_it.next().unwrap()["enforced"] == true
}

#[test]
fn tasks_are_limited_or_that_is_refused() {
    // A shell would try again until one of its children has ended.
    let script = "exec perl -e 'my @p; for (1..9) { my $p = fork; last unless defined $p; \
                  if (!$p) { sleep 1000; exit } push @p, $p } print scalar(@p); kill KILL => @p'";
    if let Some((output, report)) = limited(&["--pids", "5"], script) {
        assert_eq!(output.stdout, b"4", "{report}");
        assert!(enforced(&report, "pids"), "{report}");
    }
}

#[test]
fn memory_is_limited_or_that_is_refused() {
    let script = "x=$(head -c 200M /dev/zero | tr '\\0' x); echo ${#x}";
    if let Some((output, report)) = limited(&["--memory", "32M"], script) {
        assert!(enforced(&report, "memory"), "{report}");
        assert!(report["oom_kills"].as_u64().unwrap() >= 1, "{report}");
        assert_ne!(output.stdout, b"209715200\n");
    }
}

#[test]
fn processor_time_is_shared_out_or_that_is_refused() {
    // It would take minutes to die at its quota.
    let script = "for i in 1 2 3 4; do while :; do :; done & done; wait";
    let options = ["--cpu", "0.01", "--grace", "100ms"];
    if let Some((output, report)) = limited(&[&options[..], &["-t", "500ms"]].concat(), script) {
        assert_eq!(code(&output), 124, "{report}");
        assert!(enforced(&report, "cpu"), "{report}");
        let used = report["usage"]["user_us"].as_u64().unwrap();
        assert!(used < 20_000_000, "{report}");
    }
}

#[test]
fn what_cannot_be_had_is_said_if_one_goes_on_without() {
    let options = ["--pids", "5", "--memory", "1G", "--cpu", "2"];
    let strict = [&["--tier", "traced"], &options[..], &["true"]].concat();
    let output = allgone(Whose::Own, &strict).output();
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("--pids"), "{}", errors(&output));
    let lax = ["--tier", "traced", "--best-effort"];
    let (output, report) = limited(&[&lax[..], &options].concat(), "exit 3").unwrap();
    assert_eq!(code(&output), 3);
    for option in ["pids", "memory", "cpu"] {
        assert!(!enforced(&report, option), "{report}");
    }
}

#[test]
fn the_launcher_is_killed_and_no_cgroup_of_any_kind_stays() {
    let options = [
        "--best-effort",
        "--pids",
        "50",
        "--memory",
        "1G",
        "--cpu",
        "0.05",
    ];
    let script = "for i in 1 2 3 4; do while :; do :; done & done; wait";
    let mut run = allgone(
        Whose::Own,
        &[&options[..], &["--", "bash", "-c", script]].concat(),
    );
    let mut child = run.command.spawn().unwrap();
    assert!(within(Duration::from_secs(5), || run.alive().len() > 5));
    assert!(init_of(&child).is_some());
    kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    child.wait().unwrap();
    run.nothing_left();
    let number = child.id();
    let removed = within(Duration::from_secs(1), || groups(number).is_empty());
    assert!(removed, "{:?}", groups(number));
}
