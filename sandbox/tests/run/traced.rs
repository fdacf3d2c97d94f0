//! The tier that needs neither namespace nor cgroup: init traces all that is started.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::{init_of, moments};
use crate::support::{Marked, Whose, allgone, binary, code, errors, users, within};

/// Each process makes the next one, in a session of its own, and ends.
pub(crate) const HOP: &str = "setsid sh -c \"$HOP\" & sleep 0.01";
/// Thirty of them, and one that says so.
pub(crate) const HOPPERS: &str = "i=0; while [ $i -lt 30 ]; do sh -c \"$HOP\" & i=$((i+1)); done; \
                       echo hop; sleep 1000";

/// As many processes as a limit allows, each of which makes more. It is for bash.
pub(crate) const BOMB: &str = "ulimit -u 300; f() { f | f & }; f; while :; do f; done";

fn traced(whose: Whose, args: &[&str]) -> Marked {
    allgone(whose, &[&["--tier", "traced"], args].concat())
}

fn script(text: &str) -> (i32, String) {
    let output = traced(Whose::Own, &["-t", "30s", "--", "bash", "-c", text]).output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (code(&output), said)
}

fn as_elsewhere(text: &str) {
    let output = allgone(
        Whose::Own,
        &["--bare", "-t", "30s", "--", "bash", "-c", text],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(script(text), (code(&output), said), "{text}");
}

#[test]
fn the_end_is_proved_and_the_price_is_told() {
    for &whose in users() {
        let text = "(setsid sleep 0.1 &); (setsid sleep 0.2 &); exit 7";
        let output = traced(whose, &["--report", "2", "--", "sh", "-c", text]).output();
        assert_eq!(code(&output), 7);
        let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(report["tier"], "traced");
        assert_eq!(report["proof"]["proved"], true);
        assert_eq!(report["proof"]["tracees"], 0);
        assert!(
            report["tracing"]["births"].as_u64().unwrap() >= 4,
            "{report}"
        );
        assert!(
            report["tracing"]["stops"].as_u64().unwrap() >= 8,
            "{report}"
        );
        assert!(!report["lacks"].as_array().unwrap().is_empty());
    }
}

#[test]
fn children_from_before_do_not_keep_it() {
    let binary = binary();
    let mut shell = Command::new("sh")
        .args([
            "-c",
            "sleep 1000 & echo $!; exec \"$0\" run --tier traced -- true",
        ])
        .arg(binary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut number = String::new();
    let out = shell.stdout.take().unwrap();
    let mut out = std::io::BufReader::new(out);
    std::io::BufRead::read_line(&mut out, &mut number).unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(0));
    kill(
        Pid::from_raw(number.trim().parse().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
}

#[test]
fn signals_and_stops_are_as_without_a_tracer() {
    for text in [
        "trap 'echo usr1' USR1; trap 'echo rt' RTMIN+3; kill -USR1 $$; kill -RTMIN+3 $$; exit 4",
        "kill -RTMIN+5 $$",
        "sh -c 'kill -SEGV $$'; echo $?; kill -PIPE $$",
        // A shell with job control sees its child stop and go on.
        // It may be told of the stop once more before it is told that its child goes on.
        "set -m; sh -c 'kill -STOP $$; exit 4' & wait $!; echo $?; kill -CONT $!; \
         while wait $!; [ $? = 147 ]; do :; done; wait $!; echo $?",
        "set -m; sleep 1000 & kill -TSTP $!; wait $!; jobs | grep -c Stopped; kill -KILL $!",
        // What ignores SIGCHLD has no children to wait for.
        "trap '' CHLD; sh -c 'exit 3'; echo $?",
        "coproc cat; echo through >&${COPROC[1]}; read line <&${COPROC[0]}; echo $line",
    ] {
        as_elsewhere(text);
    }
}

/// A program of many threads, one of which executes another program; before that it starts one as
/// posix_spawn(3) does, with memory that is shared until exec.
#[test]
#[ignore = "it is what the test below runs"]
fn threads_of_which_one_executes() {
    assert!(Command::new("true").status().unwrap().success());
    for _ in 0..8 {
        std::thread::spawn(|| sleep_until(now() + Duration::from_secs(1_000)));
    }
    let thread = std::thread::spawn(|| Command::new("sh").args(["-c", "exit 6"]).exec());
    panic!("{:?}", thread.join());
}

#[test]
fn threads_may_execute() {
    let this = std::env::current_exe().unwrap();
    let name = "traced::threads_of_which_one_executes";
    let args = [
        "-t",
        "30s",
        "--",
        this.to_str().unwrap(),
        "--exact",
        name,
        "--ignored",
    ];
    for _ in 0..5 {
        let mut run = traced(Whose::Own, &args);
        run.command.stdout(Stdio::null());
        assert_eq!(run.code(), 6);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn nothing_can_be_born_out_of_the_trace() {
    let clone = "my $z = \"\\0\" x 88; \
                 print syscall(56, 0x800000|17, 0, 0, 0, 0), \" $!\\n\"; \
                 print syscall(435, $z, 88), \" $!\\n\"; \
                 print syscall(101, 0, 0, 0, 0), \" $!\\n\";";
    let output = traced(Whose::Own, &["--", "perl", "-e", clone]).output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "-1 Operation not permitted",
            "-1 Function not implemented",
            // PTRACE_TRACEME: it is traced already.
            "-1 Operation not permitted"
        ]
    );
    // Nor can a run within a run be traced by its own.
    let binary = binary();
    let inner = ["--", binary.path(), "run", "--tier", "traced", "true"];
    let output = traced(Whose::Own, &inner).output();
    assert_eq!(code(&output), 125);
    assert_eq!(errors(&output).lines().count(), 1, "{}", errors(&output));
    assert!(errors(&output).contains("ptrace"), "{}", errors(&output));
}

#[test]
fn a_bomb_ends_at_the_deadline() {
    // The limit counts what its user has; a test that is not root cannot give it another one.
    let whose = *users().last().unwrap();
    let mut run = traced(whose, &["-t", "500ms", "--", "bash", "-c", BOMB]);
    run.command.stderr(Stdio::null());
    let mut child = run.command.spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert_eq!(run.alive(), Vec::<String>::new(), "when it returns");
}

/// Hoppers, once they hop.
fn hoppers(whose: Whose) -> (Marked, std::process::Child) {
    let mut run = traced(whose, &["--", "sh", "-c", HOPPERS]);
    run.command
        .env("HOP", HOP)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = run.command.spawn().unwrap();
    child
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut [0; 4])
        .unwrap();
    (run, child)
}

/// Twenty looks find nothing: one could miss a process that is between two others.
fn none_hops(run: &Marked) {
    run.nothing_left();
    for _ in 0..20 {
        assert_eq!(run.alive(), Vec::<String>::new());
    }
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn hoppers_die_with_launcher_tracer_or_both() {
    for at in 0..moments() {
        for &whose in users() {
            let (run, mut child) = hoppers(whose);
            let (launcher, tracer) = (pid(&child), init_of(&child).unwrap());
            sleep_until(now() + Duration::from_micros(700) * at).unwrap();
            match at % 4 {
                0 => kill(launcher, Signal::SIGKILL).unwrap(),
                1 => kill(tracer, Signal::SIGKILL).unwrap(),
                2 => {
                    kill(tracer, Signal::SIGKILL).unwrap();
                    kill(launcher, Signal::SIGKILL).unwrap();
                }
                _ => {
                    kill(tracer, Signal::SIGSTOP).unwrap();
                    kill(launcher, Signal::SIGKILL).unwrap();
                }
            }
            child.wait().unwrap();
            if at % 4 == 1 {
                assert_eq!(
                    run.alive(),
                    Vec::<String>::new(),
                    "the launcher reaped all of it"
                );
            }
            none_hops(&run);
        }
    }
}

#[test]
fn hoppers_end_at_the_deadline() {
    for &whose in users() {
        let mut run = traced(whose, &["-t", "300ms", "--", "sh", "-c", HOPPERS]);
        run.command.env("HOP", HOP).stdout(Stdio::null());
        let mut child = run.command.spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(124));
        assert_eq!(run.alive(), Vec::<String>::new(), "when it returns");
        none_hops(&run);
    }
}

#[test]
fn a_stopped_tracer_does_not_extend_the_deadline() {
    let mut run = traced(Whose::Own, &["-t", "500ms", "--", "sleep", "1000"]);
    let mut child = run.command.spawn().unwrap();
    assert!(within(Duration::from_secs(5), || run.alive().len() > 2));
    kill(init_of(&child).unwrap(), Signal::SIGSTOP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    run.nothing_left();
}
