//! The program `actor` by itself: arguments, "ready", deadlines, exit codes.
#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is a test module, and fails by panicking"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use actor::{NO_LEDGER, NO_READY, NO_SCRIPT, REFUSED};
use allgone_sys::time::now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take that is expected to happen.
const ENOUGH: Duration = Duration::from_secs(20);

const SIGKILL: i32 = Signal::SIGKILL as i32;

fn actor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actor"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    actor().args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An actor whose whole tree holds the write end of this pipe: its end is the end of all.
fn with_pipe(arguments: &[&str]) -> (Child, impl Read + use<>) {
    let child = actor().args(arguments).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let pipe = child.stdout.take().unwrap();
    (child, pipe)
}

/// Waits until the tree of an actor has ended.
fn until_end(mut pipe: impl Read) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_script_is_played_from_an_argument_a_file_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script");
    fs::write(&file, "main: fork a x3\na: live 1ms\n").unwrap();
    let file = file.to_str().unwrap();
    assert!(output(&["main: fork a x3; a: live 1ms"]).status.success());
    assert!(output(&["--file", file]).status.success());
    let mut command = actor();
    let mut child = command
        .args(["--file", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = fs::read(file).unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn ready_is_said_in_a_file_on_a_descriptor_and_where_the_environment_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready");
    // A daemon that has closed everything and stands in another directory than its file's name is
    // relative to.
    let daemon = "main: fork a; a: setsid; close-all; await-parent; ready";
    for by_environment in [false, true] {
        let mut command = actor();
        command.current_dir(dir.path()).arg(daemon);
        if by_environment {
            command.env("ACTOR_READY", "ready");
        } else {
            command.args(["--ready-file", "ready"]);
        }
        assert!(command.status().unwrap().success());
        let enough = now() + ENOUGH;
        while fs::read(&path).unwrap_or_default() != b"READY\n" {
            assert!(!enough.has_passed(), "never ready");
        }
        fs::remove_file(&path).unwrap();
    }
    // Two say it; it is written once.
    let said = output(&["--ready-fd=1", "main: fork a; ready; a: ready"]);
    assert_eq!(said.stdout, b"READY\n");
    // A process without descriptors cannot say it on one.
    let said = output(&["--ready-fd=1", "main: close-all; ready"]);
    assert_eq!((said.status.code(), said.stdout), (Some(REFUSED), vec![]));
}

#[test]
fn barriers_work_without_a_ledger_from_outside_and_nobody_waits_to_be_let_go() {
    let status = output(&["main: fork a x2; wait-go; barrier 0 of 3; a: barrier 0 of 3"]).status;
    assert!(status.success(), "{status}");
}

#[test]
fn every_process_keeps_the_deadline() {
    // They ignore signals, are in sessions of their own, are orphans, have lost their first thread.
    let (mut child, pipe) = with_pipe(&[
        "--deadline=300ms",
        "main: fork a x2; fork b; live forever
         a: setsid; ignore-signals; fork c; live forever
         b: exit-leader; fork d; live forever
         c: await-parent; live forever
         d: fork-exit-loop",
    ]);
    until_end(pipe);
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "{status}");
}

#[test]
fn a_stopped_process_keeps_the_deadline() {
    let (mut child, mut pipe) =
        with_pipe(&["--deadline=1s", "--ready-fd=1", "main: ready; live forever"]);
    pipe.read_exact(&mut [0; 6]).unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    until_end(pipe);
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
}

#[test]
fn a_deadline_that_has_passed_ends_the_tree_at_once_and_a_later_one_does_not() {
    assert_eq!(
        output(&["--deadline=0", "main: live 10s"]).status.signal(),
        Some(SIGKILL)
    );
    assert!(
        output(&["--deadline=60s", "main: live 20ms"])
            .status
            .success()
    );
    assert!(
        output(&["--deadline=forever", "main: live 1ms"])
            .status
            .success()
    );
}

#[test]
fn mistakes_have_an_exit_code_and_a_line() {
    for (arguments, code, part) in [
        (
            &["main:\n  jump"][..],
            NO_SCRIPT,
            "line 2, column 3: expected an operation",
        ),
        (&["main: fork main"], NO_SCRIPT, "main forks itself"),
        (
            &["--file", "/does/not/exist"],
            NO_SCRIPT,
            "could not read /does/not/exist",
        ),
        (
            &["--file", "/dev/zero"],
            NO_SCRIPT,
            "at most 65536 are read",
        ),
        (&["--script-fd=0"], NO_SCRIPT, "from descriptor 0"),
        (
            &["--ledger-fd=999", "main:"],
            NO_LEDGER,
            "on descriptor 999: EBADF",
        ),
        (
            &["--ledger-fd=0", "main:"],
            NO_LEDGER,
            "could not map the ledger",
        ),
        (
            &["--ready-fd=999", "main: ready"],
            NO_READY,
            "descriptor 999",
        ),
        (&[], 2, "no script is given"),
    ] {
        let output = output(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.starts_with("actor: ") && said.contains(part), "{said}");
    }
}

#[test]
fn a_script_that_is_no_utf8_is_refused_with_its_place() {
    let script = OsStr::from_bytes(b"main:\n\xff");
    let output = actor().arg(script).output().unwrap();
    assert!(stderr(&output).contains("line 2, column 1: expected UTF-8, found the byte 0xff"));
}

#[test]
fn a_script_is_printed_in_its_one_form() {
    let output = output(&["--print", "main:fork a x1;a:bomb   enter-cgroup # all"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "main:\n  fork a\na:\n  bomb enter-cgroup\n");
}

#[test]
fn the_page_about_scripts_is_true() {
    let page = include_str!("../../doc/scripts.md");
    for word in actor::text::WORDS {
        let usage = actor::text::usage(word).unwrap();
        let shown =
            page.contains(&format!("| `{usage}` |")) || page.contains(&format!("`{word}` |"));
        assert!(shown, "{usage} is not in the table of operations");
    }
    let examples: Vec<&str> = page
        .split("```script\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let status = output(&["--deadline=20s", example]).status;
        assert!(status.success(), "{example}: {status}");
    }
    assert!(page.contains("most 64 KiB") && actor::text::MAX_BYTES == 64 << 10);
}

#[test]
fn a_program_that_executes_itself_goes_on_wherever_its_script_came_from() {
    let script = "main: fork a; exec 3; exec-from-thread; ready; exit 4\na: exec 2; await-parent";
    let said = output(&["--ready-fd=1", script]);
    let code = said.status.code();
    assert_eq!((code, said.stdout.as_slice()), (Some(4), &b"READY\n"[..]));
    // The timer ends with an exec, and the deadline does not.
    let (mut child, pipe) = with_pipe(&["--deadline=300ms", "main: fork a x2\na: exec forever"]);
    child.wait().unwrap();
    until_end(pipe);
}

#[test]
fn a_byte_is_read_from_the_descriptor_that_was_given() {
    let mut command = actor();
    command.args(["--given-fd=0", "main: read-given; exit 9"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    // There is none, it has ended, and it is no set-user-ID program.
    for arguments in [
        &["main: read-given"][..],
        &["--given-fd=0", "main: read-given"],
        &["--given-fd=99", "main: read-given"],
        &["main: become-other"],
        &["--given-fd=0", "main: become-other"],
    ] {
        let refused = output(arguments).status.code();
        assert_eq!(refused, Some(REFUSED), "{arguments:?}");
    }
}
