//! What the launcher does before the program runs, and has open while it does.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use allgone::sys::pidfd;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Whose, allgone, binary};

#[test]
fn a_stream_that_is_closed_is_an_empty_one() {
    let binary = binary();
    for stream in ["0", "1", "2"] {
        for tier in ["--bare", "--tier=traced"] {
            // Nor is it what the launcher opens first.
            let program = format!("exec 8>&{stream}; readlink /proc/self/fd/8 >&9");
            let closed = format!("exec \"$0\" run {tier} -- sh -c '{program}' 9>&1 {stream}>&-");
            let mut command = Command::new("sh");
            command.arg("-c").arg(closed).arg(binary.path());
            let output = command.stderr(Stdio::inherit()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said, "/dev/null\n", "{stream} {tier}");
        }
    }
}

#[test]
fn what_is_written_for_a_reader_that_is_gone_is_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let binary = binary();
    let mut command = Command::new(binary.path());
    let output = command.arg("man").stdout(writer).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("could not write the answer"), "{said}");
    assert_eq!(output.status.code(), Some(125), "{said}");
}

/// The mount namespaces that a process has open.
fn mount_namespaces(of: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{of}/fd")).unwrap();
    let links = entries.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    let links = links.map(|link| link.display().to_string());
    links.filter(|link| link.starts_with("mnt:")).collect()
}

#[test]
fn the_launcher_keeps_the_mounts_until_the_end_is_known() {
    if !nix::unistd::geteuid().is_root() {
        // Init may not be looked into by its user.
        return;
    }
    let this = pidfd::open(Pid::this()).unwrap();
    let known = match pidfd::mount_namespace(this.as_fd()) {
        Ok(_) => true,
        Err(Errno::ENOTTY) => false,
        Err(e) => panic!("{e}"),
    };
    for (options, mounts) in [(&[][..], true), (&["--closed"], true), (&["--bare"], false)] {
        let args = [options, &["--events", "2", "--", "sleep", "1000"]].concat();
        let mut run = allgone(Whose::Own, &args);
        let mut launcher = run.command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut events = BufReader::new(launcher.stderr.take().unwrap());
        events.read_line(&mut line).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "started", "{line}");
        let init = event["init"].as_u64().unwrap();
        let own = std::fs::read_link(format!("/proc/{init}/ns/mnt")).unwrap();
        let expected = Vec::from_iter((mounts && known).then(|| own.display().to_string()));
        assert_eq!(mount_namespaces(launcher.id()), expected, "{options:?}");
        let number = Pid::from_raw(i32::try_from(launcher.id()).unwrap());
        kill(number, Signal::SIGTERM).unwrap();
        launcher.wait().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{init}")).exists());
    }
}

#[test]
fn no_signal_is_kept_from_the_program() {
    let mut run = allgone(Whose::Own, &["--events", "2", "--", "sleep", "1000"]);
    let mut launcher = run.command.stderr(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(launcher.stderr.take().unwrap());
    events.read_line(&mut String::new()).unwrap();
    // What the launcher takes in: all but SIGKILL and SIGSTOP. A C library's own set of all signals
    // lacks two or three of them, and a program has the first of these from posix_spawn(3) ignored.
    let infos = std::fs::read_dir(format!("/proc/{}/fdinfo", launcher.id())).unwrap();
    let infos = infos.map(|info| std::fs::read_to_string(info.unwrap().path()).unwrap());
    let masks = infos.filter_map(|info| Some(info.split_once("sigmask:")?.1.trim().to_owned()));
    assert_eq!(Vec::from_iter(masks), ["fffffffffffbfeff"]);
    let number = libc::SIGRTMIN();
    let script = format!("kill -{number} {}", launcher.id());
    let sent = Command::new("bash").args(["-c", &script]).status().unwrap();
    assert!(sent.success());
    assert_eq!(launcher.wait().unwrap().signal(), Some(number));
    run.nothing_left();
}
