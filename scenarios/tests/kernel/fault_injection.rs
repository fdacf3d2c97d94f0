//! Fault injection: a refusal or an exhausted resource is a clear error or a recorded outcome, and
//! nothing stays behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::record::{Entry, Outcome, TrialRecord, read_lines};
use harness::sys::fork::worker;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

use super::common::{Test, binary, ensure, scenario, told};
use super::needs::{CGROUP2_WRITE, OWN_LIMITS, PIDS_LIMIT, ROOT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "fault_injection::a_refused_clone3_is_said_in_the_record",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            clone3_refused,
        ),
        Test::new(
            "fault_injection::refused_forks_break_the_trial_and_are_named",
            &[CGROUP2_WRITE, ROOT],
            nproc,
        ),
        Test::new(
            "fault_injection::exhausted_inotify_is_missing_with_a_remedy",
            &[CGROUP2_WRITE, OWN_LIMITS, "cgroup-events-inotify"],
            inotify,
        ),
    ]
}

fn records(path: &Path) -> Result<Vec<TrialRecord>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    read_lines(std::io::BufReader::new(file))
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())
}

/// As in many containers: `clone3` answers ENOSYS. Then the workload is forked and moved, and each
/// record says so.
fn clone3_refused() -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let rules = BTreeMap::from([(nix::libc::SYS_clone3, Vec::new())]);
    let enosys = u32::try_from(nix::libc::ENOSYS).map_err(|e| e.to_string())?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(enosys),
        arch,
    );
    let program: seccompiler::BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(|e| format!("could not make the filter: {e}"))?;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = dir.path().join("out");
    let said = File::create(dir.path().join("said")).map_err(|e| e.to_string())?;
    let mut command = scenario(
        dir.path(),
        &[
            "exit-now",
            "fork-exit",
            "--detector",
            "waitpid-main",
            "--trials",
            "2",
            "--out",
        ],
    );
    command
        .arg(&out)
        .stderr(said.try_clone().map_err(|e| e.to_string())?)
        .stdout(said);
    // A forked copy of this program, which has one thread: the filter stays with it and with what
    // it executes.
    let child = worker(0, None, || match seccompiler::apply_filter(&program) {
        Ok(()) => command.exec().raw_os_error().map_or(99, |_| 98),
        Err(_) => 97,
    });
    let child = child.map_err(|e| e.to_string())?;
    let status = waitpid(child.pid, Some(WaitPidFlag::__WALL)).map_err(|e| e.to_string())?;
    let text = std::fs::read_to_string(dir.path().join("said")).map_err(|e| e.to_string())?;
    ensure(matches!(status, WaitStatus::Exited(_, 0)), || {
        format!("{status:?}: {text}")
    })?;
    let records = records(&out.join("trials.jsonl"))?;
    let entry = Some(Entry::Moved {
        errno: "ENOSYS".to_owned(),
    });
    let moved = |r: &TrialRecord| r.entry == entry;
    ensure(
        records.len() == 4 && records.iter().all(|r| moved(r) && r.held),
        || format!("{records:?}"),
    )
}

/// The actors' user may have no more than one process: a tree that is not what its script says is
/// not judged as if it were.
fn nproc() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let out = dir.path().join("out");
    let mut command = Command::new("prlimit");
    command.args([
        "--nproc=1:1",
        &binary(),
        "fork-exit",
        "--detector",
        "waitpid-main",
        "--trials",
        "1",
    ]);
    let output = command
        .arg("--out")
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (code, text, err) = told(&output);
    ensure(code == Some(5) && text.contains("RLIMIT_NPROC"), || {
        format!("{code:?} {text} {err}")
    })?;
    ensure(text.contains("Nothing was left behind"), || text.clone())?;
    let records = records(&out.join("trials.jsonl"))?;
    ensure(
        records
            .iter()
            .all(|r| r.outcome == Outcome::Broken && r.ledger.refused > 0),
        || format!("{records:?}"),
    )
}

/// No inotify instance can be had: in a user namespace of its own, with a limit of zero, so that it
/// uses none of the machine's instances.
fn inotify() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let run = |detector: &str| {
        let limited = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
        Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", limited, &binary()])
            .args(["exit-now", "--detector", detector, "--trials", "1", "--all"])
            .env("XDG_STATE_HOME", dir.path())
            .env_remove("HARNESS_LOG")
            .stdin(Stdio::null())
            .output()
            .map(|output| told(&output))
            .map_err(|e| e.to_string())
    };
    let (by_name, by_pattern) = (run("cgroup-events-inotify")?, run("cgroup-events-*")?);
    ensure(
        by_name.0 == Some(3) && by_name.2.contains("max_user_instances"),
        || format!("{by_name:?}"),
    )?;
    let said =
        by_pattern.1.contains("Not available here:") && by_pattern.1.contains("max_user_instances");
    ensure(by_pattern.0 == Some(0) && said, || {
        format!("{by_pattern:?}")
    })
}
