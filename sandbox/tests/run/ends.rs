//! How runs end: by themselves, at limits, by signals; with hostile programs.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use allgone::layout::{Layout, Paths};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Whose, allgone, cgroups, code, has, named, users, within};

#[test]
fn the_exit_status_is_the_programs() {
    for &whose in users() {
        for tier in TIERS {
            let run = |script| allgone(whose, &[tier, &["--", "sh", "-c", script]].concat());
            assert_eq!(run("exit 0").code(), 0);
            assert_eq!(run("exit 7").code(), 7);
            assert_eq!(run("kill -KILL $$").code(), 137);
            assert_eq!(run("kill -TERM $$").code(), 143);
        }
    }
}

/// The ways in which a program is run.
const TIERS: [&[&str]; 3] = [&[], &["--bare"], &["--tier", "traced"]];

#[test]
fn streams_pass_through_and_nothing_is_printed() {
    let mut run = allgone(Whose::Own, &["--", "sh", "-c", "cat; echo err >&2"]);
    run.command.stdin(Stdio::piped());
    run.command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.stdout, output.stderr),
        (b"through".to_vec(), b"err\n".to_vec())
    );
}

const GRACE: [&str; 2] = ["--grace", "100ms"];

/// Each leaves its main process behind, or resists.
pub(crate) const HOSTILE: [(&str, &str); 6] = [
    (
        "daemon",
        "(setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &)",
    ),
    (
        "double fork",
        "sh -c 'sh -c \"sleep 1000 & exec sleep 1000\" & exit'; exit",
    ),
    (
        "ignores signals",
        "trap '' TERM INT HUP QUIT; while :; do sleep 0.01; done",
    ),
    ("stopped", "sleep 1000 & kill -STOP $!; kill -STOP $$"),
    (
        "holds the pipe",
        "(setsid sleep 1000 &) ; exec >/dev/null; sleep 1000",
    ),
    (
        "forks and forks",
        "n=0; while [ $n -lt 60 ]; do sleep 1000 & n=$((n+1)); done; wait",
    ),
];

#[test]
fn hostile_programs_end_at_the_deadline() {
    for &whose in users() {
        for (name, script) in HOSTILE {
            for (tier, grace) in [
                (TIERS[0], &[][..]),
                (TIERS[1], &GRACE),
                (TIERS[2], &[]),
                (TIERS[2], &GRACE),
            ] {
                let limit = &["-t", "300ms"][..];
                let options = [tier, limit, grace, &["--", "sh", "-c", script]].concat();
                let output = allgone(whose, &options).output();
                // The grace ends what does not resist, so that may even be a success.
                assert_eq!(
                    code(&output),
                    124,
                    "{name} {options:?} {whose:?}: {output:?}"
                );
            }
        }
    }
}

#[test]
fn all_are_waited_for_or_main_alone() {
    for tier in TIERS {
        let script = "(setsid sh -c 'sleep 0.2; echo late' &) ; echo main";
        let output = allgone(Whose::Own, &[tier, &["--", "sh", "-c", script]].concat()).output();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "main\nlate\n");
        let script = "(setsid sh -c 'sleep 5; echo late' &) ; echo main; exit 3";
        let main = &["--wait", "main", "--", "sh", "-c", script][..];
        let output = allgone(Whose::Own, &[tier, main].concat()).output();
        assert_eq!(code(&output), 3);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "main\n");
    }
}

#[test]
fn a_grace_lets_a_program_tidy_up() {
    let script = "trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    for tier in TIERS {
        let grace = &["-t", "300ms", "--grace", "5s", "--", "sh", "-c", script][..];
        let output = allgone(Whose::Own, &[tier, grace].concat()).output();
        assert_eq!(code(&output), 124);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "ready\ntidy\n");
    }
}

#[test]
fn a_signal_to_the_launcher_reaches_the_program() {
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    for tier in TIERS {
        let mut run = allgone(Whose::Own, &[tier, &["--", "sh", "-c", script]].concat());
        let mut child = run.command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        kill(pid(&child), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(5));
        run.nothing_left();
    }
}

#[test]
fn what_main_left_is_asked_to_end_and_then_made_to() {
    let script = "(trap '' TERM; setsid sh -c 'echo ready; exec sleep 1000' &) ";
    for tier in TIERS {
        let mut run = allgone(Whose::Own, &[tier, &["--", "sh", "-c", script]].concat());
        let mut child = run.command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ended = within(Duration::from_secs(10), || {
            kill(pid(&child), Signal::SIGTERM).unwrap();
            child.try_wait().unwrap().is_some()
        });
        assert!(ended, "{:?}", run.alive());
        run.nothing_left();
    }
}

#[test]
fn a_stopped_launcher_does_not_extend_the_deadline() {
    let mut run = allgone(
        Whose::Own,
        &["-t", "500ms", "--", "sh", "-c", "echo ready; sleep 1000"],
    );
    let mut child = run.command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 6]).unwrap();
    kill(pid(&child), Signal::SIGSTOP).unwrap();
    // Its copy of the pipe is the launcher's; the program's end is seen by what is alive.
    let sleeps = |alive: Vec<String>| alive.iter().any(|line| line.contains("sleep\u{0}1000"));
    assert!(
        within(Duration::from_secs(5), || !sleeps(run.alive())),
        "{:?}",
        run.alive()
    );
    kill(pid(&child), Signal::SIGCONT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    run.nothing_left();
}

#[test]
fn a_lease_ends_with_its_holder() {
    let (lease, holder) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut run = allgone(Whose::Own, &["--lease", "0", "--", "sleep", "1000"]);
    let mut child = run.command.stdin(lease).spawn().unwrap();
    assert!(within(Duration::from_secs(5), || run.alive().len() > 2));
    assert_eq!(child.try_wait().unwrap(), None);
    drop(holder);
    assert_eq!(child.wait().unwrap().code(), Some(124));
    run.nothing_left();
}

#[test]
fn processor_time_of_the_whole_tree_is_limited_or_refused() {
    // Some of it is used by processes that have ended by then.
    let script = "sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; \
                  while :; do :; done & while :; do :; done & wait";
    for tier in TIERS {
        let limits = &["--cpu-time", "200ms", "-t", "60s", "--report", "2"][..];
        let mut run = allgone(Whose::Own, &[tier, limits].concat());
        run.command.args(["--", "sh", "-c", script]);
        let output = run.output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match code(&output) {
            124 => assert!(said.contains("\"ended_by\": \"cpu-time\""), "{said}"),
            125 => assert!(said.contains("cgroup"), "{said}"),
            other => panic!("{other}: {said}"),
        }
    }
}

#[test]
fn no_cgroup_stays_after_a_run() {
    for script in ["true", "(setsid sleep 1000 &)"] {
        let mut run = allgone(Whose::Own, &["-t", "100ms", "--", "sh", "-c", script]);
        let mut child = run.command.spawn().unwrap();
        let number = child.id();
        child.wait().unwrap();
        assert_eq!(cgroups(number), Vec::<std::path::PathBuf>::new());
        run.nothing_left();
    }
}

/// What is left of a launcher that was killed with its init: another one removes it.
#[test]
fn a_later_run_removes_what_an_earlier_one_left() {
    let own = Layout::read(&Paths::default()).unwrap().own_v2();
    if !has("cgroup2-write", own.is_ok()) {
        return;
    }
    let own = own.unwrap();
    let alive = std::process::id();
    let [left, lives] = [
        own.join("allgone-2147483647-0"),
        own.join(format!("allgone-{alive}-0")),
    ];
    // Where none can be made, none is left.
    let made = std::fs::create_dir_all(left.join("a/b"));
    if !has("cgroup2-write", made.is_ok()) {
        return;
    }
    std::fs::create_dir(&lives).unwrap();
    assert_eq!(allgone(Whose::Own, &["--", "sleep", "0.5"]).code(), 0);
    let stays = lives.exists();
    std::fs::remove_dir(&lives).unwrap();
    assert!(!left.exists() && stays);
}

#[test]
fn called_as_timeout_it_is_timeout() {
    for (args, expected) in [
        (&["5", "true"][..], 0),
        (&["5", "sh", "-c", "exit 9"], 9),
        (&["0.1", "sleep", "9"], 124),
        (&["-s", "KILL", "0.1", "sleep", "9"], 137),
        (
            &[
                "-k",
                "0.1",
                "0.1",
                "sh",
                "-c",
                "trap '' TERM; while :; do sleep 0.01; done",
            ],
            137,
        ),
        (&["-p", "0.1", "sleep", "9"], 143),
        (&["5", "/nonexistent"], 127),
        (&["5", "/etc/passwd"], 126),
        (&["x", "true"], 125),
    ] {
        assert_eq!(
            named(Whose::Own, "timeout", args).code(),
            expected,
            "{args:?}"
        );
    }
}

/// A request to end that is passed on and not followed: as timeout(1) does, it kills after `-k`,
/// and without `-k` it waits.
#[test]
fn called_as_timeout_it_kills_what_ignores_a_request() {
    let deaf = "trap '' TERM INT; echo ready; while :; do sleep 0.01; done";
    let begin = |command: &mut std::process::Command| {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let args = ["-k", "0.1", "1000", "sh", "-c", deaf];
        let mut run = named(Whose::Own, "timeout", &args);
        let mut child = begin(&mut run.command);
        kill(pid(&child), signal).unwrap();
        // As timeout(1) itself ends then.
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{signal}: {status}");
        run.nothing_left();
    }
    let mut run = named(Whose::Own, "timeout", &["1", "sh", "-c", deaf]);
    let mut waits = begin(&mut run.command);
    kill(pid(&waits), Signal::SIGTERM).unwrap();
    assert!(!within(Duration::from_millis(500), || {
        waits.try_wait().unwrap().is_some()
    }));
    kill(pid(&waits), Signal::SIGKILL).unwrap();
    waits.wait().unwrap();
    run.nothing_left();
}

#[test]
fn events_tell_the_end_of_main_and_of_all() {
    let script = "(setsid sleep 0.1 &)";
    let mut run = allgone(Whose::Own, &["--events", "1", "--", "sh", "-c", script]);
    run.command.stderr(Stdio::inherit());
    let output = run.output();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["started", "main-ended", "all-ended"]);
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
