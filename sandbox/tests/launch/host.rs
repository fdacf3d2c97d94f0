//! The host: nothing of it is touched, it may be killed at any moment, and so may what serves it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use allgone::sys::wait::{Whose, waitid};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use sandbox::launch::{LaunchError, Launcher, Program, Status};

use crate::support::{
    Test, alive, by_each_tier, ended, host, launcher, mark, nothing_left, own_cgroup, shell, soon,
    within,
};

pub(crate) const TESTS: &[Test] = &[
    ("host::nothing_of_it_is_touched", nothing_of_it_is_touched),
    ("host::from_many_threads", from_many_threads),
    ("host::it_is_killed", it_is_killed),
    (
        "host::the_launcher_of_a_run_is_killed",
        the_launcher_of_a_run_is_killed,
    ),
    (
        "host::the_parent_of_launchers_is_killed",
        the_parent_of_launchers_is_killed,
    ),
    ("host::the_launcher_is_dropped", the_launcher_is_dropped),
];

/// What the kernel says of this thread that a launcher could change.
fn state() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let of_it = [
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "NoNewPrivs",
        "Seccomp:",
        "Umask",
    ];
    let mut state: Vec<String> = status
        .lines()
        .filter(|line| of_it.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    let subreaper = nix::sys::prctl::get_child_subreaper().unwrap();
    let dumpable = nix::sys::prctl::get_dumpable().unwrap();
    let dir = std::env::current_dir().unwrap();
    state.push(format!("{subreaper} {dumpable} {dir:?}"));
    state
}

/// In a process of its own: other tests have children.
fn nothing_of_it_is_touched() {
    assert!(host("untouched").status().unwrap().success());
}

/// The life of a host with some threads, which looks at itself.
pub(crate) fn to_be_untouched() {
    let (keep, done) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || done.recv());
    let before = state();
    let none = |when| {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let any = waitid(Whose::Any, flags | WaitPidFlag::__WALL);
        assert_eq!(any, Err(Errno::ECHILD), "a child {when}");
    };
    none("before");
    let own = Launcher::start(&Program::This).unwrap();
    none("of the start");
    for launch in by_each_tier("(setsid sleep 0.1 &); exit 7") {
        let mut run = launch.spawn(&own).unwrap();
        none("of the spawn");
        run.started(soon()).unwrap();
        none("while it runs");
        assert_eq!(ended(run).status, Status::Exited(7));
        none("of the run");
    }
    drop(own);
    assert_eq!(state(), before);
    drop(keep);
    assert!(thread.join().unwrap().is_err());
}

fn from_many_threads() {
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|code| {
                scope.spawn(move || {
                    let run = shell(&format!("exit {code}")).spawn(launcher()).unwrap();
                    match ended(run).status {
                        Status::Exited(code) => i32::from(code),
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(codes, Vec::from_iter(0..16));
}

/// The life of a host that is killed: says the number of its launcher's init, and waits.
pub(crate) fn to_be_killed() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let launcher = Launcher::start(&Program::This).unwrap();
    let script = std::env::var("LAUNCH_SCRIPT").unwrap();
    let launches = by_each_tier(&script);
    let mut runs: Vec<_> = launches
        .iter()
        .map(|it| it.spawn(&launcher).unwrap())
        .collect();
    for run in &mut runs {
        run.started(soon()).unwrap().unwrap();
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    for mut run in runs {
        assert!(run.wait(soon()).unwrap().is_none());
    }
}

const PAYLOAD: &str = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000 & sleep 1000' &); \
                       sleep 1000 & kill -STOP $!; sleep 1000";

/// A cgroup of its own for a host, so that all that its runs make is in there; if one may be made.
fn cgroup_of(mark: &str) -> Option<PathBuf> {
    let cgroup = own_cgroup()?.join(format!("test-host-{mark}"));
    fs::create_dir(&cgroup).ok().map(|()| cgroup)
}

fn it_is_killed() {
    for at in 0..12 {
        let mark = mark();
        let cgroup = cgroup_of(&mark);
        let mut child = host("killed")
            .env("LAUNCH_SCRIPT", PAYLOAD)
            .env("ALLGONE_MARK", &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(cgroup) = &cgroup {
            fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        // It begins when this is closed.
        drop(child.stdin.take());
        if at < 4 {
            let mut line = String::new();
            let out = child.stdout.take().unwrap();
            BufReader::new(out).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            // The host, and for each tier three of the payload at least.
            assert!(within(Duration::from_secs(10), || alive(&mark).len() > 3));
        } else {
            // While it starts, which takes some tens of milliseconds.
            sleep_until(now() + Duration::from_millis(3) * (at - 3)).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_left(&mark);
        if let Some(cgroup) = cgroup {
            // Refused as long as there is a member, or a cgroup in it.
            let removed = within(Duration::from_secs(1), || fs::remove_dir(&cgroup).is_ok());
            assert!(removed, "{:?}", fs::read_dir(&cgroup).map(Vec::from_iter));
        }
    }
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    Pid::from_raw(rest.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn the_launcher_of_a_run_is_killed() {
    for launch in by_each_tier(PAYLOAD) {
        let mark = mark();
        let mut run = launch.env("ALLGONE_MARK", &mark).spawn(launcher()).unwrap();
        let init = run.started(soon()).unwrap().unwrap().init;
        kill(parent(init), Signal::SIGKILL).unwrap();
        let unknown = run.wait(soon()).unwrap_err();
        assert!(matches!(unknown, LaunchError::LauncherDied), "{unknown:?}");
        nothing_left(&mark);
    }
}

fn the_parent_of_launchers_is_killed() {
    let own = Launcher::start(&Program::This).unwrap();
    let mut runs: Vec<_> = by_each_tier("sleep 0.5; exit 9")
        .iter()
        .map(|launch| launch.spawn(&own).unwrap())
        .collect();
    let init = runs[0].started(soon()).unwrap().unwrap().init;
    kill(parent(parent(init).as_raw()), Signal::SIGKILL).unwrap();
    let mut died = [PollFd::new(own.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut died, 60_000u16), Ok(1));
    let refused = shell("true").spawn(&own).unwrap_err();
    assert!(matches!(refused, LaunchError::Died), "{refused:?}");
    for run in runs {
        assert_eq!(ended(run).status, Status::Exited(9));
    }
}

fn the_launcher_is_dropped() {
    let own = Launcher::start(&Program::This).unwrap();
    let run = shell("sleep 0.3; exit 3").spawn(&own).unwrap();
    drop(own);
    assert_eq!(ended(run).status, Status::Exited(3));
}
