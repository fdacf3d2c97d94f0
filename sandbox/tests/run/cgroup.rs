//! The tier that has a cgroup and nothing else. Where none may be made it says so.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

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
