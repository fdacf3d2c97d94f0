//! "Nothing was left behind" covers everything that a run can have made, and nothing else; and what
//! fails half-way is undone.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use harness::cgroup::Cgroup;
use harness::host::leftovers;
use harness::host::name::{Owner, RunName, own_pidns};
use harness::host::named::{self, Named};
use harness::host::{Layout, LimitSource, Paths};
use harness::sys::fork::worker;
use harness::sys::time;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

use super::common::{Test, base, ensure, reference, run, scenario, spec, start, wait_until};
use super::needs::{CGROUP2_WRITE, MOUNT, PIDS_LIMIT, ROOT, V1_FREEZER};
use super::place::{reap_all, sleep_for_ever};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "left::an_observer_that_is_killed_leaves_no_v1_cgroup",
            &[CGROUP2_WRITE, PIDS_LIMIT, V1_FREEZER],
            killed_observer,
        ),
        Test::new(
            "left::who_is_frozen_in_a_v1_cgroup_is_ended_too",
            &[CGROUP2_WRITE, V1_FREEZER],
            frozen_in_v1,
        ),
        Test::new(
            "left::a_foreign_system_v_object_is_no_leak_and_an_own_one_is",
            &[CGROUP2_WRITE, ROOT],
            system_v,
        ),
        Test::new(
            "left::a_foreign_mount_is_no_leak_and_an_own_one_is",
            &[CGROUP2_WRITE, ROOT, MOUNT],
            mounts,
        ),
        Test::new(
            "left::a_process_of_the_actors_user_is_a_leak",
            &[CGROUP2_WRITE, ROOT],
            process,
        ),
        Test::new(
            "left::a_run_that_cannot_start_takes_itself_back",
            &[CGROUP2_WRITE],
            no_start,
        ),
        Test::new(
            "left::a_trial_that_cannot_start_takes_itself_back",
            &[CGROUP2_WRITE],
            no_trial,
        ),
        Test::new(
            "left::refused_calls_leave_nothing",
            &[CGROUP2_WRITE],
            refused_calls,
        ),
        Test::new(
            "left::trials_share_one_named_hierarchy_that_ends_with_the_run",
            &[
                CGROUP2_WRITE,
                "v1-release-agent",
                "v1-release-event-control",
            ],
            shared_hierarchy,
        ),
        Test::new(
            "left::a_run_that_is_dropped_is_removed",
            &[CGROUP2_WRITE],
            dropped,
        ),
    ]
}

/// The first trial that needs one makes it, each takes its own cgroups out of it, and the run takes
/// it down.
fn shared_hierarchy() -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let mut run = start();
    let name = named::shared(
        &run.site(&spec(scenario, reference(), None))
            .map_err(text)?
            .label(),
    );
    let of_run = || -> Result<Vec<String>, String> {
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(text)?;
        let prefix = format!("name={}", name.trim_end_matches("shared"));
        let lines = own.lines().filter_map(|line| line.split(':').nth(1));
        Ok(lines
            .filter(|line| line.starts_with(&prefix))
            .map(str::to_owned)
            .collect())
    };
    let mut played = || -> Result<(), String> {
        let ids = ["v1-release-agent", "v1-release-event-control"];
        for (seq, id) in (1..).zip(ids.into_iter().cycle().take(6)) {
            let detector = harness::detect::by_id(id).ok_or("not registered")?;
            let mut spec = spec(scenario, detector, None);
            spec.seq = seq;
            let record = run.trial(&spec).map_err(text)?;
            ensure(record.held, || format!("{record:?}"))?;
            let there = of_run()?;
            ensure(there == [format!("name={name}")], || format!("{there:?}"))?;
            let shared = Named::mount(&name).map_err(text)?;
            let mut inside = Vec::new();
            for child in shared.root().children().map_err(text)? {
                inside.push(child.map_err(text)?.path().to_path_buf());
            }
            ensure(inside.len() == 1 && inside[0].ends_with("keeper"), || {
                format!("trial {seq} has left {inside:?}")
            })?;
        }
        Ok(())
    };
    let played = played();
    let leaks = run.finish().map_err(text)?;
    played?;
    ensure(leaks.is_clean() && of_run()?.is_empty(), || {
        format!("{leaks}; {:?}", of_run())
    })
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// What bears the name `run` and is there.
fn made(run: &str) -> Result<Vec<String>, String> {
    let found = leftovers::of_run(run, Some(base().cgroup().path())).map_err(text)?;
    Ok(found.iter().map(ToString::to_string).collect())
}

/// The directory of the only run below the base that has the suffix `part`.
fn own_run(suffix: &str) -> Result<String, String> {
    let name = RunName::own().map_err(text)?;
    let found = leftovers::of_run(&name.to_string(), Some(base().cgroup().path())).map_err(text)?;
    let names = found
        .iter()
        .filter_map(|l| l.path.file_name()?.to_str().map(str::to_owned));
    names
        .filter(|name| name.contains(suffix))
        .min_by_key(String::len)
        .ok_or_else(|| format!("no run of this process is named so: {suffix}"))
}

/// The observer runs out of memory in the middle, while it has a freezer cgroup.
fn killed_observer() -> Result<(), String> {
    let args = [
        "forkbomb",
        "--memory",
        "4M",
        "--trials",
        "1",
        "--detector",
        "none",
        "--kill",
        "v1-freeze-kill-thaw",
    ];
    let before = freezers()?;
    let (code, out, err) = run(&args);
    ensure(out.contains("Nothing was left behind"), || {
        format!("{code:?} {out} {err}")
    })?;
    let new: Vec<_> = freezers()?
        .into_iter()
        .filter(|dir| !before.contains(dir))
        .collect();
    // Other runs may be going on, also in other PID namespaces; those of this test are over.
    let pidns = own_pidns().map_err(text)?;
    let ours = |dir: &&String| {
        RunName::parse(dir).is_none_or(|run| run.0.pidns == pidns && run.owner() != Owner::Alive)
    };
    ensure(new.iter().filter(ours).count() == 0, || {
        format!("{new:?}: {out} {err}")
    })
}

fn freezers() -> Result<Vec<String>, String> {
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let own = layout.own_v1("freezer").map_err(text)?;
    let entries = std::fs::read_dir(own.path).map_err(text)?;
    let names =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    Ok(names.filter(|name| name.starts_with("scenario-")).collect())
}

/// In v1 a frozen process does not die of SIGKILL. It holds the v2 cgroup of its run, which comes
/// first.
fn frozen_in_v1() -> Result<(), String> {
    let run = format!("{}.frozen", RunName::own().map_err(text)?);
    let v2 = base().cgroup().create(&run).map_err(text)?;
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let freezer = layout.own_v1("freezer").map_err(text)?.path.join(&run);
    std::fs::create_dir(&freezer).map_err(text)?;
    let sleeper = worker(0, Some(std::os::fd::AsFd::as_fd(&v2)), sleep_for_ever).map_err(text)?;
    std::fs::write(freezer.join("cgroup.procs"), sleeper.pid.to_string()).map_err(text)?;
    std::fs::write(freezer.join("freezer.state"), "FROZEN").map_err(text)?;
    let deadline = time::now() + std::time::Duration::from_secs(10);
    let removed =
        leftovers::remove_run(&run, Some(base().cgroup().path()), deadline, &mut reap_all);
    removed.map_err(|(path, e)| format!("{}: {e}", path.display()))?;
    ensure(made(&run)?.is_empty() && !freezer.exists(), || {
        format!("{:?}", made(&run))
    })
}

/// Makes a segment of shared memory as `uid`; returns its number.
fn shared_memory(uid: u32) -> Result<String, String> {
    let output = Command::new("ipcmk")
        .args(["-M", "4096"])
        .uid(uid)
        .output()
        .map_err(text)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_whitespace()
        .last()
        .map(str::to_owned)
        .ok_or(said)
}

fn remove_shared_memory(id: &str) -> Result<(), String> {
    let status = Command::new("ipcrm")
        .args(["-m", id])
        .status()
        .map_err(text)?;
    ensure(status.success(), || format!("ipcrm: {status}"))
}

fn system_v() -> Result<(), String> {
    let run = start();
    let actor = run
        .credentials()
        .ok_or("root has actors with a user of their own")?
        .uid;
    let foreign = shared_memory(0)?;
    let own = shared_memory(actor)?;
    let leaks = run.finish().map_err(text);
    remove_shared_memory(&foreign)?;
    remove_shared_memory(&own)?;
    let leaks = leaks?;
    ensure(leaks.left == [format!("System V object shm {own}")], || {
        format!("{foreign} is root's, {own} the actors': {leaks}")
    })
}

fn mounts() -> Result<(), String> {
    let run = start();
    let name = own_run(".test")?;
    let dir = tempfile::tempdir().map_err(text)?;
    let own = dir.path().join(format!("{name}.mount"));
    let foreign = dir.path().join("foreign");
    let mount = |place: &std::path::Path| {
        std::fs::create_dir(place).map_err(text)?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(place)
            .status();
        ensure(status.is_ok_and(|status| status.success()), || {
            format!("mount {}", place.display())
        })
    };
    let mounted = mount(&own).and_then(|()| mount(&foreign));
    let leaks = run.finish().map_err(text);
    for place in [&own, &foreign] {
        Command::new("umount").arg(place).status().map_err(text)?;
    }
    mounted?;
    let leaks = leaks?;
    ensure(leaks.left == [format!("mount {}", own.display())], || {
        leaks.to_string()
    })
}

/// A process that has left the run's cgroups and is not a child of the harness.
fn process() -> Result<(), String> {
    use std::io::{BufRead, BufReader};
    let run = start();
    let actor = run
        .credentials()
        .ok_or("root has actors with a user of their own")?
        .uid;
    let script = "setpriv --reuid \"$0\" --clear-groups sleep 600 & echo $!; wait";
    let mut parent = Command::new("sh")
        .args(["-c", script, &actor.to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut number = String::new();
    let stdout = parent.stdout.take().ok_or("no pipe")?;
    BufReader::new(stdout)
        .read_line(&mut number)
        .map_err(text)?;
    let stray: i32 = number.trim().parse().map_err(text)?;
    let has_become = || {
        std::fs::read_to_string(format!("/proc/{stray}/status"))
            .is_ok_and(|status| status.contains(&format!("Uid:\t{actor}")))
    };
    let become_it = wait_until("it is of the actors' user", has_become);
    let leaks = run.finish().map_err(text);
    for pid in [stray, i32::try_from(parent.id()).map_err(text)?] {
        let killed = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        );
        killed.map_err(text)?;
    }
    // A run reaps all children; it may have been faster.
    match parent.wait() {
        Ok(_) | Err(_) => {}
    }
    become_it?;
    let leaks = leaks?;
    ensure(leaks.left.contains(&format!("process {stray}")), || {
        leaks.to_string()
    })
}

/// The creation in the last of the hierarchies fails.
fn no_start() -> Result<(), String> {
    let obstacle = |run: &str| -> Result<std::path::PathBuf, String> {
        let dir = match base().limits() {
            LimitSource::V1 { pids, memory, .. } => memory.as_ref().unwrap_or(pids).path.join(run),
            LimitSource::V2 { .. } | LimitSource::None => base().cgroup().path().join(run),
        };
        std::fs::create_dir(&dir).map_err(text)?;
        Ok(dir)
    };
    let name = format!("{}.obstructed", RunName::own().map_err(text)?);
    let dir = obstacle(&name)?;
    let started = super::common::try_start(&name);
    ensure(started.is_err(), || {
        format!("it started in spite of {}", dir.display())
    })?;
    ensure(made(&name)?.is_empty(), || format!("{:?}", made(&name)))
}

fn no_trial() -> Result<(), String> {
    let mut run = start();
    let name = own_run(".test")?;
    // The site's name is taken, which is found when the cgroups and the limits around it are there.
    let spec = spec(
        scenarios::by_id("exit-now").ok_or("not registered")?,
        reference(),
        None,
    );
    let top = Cgroup::open(base().cgroup().path().join(&name)).map_err(text)?;
    let trial = match base().limits() {
        LimitSource::V1 { pids, .. } => {
            let limit = pids.path.join(&name).join("trial-0");
            std::fs::create_dir(&limit).map_err(text)?;
            limit
        }
        LimitSource::V2 { .. } | LimitSource::None => {
            top.create("trial-0").map_err(text)?.path().to_path_buf()
        }
    };
    let played = run.trial(&spec);
    let v2 = top.path().join("trial-0");
    let there: Vec<_> = [&trial, &v2]
        .into_iter()
        .filter(|dir| dir.exists())
        .collect();
    let outcome = ensure(played.is_err() && there.is_empty(), || {
        format!("{played:?}, {there:?}")
    });
    let leaks = run.finish().map_err(text)?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    outcome
}

/// A policy that refuses what a run cannot do without: an error that says so, and nothing is left
/// in any hierarchy.
fn refused_calls() -> Result<(), String> {
    use nix::libc::{SYS_eventfd2, SYS_memfd_create, SYS_pidfd_open, SYS_signalfd4};
    for (call, named) in [
        (SYS_pidfd_open, "pidfd_open"),
        (SYS_eventfd2, "eventfd"),
        (SYS_signalfd4, "signalfd"),
        (SYS_memfd_create, "memfd_create"),
    ] {
        let dir = tempfile::tempdir().map_err(text)?;
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(text)?;
        let eperm = u32::try_from(nix::libc::EPERM).map_err(text)?;
        let rules = BTreeMap::from([(call, Vec::new())]);
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(eperm),
            arch,
        );
        let program: seccompiler::BpfProgram = filter.and_then(TryInto::try_into).map_err(text)?;
        let said = File::create(dir.path().join("said")).map_err(text)?;
        let mut command = scenario(
            dir.path(),
            &["exit-now", "--detector", "waitpid-main", "--trials", "1"],
        );
        command.stderr(said.try_clone().map_err(text)?).stdout(said);
        let child = worker(0, None, || match seccompiler::apply_filter(&program) {
            Ok(()) => command.exec().raw_os_error().map_or(99, |_| 98),
            Err(_) => 97,
        });
        let child = child.map_err(text)?;
        let name = RunName::of(child.pid).map_err(text)?.to_string();
        let status = waitpid(child.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
        let said = std::fs::read_to_string(dir.path().join("said")).map_err(text)?;
        let what = || format!("{named}: {status:?}: {said}");
        ensure(matches!(status, WaitStatus::Exited(_, 1..=5)), what)?;
        ensure(said.contains(named) && said.contains("EPERM"), what)?;
        ensure(made(&name)?.is_empty(), || {
            format!("{:?} is left: {}", made(&name), what())
        })?;
    }
    Ok(())
}

/// An early return, or a panic.
fn dropped() -> Result<(), String> {
    let run = start();
    let name = own_run(".test")?;
    let control = Cgroup::open(base().cgroup().path().join(&name).join("control")).map_err(text)?;
    let sleeper =
        worker(0, Some(std::os::fd::AsFd::as_fd(&control)), sleep_for_ever).map_err(text)?;
    drop(run);
    ensure(made(&name)?.is_empty(), || format!("{:?}", made(&name)))?;
    let status = waitpid(sleeper.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    ensure(matches!(status, WaitStatus::Signaled(..)), || {
        format!("{status:?}")
    })
}
