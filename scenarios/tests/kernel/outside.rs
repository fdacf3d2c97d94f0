//! Interference from outside: a process that was killed from outside, the OOM killer, a limit that
//! was reached, a user that cannot be had. Such a trial is *broken*, with the cause, and no
//! mechanism is blamed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::cgroup::Cgroup;
use harness::detect::AnyDetector;
use harness::expect::Canary;
use harness::kill::{self, AnyStrategy};
use harness::record::{Cause, Outcome, TrialRecord, read_lines};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use super::common::{
    Test, base, binary, cgroups_of, ensure, play, reference, scenario, spec, told, wait_until,
};
use super::needs::{CGROUP2_WRITE, PID_NAMESPACE, PIDS_LIMIT, ROOT};
use super::stand_ins::{Exhausted, STOPPER, VANDAL};

const USER_NAMESPACE: &str = "userns";
const MEMORY_LIMIT: &str = "memory-limit";

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "outside::a_killed_actor_breaks_the_trial_and_blames_no_detector",
            &[CGROUP2_WRITE],
            killed_actor,
        ),
        Test::new(
            "outside::a_killed_observer_breaks_the_trial",
            &[CGROUP2_WRITE],
            killed_observer,
        ),
        Test::new(
            "outside::a_canary_that_died_before_the_first_act_is_not_a_hit",
            &[CGROUP2_WRITE, PIDS_LIMIT, ROOT],
            killed_canary,
        ),
        Test::new(
            "outside::an_actor_that_died_before_the_first_act_leaves_the_strategy_nothing_to_do",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            killed_before,
        ),
        Test::new(
            "outside::a_canary_that_the_strategy_killed_is_a_hit",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            hit_canary,
        ),
        Test::new(
            "outside::a_canary_that_the_kernel_hangs_up_after_a_stop_is_a_hit",
            &[CGROUP2_WRITE, PIDS_LIMIT],
            hung_up_canary,
        ),
        Test::new(
            "outside::the_oom_killer_is_named",
            &[CGROUP2_WRITE, PIDS_LIMIT, MEMORY_LIMIT],
            oom,
        ),
        Test::new(
            "outside::what_ran_out_is_no_answer_of_the_detector",
            &[CGROUP2_WRITE],
            ran_out,
        ),
        Test::new(
            "outside::a_mapped_root_acts_as_an_ordinary_user",
            &[CGROUP2_WRITE, PIDS_LIMIT, ROOT, USER_NAMESPACE],
            mapped_root,
        ),
        Test::new(
            "outside::a_program_that_actors_may_not_execute_is_found_before_the_first_trial",
            &[CGROUP2_WRITE, ROOT],
            not_executable,
        ),
        Test::new(
            "outside::a_foreign_proc_is_refused",
            &[CGROUP2_WRITE, ROOT, PID_NAMESPACE],
            foreign_proc,
        ),
        Test::new(
            "outside::in_a_foreign_proc_nothing_is_cleaned",
            &[CGROUP2_WRITE, ROOT, PID_NAMESPACE],
            nothing_is_cleaned,
        ),
        Test::new(
            "outside::what_others_listen_to_is_not_ours",
            &[CGROUP2_WRITE, ROOT, PID_NAMESPACE, "proc-connector"],
            listening_elsewhere,
        ),
    ]
}

pub(super) fn records(out: &Path) -> Result<Vec<TrialRecord>, String> {
    let file = std::fs::File::open(out.join("trials.jsonl")).map_err(|e| e.to_string())?;
    let records: Result<Vec<_>, _> = read_lines(std::io::BufReader::new(file)).collect();
    records.map_err(|e| e.to_string())
}

pub(super) fn note_of(record: &TrialRecord) -> String {
    record.note.iter().map(ToString::to_string).collect()
}

/// A running command with these arguments, and where it records.
pub(super) fn begin(dir: &Path, args: &str) -> Result<(Child, PathBuf), String> {
    let out = dir.join("out");
    let args: Vec<&str> = args.split(' ').collect();
    let child = scenario(dir, &args)
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    Ok((child, out))
}

/// The processes in `dir` of a run of process `pid`: `trial-0/site`, `control`.
pub(super) fn members(pid: u32, dir: &str) -> Vec<i32> {
    let runs = cgroups_of(pid).into_iter().map(|run| run.join(dir));
    runs.filter_map(|dir| Cgroup::open(dir).and_then(|cgroup| cgroup.procs()).ok())
        .flat_map(|members| members.pids)
        .collect()
}

/// Ends the first process for which `which` holds, as soon as there is one.
fn kill_from_outside(pid: u32, dir: &str, which: impl Fn(i32) -> bool) -> Result<i32, String> {
    let mut found = None;
    wait_until("there is a process to be killed", || {
        found = members(pid, dir).into_iter().find(|pid| which(*pid));
        found.is_some()
    })?;
    let victim = found.ok_or("nobody")?;
    send(Pid::from_raw(victim), Signal::SIGKILL).map_err(|e| e.to_string())?;
    Ok(victim)
}

/// Whether it is the child of the main process, which leads the session, and has entered itself in
/// the ledger: it sleeps.
fn is_sleeping_child(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let child =
        nix::unistd::getsid(Some(Pid::from_raw(pid))).is_ok_and(|session| session.as_raw() != pid);
    child && status.contains("State:\tS")
}

fn killed_actor() -> Result<(), String> {
    for detector in ["subreaper", "cgroup-events-poll", "waitpid-main"] {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let args = "fork-exit --set lifetime=5s --deadline 10s --trials 1 --detector";
        let (child, out) = begin(dir.path(), &format!("{args} {detector}"))?;
        let victim = kill_from_outside(child.id(), "trial-0/site", is_sleeping_child)?;
        let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
        ensure(code == Some(5), || {
            format!("{detector}: {code:?} {text} {err}")
        })?;
        let records = records(&out)?;
        let note = note_of(&records[0]);
        ensure(
            records[0].outcome == Outcome::Broken
                && records[0].cause == Some(Cause::KilledFromOutside),
            || format!("{detector}: {:?}", records[0]),
        )?;
        ensure(note.contains(&format!("process {victim} ")), || {
            format!("{detector}: {note}")
        })?;
        ensure(
            text.contains("1 killed-from-outside; first: trial 0")
                && !text.contains("while something lived"),
            || text.clone(),
        )?;
    }
    Ok(())
}

fn killed_observer() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let args = "exit-now --set lifetime=2s --deadline 5s --trials 1 --detector waitpid-main";
    let (child, out) = begin(dir.path(), args)?;
    let pid = child.id();
    wait_until("the workload plays", || {
        !members(pid, "trial-0/site").is_empty()
    })?;
    let observer = kill_from_outside(pid, "control", |_| true)?;
    let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
    ensure(code == Some(5), || format!("{code:?} {text} {err}"))?;
    let record = &records(&out)?[0];
    let note = note_of(record);
    let named = note.contains(&format!(
        "the observer ({observer}) was ended by SIGKILL, by something outside"
    ));
    ensure(record.cause == Some(Cause::ObserverKilled) && named, || {
        format!("{record:?}")
    })?;
    ensure(text.contains("Nothing was left behind"), || text.clone())
}

/// The canary is the helper process that is not root's.
fn is_not_root(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| process.uid() != 0)
}

fn killed_canary() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    // The observer waits for the length of the gap, when the canaries exist already and the
    // workload does not.
    let args = "exit-now --gap 1s --trials 1 --detector none --kill cgroup-kill";
    let (child, out) = begin(dir.path(), args)?;
    let pid = child.id();
    // Not the process that is started before the first trial, to see whether it can be.
    wait_until("the trial begins", || {
        cgroups_of(pid)
            .iter()
            .any(|run| run.join("trial-0").is_dir())
    })?;
    kill_from_outside(pid, "control", is_not_root)?;
    let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
    ensure(code == Some(5), || format!("{code:?} {text} {err}"))?;
    let record = &records(&out)?[0];
    let note = note_of(record);
    ensure(
        record.cause == Some(Cause::CanaryKilled) && record.canaries_hit.is_empty(),
        || format!("{record:?}"),
    )?;
    ensure(note.contains("before the strategy's first act"), || {
        note.clone()
    })?;
    ensure(!text.contains("hit bystanders"), || text.clone())
}

fn killed_before() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let record = play(&spec(
        scenario,
        reference(),
        Some(AnyStrategy::Blocking(&VANDAL)),
    ))?;
    ensure(
        record.outcome == Outcome::Broken
            && record.cause == Some(Cause::KilledFromOutside)
            && record.kill.is_none(),
        || format!("{record:?}"),
    )?;
    let note = note_of(&record);
    ensure(note.contains("was ended by SIGKILL"), || note)
}

/// The opposite: what the strategy itself does still counts.
fn hit_canary() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    for (id, reached) in [("killpg", Canary::SameGroup), ("kill-uid", Canary::SameUid)] {
        let strategy = kill::by_id(id).ok_or("not registered")?;
        let record = play(&spec(scenario, reference(), Some(strategy)))?;
        ensure(
            record.outcome == Outcome::Emptied && record.canaries_hit == [reached],
            || format!("{record:?}"),
        )?;
    }
    Ok(())
}

/// The observer ends, which leaves the group of a stopped main process an orphan: the kernel sends
/// SIGHUP to all of it, a moment after the strategy's last act.
fn hung_up_canary() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let stopper = Some(AnyStrategy::Blocking(&STOPPER));
    let record = play(&spec(scenario, reference(), stopper))?;
    ensure(
        record.outcome != Outcome::Broken && record.canaries_hit == [Canary::SameGroup],
        || format!("{record:?}"),
    )
}

fn oom() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let args = "forkbomb --memory 4M --trials 2 --detector none --kill cgroup-kill,killpg";
    let (child, out) = begin(dir.path(), args)?;
    let (code, text, err) = told(&child.wait_with_output().map_err(|e| e.to_string())?);
    let records = records(&out)?;
    let blamed = |r: &&TrialRecord| {
        r.outcome != Outcome::Broken || !r.canaries_hit.is_empty() || !r.survivors.is_empty()
    };
    ensure(
        records.len() == 4 && !records.iter().any(|r| blamed(&r)),
        || format!("{code:?} {text} {err}"),
    )?;
    ensure(
        records.iter().all(|r| r.cause == Some(Cause::OomKilled)) && text.contains("4 oom-killed"),
        || text.clone(),
    )?;
    ensure(
        text.contains("OOM killer") && !text.contains("bystanders"),
        || text.clone(),
    )
}

fn ran_out() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let record = play(&spec(scenario, AnyDetector::Blocking(&Exhausted), None))?;
    ensure(
        record.outcome == Outcome::Broken && record.cause == Some(Cause::OutOfResources),
        || format!("{record:?}"),
    )
}

/// Runs a command behind `unshare` with these flags.
fn unshared(flags: &[&str], args: &[&str]) -> Result<(Option<i32>, String, String), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = Command::new("unshare")
        .args(flags)
        .arg(binary())
        .args(args)
        .env("XDG_STATE_HOME", dir.path())
        .stdin(Stdio::null())
        .output();
    output
        .map(|output| told(&output))
        .map_err(|e| e.to_string())
}

fn mapped_root() -> Result<(), String> {
    let flags = ["--user", "--map-root-user"];
    let args = [
        "fork-exit",
        "--detector",
        "cgroup-events-poll",
        "--kill",
        "cgroup-kill",
        "--trials",
        "1",
    ];
    let (code, out, err) = unshared(&flags, &args)?;
    ensure(
        code == Some(0) && out.contains("Every expectation held (2 of 2"),
        || format!("{code:?} {out} {err}"),
    )?;
    let (code, out, err) = unshared(
        &flags,
        &[
            "fork-exit",
            "--detector",
            "none",
            "--kill",
            "kill-uid",
            "--trials",
            "1",
        ],
    )?;
    ensure(
        code == Some(3) && err.contains("cannot become another user"),
        || format!("{code:?} {out} {err}"),
    )
}

fn not_executable() -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let own = dir.path().join("scenario");
    std::fs::copy(binary(), &own).map_err(|e| e.to_string())?;
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700))
        .map_err(|e| e.to_string())?;
    let out = dir.path().join("out");
    let output = Command::new(&own)
        .args([
            "exit-now",
            "--detector",
            "waitpid-main",
            "--kill",
            "cgroup-kill",
            "--trials",
            "3",
            "--out",
        ])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (code, text, err) = told(&output);
    let said = err.contains("cannot be executed")
        && err.contains("chmod")
        && err.contains(&own.display().to_string());
    ensure(code == Some(3) && said, || format!("{code:?} {text} {err}"))?;
    ensure(records(&out)?.is_empty(), || "trials were run".to_owned())
}

fn foreign_proc() -> Result<(), String> {
    let args = ["exit-now", "--detector", "waitpid-main", "--trials", "1"];
    let (code, out, err) = unshared(&["--pid", "--fork"], &args)?;
    ensure(
        code == Some(3)
            && err.contains("/proc belongs to another PID namespace")
            && err.contains("--mount-proc"),
        || format!("{code:?} {out} {err}"),
    )?;
    let (code, out, err) = unshared(&["--pid", "--fork", "--mount-proc"], &args)?;
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))
}

/// A run of this namespace with an owner that cannot be looked up is not called dead.
fn nothing_is_cleaned() -> Result<(), String> {
    let base = base().cgroup().path().display().to_string();
    let name = format!("{base}/scenario-3999999-1-");
    let script = format!(
        "d={name}$(stat -Lc %i /proc/self/ns/pid); mkdir $d; {} clean --cgroup {base}; ls -d $d; \
            rmdir $d",
        binary()
    );
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let (_, out, err) = told(&output);
    ensure(out.lines().any(|line| line.starts_with(&name)), || {
        format!("it was removed: {out} {err}")
    })
}

fn listening_elsewhere() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let args = "exit-now --set lifetime=60s --deadline 90s --trials 1 --detector proc-connector";
    let (mut listener, _) = begin(dir.path(), args)?;
    let pid = listener.id();
    wait_until("somebody listens", || {
        !members(pid, "trial-0/site").is_empty()
    })?;
    let args = ["exit-now", "--detector", "proc-connector", "--trials", "1"];
    let heard = unshared(&["--pid", "--fork", "--mount-proc"], &args);
    let pid = i32::try_from(pid).map_err(|e| e.to_string())?;
    send(Pid::from_raw(pid), Signal::SIGINT).map_err(|e| e.to_string())?;
    listener.wait().map_err(|e| e.to_string())?;
    let (code, out, err) = heard?;
    ensure(code == Some(3) && err.contains("PID"), || {
        format!("{code:?} {out} {err}")
    })
}
