//! One loop over many sites: every mechanism names the site that ended, and the limits of the
//! machine lead to clear errors.

use std::time::Duration;

use harness::cgroup::Cgroup;
use harness::fleet::{self, FleetSpec, MECHANISMS, SleeperSet, measure};
use harness::record::Outcome;
use harness::sys::fork;
use harness::sys::wait::{Whose, waitid};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{getgid, getuid};

use super::common::{Test, base, ensure, scenario, start, told};
use super::needs::{CGROUP2_WRITE, Need, OWN_LIMITS, PIDS_LIMIT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = MECHANISMS
        .iter()
        .map(|mechanism| {
            let id = mechanism.spec().id;
            let name = format!("fleet::names_the_site_that_ended::{id}");
            Test::new(
                name,
                &[CGROUP2_WRITE, PIDS_LIMIT, stands_for(id)],
                move || names(id),
            )
        })
        .collect();
    tests.push(Test::new(
        "fleet::a_lack_of_descriptors_is_named_and_none_is_needed_without",
        &[CGROUP2_WRITE, PIDS_LIMIT],
        descriptors,
    ));
    for (what, sysctl, limit) in [
        (
            "watches",
            "max_inotify_watches",
            "fs.inotify.max_user_watches (5)",
        ),
        (
            "instances",
            "max_inotify_instances",
            "fs.inotify.max_user_instances (0)",
        ),
    ] {
        let name = format!("fleet::a_lack_of_inotify_{what}_is_named");
        let needs = [CGROUP2_WRITE, OWN_LIMITS];
        tests.push(Test::new(name, &needs, move || {
            inotify_limit(sysctl, limit)
        }));
    }
    tests
}

/// The detector or strategy that needs the same of the machine.
fn stands_for(mechanism: &str) -> Need {
    match mechanism {
        "bpf-notify-populated" => "bpf-notify-populated",
        "cgroups-rs-scan" => "cgroups-rs-kill",
        "pidfd-epoll" => "pidfd-main",
        "subreaper+cgroup-events" => "subreaper+cgroup-events",
        _ => "cgroup-events-mio",
    }
}

/// Jobs end as soon as they have begun, in sites drawn at random, some of which are watched and
/// never populated.
fn names(id: &'static str) -> Result<(), String> {
    let mut run = start();
    let records = measure(
        &mut run,
        &FleetSpec {
            seq: 0,
            mechanism: fleet::by_id(id).ok_or("not registered")?,
            sites: 20,
            populated: 8,
            jobs: 40,
            rest: Duration::ZERO,
            deadline: Duration::from_secs(20),
            seed: 1,
        },
    );
    let leaks = run
        .finish()
        .map_err(|e| format!("could not clean up: {e}"))?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    let records = records.map_err(|e| e.to_string())?;
    ensure(records.len() == 40, || {
        format!("{} of 40 jobs: {:?}", records.len(), records.last())
    })?;
    match records
        .iter()
        .find(|record| record.outcome != Outcome::Right)
    {
        Some(wrong) => Err(format!("{wrong:?}")),
        None => Ok(()),
    }
}

/// With a hard limit of 600 (a spawn uses numbers from 512 on): a mechanism that needs one for each
/// site says so and stops in good order, one that needs none goes on.
fn descriptors() -> Result<(), String> {
    let command = |mechanism: &str| -> Result<(Option<i32>, String, String), String> {
        let state = tempfile::tempdir().map_err(|e| e.to_string())?;
        let built = scenario(
            state.path(),
            &[
                "scale",
                mechanism,
                "--sites",
                "700",
                "--populated",
                "2",
                "--jobs",
                "2",
            ],
        );
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 600 && exec \"$0\" \"$@\""]);
        limited.arg(built.get_program()).args(built.get_args());
        limited.env("XDG_STATE_HOME", state.path());
        Ok(told(&limited.output().map_err(|e| e.to_string())?))
    };
    let (code, out, err) = command("cgroup-events-mio")?;
    ensure(
        code == Some(5)
            && out.contains("could not watch site")
            && out.contains("RLIMIT_NOFILE (600) is exhausted"),
        || format!("{code:?} {out} {err}"),
    )?;
    ensure(out.contains("Nothing was left behind"), || out.clone())?;
    let (code, out, err) = command("cgroup-events-inotify")?;
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))
}

/// In a user namespace with a limit that is lower than what is needed.
fn inotify_limit(sysctl: &'static str, limit: &'static str) -> Result<(), String> {
    let run = harness::host::run_name().map_err(|e| e.to_string())?;
    let top = base()
        .cgroup()
        .create(&format!("{run}.limit"))
        .map_err(|e| e.to_string())?;
    let parent = top.try_clone().map_err(|e| e.to_string())?;
    let said = in_a_fork(|| met(sysctl, &parent).unwrap_or_else(|e| e));
    top.remove_tree().map_err(|(_, e)| e.to_string())?;
    let said = said?;
    ensure(
        said.contains(limit) && said.contains("raise it with sysctl"),
        || said.clone(),
    )
}

/// Why a process cannot have limits of its own on inotify, if it cannot.
pub(crate) fn no_own_limits() -> Option<String> {
    let tried = in_a_fork(|| lower("max_inotify_watches", 5).err().unwrap_or_default());
    tried.map_or_else(Some, |why| Some(why).filter(|why| !why.is_empty()))
}

/// The result of `body`, run in a process of its own.
fn in_a_fork(body: impl FnOnce() -> String) -> Result<String, String> {
    let (hear, tell) = nix::unistd::pipe().map_err(|e| e.to_string())?;
    let worker = fork::worker(0, None, || {
        i32::from(nix::unistd::write(&tell, body().as_bytes()).is_err())
    })
    .map_err(|e| e.to_string())?;
    drop(tell);
    let said = std::io::read_to_string(std::fs::File::from(hear)).map_err(|e| e.to_string());
    waitid(Whose::Pid(worker.pid), WaitPidFlag::WEXITED).map_err(|e| e.to_string())?;
    said
}

/// Enters a user namespace and lowers one of its limits.
fn lower(sysctl: &str, value: u64) -> Result<(), String> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| format!("unshare: {e}"))?;
    let write = |path: &str, content: String| {
        std::fs::write(path, content).map_err(|e| format!("{path}: {e}"))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    write(&format!("/proc/sys/user/{sysctl}"), value.to_string())
}

/// Lowers the limit and asks for more; returns the mechanism's error.
fn met(sysctl: &str, parent: &Cgroup) -> Result<String, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let stand =
        SleeperSet::build(parent.try_clone().map_err(|e| text(&e))?, 20).map_err(|e| text(&e))?;
    lower(sysctl, if sysctl.ends_with("instances") { 0 } else { 5 })?;
    let mechanism = fleet::by_id("cgroup-events-inotify").ok_or("not registered")?;
    let mut fleet = match mechanism.open(20) {
        Ok(fleet) => fleet,
        Err(e) => return Ok(e.to_string()),
    };
    for number in 0..20 {
        let site = stand.site(number).map_err(|e| text(&e))?;
        if let Err(e) = fleet.watch(number, &site) {
            return match number {
                5 => Ok(e.to_string()),
                other => Err(format!("met at site {other}: {e}")),
            };
        }
    }
    Err("no limit was met".to_owned())
}
