//! The search for a base, the probes and the clean-up, on the running kernel.
//!
//! `HARNESS_REQUIRE=root,cgroup2-write,...` turns a missing feature into a failure; without it a test that lacks one is reported as
//! ignored, with the reason. Each test that changes its process runs in a forked worker, so this program has one thread.
#![expect(clippy::print_stderr, reason = "this is a program: it is its own main")]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::cgroup::Cgroup;
use harness::host::base::{Options, find};
use harness::host::bugs::{Presence, killed_at_birth};
use harness::host::delegation::{Delegation, EnableError};
use harness::host::features::{self, FEATURES, Feature, Gate};
use harness::host::limits::{Limit, create_v1_belt};
use harness::host::name::{Owner, RunName};
use harness::host::{Base, Belts, Detected, Found, Host, Layout, NoBase, Paths, Refusal, Support, leftovers, rerun};
use harness::sys::{fork, pidfd};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

type Outcome = Result<(), String>;

/// A user that owns nothing.
const NOBODY: u32 = 61_234;

fn main() -> ExitCode {
    if std::env::var_os("HOST_TEST_PROGRAM").is_some() {
        return as_program();
    }
    let mut arguments = Arguments::from_args();
    // Workers are forked: a second thread would be torn in them.
    arguments.test_threads = Some(1);
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    let required = match features::parse_requirements(&required) {
        Ok(required) => required,
        Err(e) => {
            eprintln!("HARNESS_REQUIRE: {e}");
            return ExitCode::from(2);
        }
    };
    let mut host = host();
    let trials = TESTS.iter().map(|test| test.trial(&required, &host)).collect();
    for failed in host.base.iter_mut().flat_map(Base::undo) {
        eprintln!("not taken back: {failed}");
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

struct Test {
    name: &'static str,
    needs: &'static [&'static str],
    run: fn() -> Outcome,
}

const TESTS: &[Test] = &[
    Test {
        name: "a_base_is_found_and_trying_leaves_nothing",
        needs: &["cgroup2-write"],
        run: base_is_found,
    },
    Test {
        name: "every_probe_answers_and_leaves_nothing",
        needs: &[],
        run: every_probe_answers,
    },
    Test {
        name: "killed_at_birth_is_decided_and_twice_the_same",
        needs: &["clone-into-cgroup", "cgroup-kill"],
        run: bug_is_decided,
    },
    Test {
        name: "hidden_clone3_is_named_and_does_not_stop_the_search",
        needs: &["cgroup2-write"],
        run: clone3_hidden,
    },
    Test {
        name: "a_read_only_hierarchy_is_said_to_be_read_only",
        needs: &["root", "cgroup2-write"],
        run: read_only,
    },
    Test {
        name: "no_cgroup_v2_is_said",
        needs: &["root", "cgroup2-write"],
        run: no_v2,
    },
    Test {
        name: "no_pids_controller_is_said_and_can_be_allowed",
        needs: &["root", "v1-pids"],
        run: no_pids,
    },
    Test {
        name: "exhausted_processes_are_said",
        needs: &["root", "cgroup2-write"],
        run: processes_exhausted,
    },
    Test {
        name: "exhausted_inotify_instances_are_said",
        needs: &["root", "inotify"],
        run: inotify_exhausted,
    },
    Test {
        name: "leaving_for_a_leaf_is_listed_and_taken_back",
        needs: &["cgroup2-write"],
        run: leaf,
    },
    Test {
        name: "only_leftovers_of_the_dead_are_removed",
        needs: &["cgroup2-write", "cgroup-kill"],
        run: clean,
    },
    Test {
        name: "a_fake_systemd_run_gets_the_program_once",
        needs: &[],
        run: rerun_once,
    },
];

impl Test {
    fn trial(&self, required: &[&'static Feature], host: &Host) -> Trial {
        let needs: Vec<_> = self
            .needs
            .iter()
            .map(|name| features::by_name(name).expect("tests name features"))
            .collect();
        let run = self.run;
        match features::gate(&needs, required, host) {
            Gate::Run => Trial::test(self.name, move || run().map_err(Failed::from)),
            Gate::Ignore(why) => Trial::ignorable_test(self.name, move || Ok(Completion::ignored_with(why))),
            Gate::Fail(why) => Trial::test(self.name, move || Err(why.into())),
        }
    }
}

fn options() -> Options {
    Options::default()
}

fn host() -> Host {
    match Host::detect(&options()) {
        Ok(Detected::Host(host)) => *host,
        Ok(Detected::Rerun(_)) => unreachable!("no program was given, so it cannot be run again"),
        Err(e) => panic!("{e}"),
    }
}

/// A base that takes back what was changed for it. Only the process that searched drops one; workers borrow.
#[derive(Debug)]
struct Mine(Base);

impl std::ops::Deref for Mine {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.0
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        for failed in self.0.undo() {
            eprintln!("not taken back: {failed}");
        }
    }
}

fn search(options: &Options) -> Result<Mine, NoBase> {
    let layout = Layout::read(&options.paths).expect("/proc is readable");
    match find(options, &layout, nix::unistd::geteuid().as_raw())? {
        Found::Here(base) => Ok(Mine(*base)),
        Found::Rerun(_) => unreachable!("no program was given"),
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(why()) }
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Directories of runs of this process, in all hierarchies. Other runs may come and go meanwhile.
fn own_leftovers() -> Result<Vec<String>, String> {
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let own = RunName::own().map_err(text)?.to_string();
    let found = leftovers::find(&layout, None).map_err(text)?;
    let paths = found.iter().map(|l| l.path.display().to_string());
    Ok(paths.filter(|path| path.contains(&own)).collect())
}

/// Runs `body` in a forked copy of this process; what it says comes back through a pipe.
fn worker(body: impl FnOnce() -> Outcome) -> Outcome {
    let (read, write) = nix::unistd::pipe().map_err(text)?;
    let worker = fork::worker(0, None, || match body() {
        Ok(()) => 0,
        Err(why) => nix::unistd::write(&write, why.as_bytes()).map_or(2, |_| 1),
    });
    let worker = worker.map_err(|e| format!("fork: {e}"))?;
    drop(write);
    let status = end_of(worker.pidfd.as_fd())?;
    let said = std::io::read_to_string(std::fs::File::from(read)).map_err(text)?;
    ensure(matches!(status, WaitStatus::Exited(_, 0)), || {
        format!("{status:?}: {said}")
    })
}

/// Reaps a worker, which has a minute to end by itself.
fn end_of(worker: BorrowedFd<'_>) -> Result<WaitStatus, String> {
    let mut fds = [PollFd::new(worker, PollFlags::POLLIN)];
    let in_time = poll(&mut fds, PollTimeout::from(60_000u16)).map_err(text)? == 1;
    if !in_time {
        pidfd::send_signal(worker, Some(Signal::SIGKILL)).map_err(text)?;
    }
    let status = waitid(Id::PIDFd(worker), WaitPidFlag::WEXITED).map_err(text)?;
    if in_time {
        Ok(status)
    } else {
        Err("did not end within a minute".to_owned())
    }
}

fn base_is_found() -> Outcome {
    worker(|| {
        let mut base = search(&options()).map_err(text)?;
        if let Belts::V1 { pids, .. } = &base.belts {
            let name = format!("{}.belt", RunName::own().map_err(text)?);
            let belt = create_v1_belt(pids, &Path::new(&name).join("7"), Limit::Tasks(64)).map_err(text)?;
            let max = std::fs::read_to_string(belt.join("pids.max")).map_err(text)?;
            std::fs::remove_dir(&belt)
                .and_then(|()| std::fs::remove_dir(pids.path.join(&name)))
                .map_err(text)?;
            ensure(max == "64\n", || format!("pids.max is {max:?}"))?;
        }
        let changes = base.changes.clone();
        let failed = base.0.undo();
        ensure(failed.is_empty(), || format!("{changes:?} not taken back: {failed:?}"))?;
        let left = own_leftovers()?;
        ensure(left.is_empty(), || format!("left behind: {left:?}"))
    })
}

fn every_probe_answers() -> Outcome {
    worker(|| {
        let mut host = host();
        for feature in FEATURES {
            match feature.probe(&host).map_err(|e| format!("{}: {e}", feature.name))? {
                Support::Available => {}
                Support::Missing { why, remedy } => {
                    ensure(!why.is_empty() && !remedy.is_empty(), || {
                        format!("{}: {why:?}, {remedy:?}", feature.name)
                    })?;
                }
            }
        }
        if let Some(base) = &mut host.base {
            let failed = base.undo();
            ensure(failed.is_empty(), || format!("{failed:?}"))?;
        }
        let left = own_leftovers()?;
        ensure(left.is_empty(), || format!("left behind: {left:?}"))
    })
}

fn bug_is_decided() -> Outcome {
    worker(|| {
        let base = search(&options()).map_err(text)?;
        let first = killed_at_birth(&base.cgroup).map_err(text)?;
        let second = killed_at_birth(&base.cgroup).map_err(text)?;
        let decided = matches!(first, Presence::Present | Presence::Absent);
        ensure(decided && first == second, || format!("{first:?}, then {second:?}"))
    })
}

fn clone3_hidden() -> Outcome {
    use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
    worker(|| {
        let arch = std::env::consts::ARCH.try_into().map_err(text)?;
        // What container runtimes did until they learnt of clone3: the call does not exist.
        let hidden = SeccompAction::Errno(Errno::ENOSYS as u32);
        let rules = BTreeMap::from([(nix::libc::SYS_clone3, vec![])]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, hidden, arch).map_err(text)?;
        let program: seccompiler::BpfProgram = filter.try_into().map_err(text)?;
        apply_filter(&program).map_err(text)?;

        let mut host = host();
        ensure(host.base.is_some(), || format!("{:?}", host.no_base))?;
        let support = features::by_name("clone-into-cgroup")
            .map_err(text)?
            .probe(&host)
            .map_err(text)?;
        let Support::Missing { why, remedy } = support else {
            return Err("clone3 should be hidden".to_owned());
        };
        ensure(why.contains("ENOSYS") && remedy.contains("seccomp"), || {
            format!("{why}; {remedy}")
        })?;
        let base = host.base.as_mut().ok_or("no base")?;
        let bug = killed_at_birth(&base.cgroup).map_err(text)?;
        let failed = base.undo();
        ensure(failed.is_empty(), || format!("{failed:?}"))?;
        ensure(matches!(bug, Presence::NotApplicable(_)), || format!("{bug:?}"))
    })
}

/// A mount namespace of one's own, from which nothing reaches the machine.
fn private_mounts() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(text)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(text)
}

fn v2_mount() -> Result<std::path::PathBuf, String> {
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    Ok(layout.v2().ok_or("no v2 mount")?.point.clone())
}

fn no_base(options: &Options) -> Result<NoBase, String> {
    match search(options) {
        Err(error) => Ok(error),
        Ok(base) => Err(format!("found {}", base.cgroup.path().display())),
    }
}

fn read_only() -> Outcome {
    worker(|| {
        private_mounts()?;
        let none: Option<&str> = None;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &v2_mount()?, none, flags, none).map_err(text)?;
        let error = no_base(&options())?;
        ensure(matches!(error.attempts[0].why, Refusal::ReadOnly(_)), || text(&error))?;
        ensure(
            error
                .remedies
                .iter()
                .any(|r| r.contains("remount") || r.contains("--cgroupns")),
            || text(&error),
        )
    })
}

fn no_v2() -> Outcome {
    worker(|| {
        private_mounts()?;
        umount2(&v2_mount()?, MntFlags::MNT_DETACH).map_err(text)?;
        let error = no_base(&options())?;
        ensure(error.to_string().contains("no cgroup v2 hierarchy is mounted"), || {
            text(&error)
        })
    })
}

fn no_pids() -> Outcome {
    worker(|| {
        private_mounts()?;
        let layout = Layout::read(&Paths::default()).map_err(text)?;
        umount2(&layout.v1("pids").ok_or("no v1 pids")?.point, MntFlags::MNT_DETACH).map_err(text)?;
        let error = no_base(&options())?;
        ensure(
            error.attempts.iter().any(|a| matches!(a.why, Refusal::NoPids(_))),
            || text(&error),
        )?;
        ensure(error.to_string().contains("CONFIG_CGROUP_PIDS"), || text(&error))?;
        let allowed = Options {
            allow_no_belt: true,
            ..options()
        };
        let base = search(&allowed).map_err(text)?;
        ensure(base.belts == Belts::None && !base.notes.is_empty(), || {
            format!("{base:?}")
        })
    })
}

/// Runs `body` as a user that owns nothing but the new cgroup that is handed to it.
fn as_nobody(body: impl FnOnce(&Cgroup) -> Outcome) -> Outcome {
    let base = search(&options()).map_err(text)?;
    let name = format!("{}.nobody", RunName::own().map_err(text)?);
    let cgroup = base.cgroup.create(&name).map_err(text)?;
    cgroup.delegate(NOBODY, NOBODY).map_err(text)?;
    let outcome = worker(|| {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setresgid(gid, gid, gid).map_err(text)?;
        setresuid(uid, uid, uid).map_err(text)?;
        body(&cgroup)
    });
    base.cgroup.remove_child(&name).map_err(text)?;
    outcome
}

fn processes_exhausted() -> Outcome {
    worker(|| {
        as_nobody(|cgroup| {
            // This worker is the one process of its user.
            setrlimit(Resource::RLIMIT_NPROC, 1, 1).map_err(text)?;
            let error = no_base(&Options {
                cgroup: Some(cgroup.path().to_path_buf()),
                allow_no_belt: true,
                ..options()
            })?;
            let why = &error.attempts[0].why;
            ensure(why.errno() == Some(Errno::EAGAIN), || text(&error))?;
            ensure(error.remedies.iter().any(|r| r.contains("ulimit -u")), || text(&error))
        })
    })
}

fn inotify_exhausted() -> Outcome {
    use nix::sys::inotify::{InitFlags, Inotify};
    worker(|| {
        as_nobody(|_| {
            let host = Host::without_base(&Paths::default()).map_err(text)?;
            let mut instances = Vec::new();
            while let Ok(instance) = Inotify::init(InitFlags::IN_CLOEXEC) {
                instances.push(instance);
            }
            let support = features::by_name("inotify").map_err(text)?.probe(&host).map_err(text)?;
            let Support::Missing { why, remedy } = support else {
                return Err(format!("after {} instances there still is one", instances.len()));
            };
            ensure(why.contains("EMFILE") && remedy.contains("max_user_instances"), || {
                format!("{why}; {remedy}")
            })
        })
    })
}

fn leaf() -> Outcome {
    worker(|| {
        let base = search(&options()).map_err(text)?;
        let name = format!("{}.leaf", RunName::own().map_err(text)?);
        let cgroup = base.cgroup.create(&name).map_err(text)?;
        let outcome = worker(|| {
            cgroup.write("cgroup.procs", "0").map_err(text)?;
            let mut moved = Delegation::enable(&cgroup, true, &[]).map_err(text)?;
            let leaf = cgroup.child("leaf").map_err(text)?;
            ensure(leaf.procs().map_err(text)?.pids.len() == 1, || {
                "not in the leaf".to_owned()
            })?;
            ensure(moved.lines().len() == 1, || format!("{:?}", moved.lines()))?;
            let failed = moved.undo();
            ensure(failed.is_empty() && moved.undo().is_empty(), || format!("{failed:?}"))?;
            let back = cgroup.procs().map_err(text)?.pids.len();
            ensure(back == 1 && cgroup.children().map_err(text)?.is_empty(), || {
                "not taken back".to_owned()
            })?;

            // A controller that is not there: refused, and the way to the leaf is taken back.
            let refused = Delegation::enable(&cgroup, true, &["nonexistent"]);
            ensure(matches!(refused, Err(EnableError::Cgroup(_))), || {
                format!("{refused:?}")
            })?;
            ensure(cgroup.children().map_err(text)?.is_empty(), || {
                "the leaf is still there".to_owned()
            })?;

            // Somebody else lives there, too: nothing is moved.
            worker(|| {
                let refused = Delegation::enable(&cgroup, true, &[]);
                ensure(matches!(refused, Err(EnableError::Members { others: 1, .. })), || {
                    format!("{refused:?}")
                })
            })
        });
        base.cgroup.remove_child(&name).map_err(text)?;
        outcome
    })
}

fn clean() -> Outcome {
    let base = search(&options()).map_err(text)?;
    // Whoever made these is gone by now.
    let mut ended = std::process::Command::new("/bin/true").spawn().map_err(text)?;
    let gone = RunName {
        pid: i32::try_from(ended.id()).map_err(text)?,
        start: 1,
        ..RunName::own().map_err(text)?
    };
    ended.wait().map_err(text)?;
    let dead = base.cgroup.create(&gone.to_string()).map_err(text)?;
    let site = dead.create("0").and_then(|trial| trial.create("site")).map_err(text)?;
    let alive = base
        .cgroup
        .create(&format!("{}.alive", RunName::own().map_err(text)?))
        .map_err(text)?;
    let sleeper = fork::worker(0, Some(site.as_fd()), || {
        let forever = harness::sys::time::now() + Duration::from_secs(600);
        harness::sys::time::sleep_until(forever).map_or(1, |()| 0)
    });
    let sleeper = sleeper.map_err(|e| format!("fork: {e}"))?;
    if let Belts::V1 { pids, .. } = &base.belts {
        create_v1_belt(pids, &Path::new(&gone.to_string()).join("0"), Limit::Tasks(8)).map_err(text)?;
    }

    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let ours = |l: &leftovers::Leftover| {
        let path = l.path.display().to_string();
        path.ends_with(&gone.to_string()) || path == alive.path().display().to_string()
    };
    let found: Vec<_> = leftovers::find(&layout, None)
        .map_err(text)?
        .into_iter()
        .filter(ours)
        .collect();
    let cleaned = leftovers::clean(&found, Duration::from_secs(10));
    let status = end_of(sleeper.pidfd.as_fd())?;
    base.cgroup
        .remove_child(alive.path().file_name().and_then(|n| n.to_str()).unwrap_or(""))
        .map_err(text)?;

    ensure(matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)), || {
        format!("{status:?}")
    })?;
    ensure(cleaned.failed.is_empty(), || format!("{:?}", cleaned.failed))?;
    ensure(
        cleaned.kept.iter().all(|l| l.owner == Owner::Alive) && cleaned.kept.len() == 1,
        || format!("{:?}", cleaned.kept),
    )?;
    let hierarchies = if matches!(base.belts, Belts::V1 { .. }) { 2 } else { 1 };
    ensure(cleaned.removed.len() == hierarchies, || {
        format!("{:?}", cleaned.removed)
    })?;
    ensure(cleaned.removed.iter().all(|path| !path.exists()), || {
        "still there".to_owned()
    })
}

/// The program that the fake `systemd-run` runs: what `scenario` does with what the search says.
fn as_program() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let root = std::env::var_os("HOST_TEST_ROOT").unwrap_or_default();
    let options = Options {
        paths: Paths::below(root),
        ..Options::here()
    };
    match Host::detect(&options) {
        Ok(Detected::Rerun(mut rerun)) => {
            eprintln!("{}", rerun.why);
            eprintln!("exec: {}", rerun.command.exec());
            ExitCode::from(1)
        }
        Ok(Detected::Host(host)) => {
            eprintln!("{}", host.no_base.map_or_else(|| "found".to_owned(), |e| e.to_string()));
            ExitCode::from(3)
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(1)
        }
    }
}

fn rerun_once() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().map_err(text)?;
    let root = dir.path();
    for sub in ["bin", "proc/self", "run/systemd/system", "cg"] {
        std::fs::create_dir_all(root.join(sub)).map_err(text)?;
    }
    let mounts = format!("1 1 0:1 / {} rw - cgroup2 none rw\n", root.join("cg").display());
    let fake = format!(
        "#!/bin/sh\necho \"$@\" >>{}\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
        root.join("noted").display()
    );
    for (name, content) in [
        ("proc/self/mountinfo", mounts.as_str()),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/status", "CapEff:\t0\n"),
        ("bin/systemd-run", fake.as_str()),
    ] {
        std::fs::write(root.join(name), content).map_err(text)?;
    }
    std::fs::set_permissions(root.join("bin/systemd-run"), std::fs::Permissions::from_mode(0o755)).map_err(text)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new(std::env::current_exe().map_err(text)?)
        .arg("forkbomb")
        .env("HOST_TEST_PROGRAM", "1")
        .env("HOST_TEST_ROOT", root)
        .env("PATH", format!("{}:{path}", root.join("bin").display()))
        .env_remove(rerun::GUARD)
        .output()
        .map_err(text)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let noted = std::fs::read_to_string(root.join("noted")).map_err(text)?;
    ensure(output.status.code() == Some(3), || format!("{}: {said}", output.status))?;
    ensure(
        said.contains("runs itself again") && said.contains(rerun::GUARD),
        || said.clone(),
    )?;
    let lines: Vec<_> = noted.lines().collect();
    ensure(
        lines.len() == 2 && lines[0].ends_with("-- true") && lines[1].ends_with(" forkbomb"),
        || noted.clone(),
    )
}
