//! The tier that has a cgroup and nothing else. Where none may be made it says so.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use allgone::sys::sched;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::init_of;
use crate::ends::HOSTILE;
use crate::support::{Whose, allgone, cgroups, code, errors, has, within};

const TIER: [&str; 2] = ["--tier", "cgroup"];

/// Whether this user may make a cgroup; if not, the refusal has to say so.
fn available() -> bool {
    let output = allgone(
        Whose::Own,
        &[&TIER[..], &["--", "sh", "-c", "exit 3"]].concat(),
    )
    .output();
    match code(&output) {
        3 => true,
        125 => {
            assert!(errors(&output).contains("cgroup"), "{}", errors(&output));
            false
        }
        other => panic!("{other}: {}", errors(&output)),
    }
}

#[test]
fn hostile_programs_end_at_the_deadline_of_the_cgroup_tier() {
    if !has("cgroup2-write", available()) {
        return;
    }
    for (name, script) in HOSTILE {
        let options = [
            &TIER[..],
            &["-t", "300ms", "--report", "2", "--", "sh", "-c", script],
        ];
        let output = allgone(Whose::Own, &options.concat()).output();
        let said = errors(&output);
        assert_eq!(code(&output), 124, "{name}: {said}");
        let report: serde_json::Value =
            serde_json::from_str(&said[said.find("{\n").unwrap()..]).unwrap();
        assert_eq!(report["tier"], "cgroup");
        assert_eq!(report["proof"]["removed"], true, "{name}: {report}");
    }
}

#[test]
fn it_waits_for_all_or_kills_what_main_left() {
    if !has("cgroup2-write", available()) {
        return;
    }
    let script = "(setsid sh -c 'sleep 0.2; echo late' &) ; echo main; exit 3";
    for (wait, expected) in [("all", "main\nlate\n"), ("main", "main\n")] {
        let options = [&TIER[..], &["--wait", wait, "--", "sh", "-c", script]].concat();
        let output = allgone(Whose::Own, &options).output();
        assert_eq!(code(&output), 3);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn launcher_or_init_is_killed_and_nothing_stays() {
    if !has("cgroup2-write", available()) {
        return;
    }
    let script = "trap '' TERM; (setsid sh -c 'sleep 1000 & sleep 1000' &); \
                  sleep 1000 & kill -STOP $!; sleep 1000";
    for of_init in [true, false] {
        let options = [&TIER[..], &["--", "sh", "-c", script]].concat();
        let mut run = allgone(Whose::Own, &options);
        run.command.stdin(Stdio::null());
        let mut child = run.command.spawn().unwrap();
        assert!(within(Duration::from_secs(5), || run.alive().len() > 5));
        let launcher = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let killed = if of_init {
            init_of(&child).unwrap()
        } else {
            launcher
        };
        kill(killed, Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        run.nothing_left();
        let number = child.id();
        let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
        assert!(removed, "{:?}", cgroups(number));
        assert_eq!(cgroups(number), Vec::<PathBuf>::new());
    }
}

/// The session of a process.
fn session(pid: Pid) -> Option<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = text.rsplit_once(')')?.1.split_whitespace();
    fields.into_iter().nth(3)?.parse().ok().map(Pid::from_raw)
}

/// Its slice, where the kernel has such and tells of them (Linux 6.12, `CONFIG_SCHED_DEBUG`).
fn slice_ns(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/sched")).ok()?;
    let line = text.lines().find(|line| line.starts_with("se.slice"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// Launcher and init run soon after what wakes them: the one that may in a session of its own, and
/// both in short slices. What the program has is as it was.
#[test]
fn a_busy_program_does_not_keep_init_from_the_processor() {
    if !has("cgroup2-write", available()) {
        return;
    }
    // A test that fails leaves it, and without a pipe of the test's.
    let options = [&TIER[..], &["-t", "60s", "--", "sleep", "60"]].concat();
    let mut run = allgone(Whose::Own, &options);
    let command = run.command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = run.command.spawn().unwrap();
    let launcher = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let own = |pid: &Pid| session(*pid) == Some(*pid);
    let has_own = within(Duration::from_secs(10), || {
        init_of(&child).is_some_and(|init| own(&init))
    });
    assert!(has_own, "init has no session of its own");
    let init = init_of(&child).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    let main = Pid::from_raw(children.trim().parse().unwrap());
    let this = Pid::this();
    assert_eq!(session(main), session(this));
    assert_eq!(session(launcher), session(this));
    // Where a kernel has no slices, or does not tell, there is nothing to compare.
    let of_this = slice_ns(this);
    let shortest = of_this.map(|_| sched::SHORTEST_SLICE_NS);
    for pid in [launcher, init] {
        let short = within(Duration::from_secs(10), || slice_ns(pid) == shortest);
        assert!(short, "{pid}: {:?}", slice_ns(pid));
    }
    assert_eq!(slice_ns(main), of_this);
    kill(launcher, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    run.nothing_left();
}
