//! What the machine refuses: namespaces, tracing, cgroups, /proc, room on a disk. Each way either
//! works by another mechanism, silently, or gives one line and code 125; nothing is left.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use nix::libc;

use crate::container::{namespaces_refused, refuse};
use crate::support::{Whose, allgone, binary, code, errors, users};

/// A program that says by its code that it has run.
const RAN: [&str; 4] = ["--", "sh", "-c", "(setsid sleep 1000 &); exit 4"];

/// Runs it under filters that only the thread has, and all that it starts.
fn under(filters: impl FnOnce() + Send, whose: Whose, options: &[&str]) -> Output {
    let options = [options, &["--wait", "main"], &RAN[..]].concat();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            filters();
            allgone(whose, &options).output()
        });
        run.join().unwrap()
    })
}

fn no_ptrace() {
    refuse([(libc::SYS_ptrace, Vec::new())].into(), libc::EPERM);
}

fn no_clone3() {
    refuse([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS);
}

/// clone(2) with any namespace, and clone3(2), whose flags a filter cannot read.
fn no_namespaces() {
    let clone = BTreeMap::from([(libc::SYS_clone, namespaces_refused())]);
    refuse(clone, libc::EPERM);
    no_clone3();
}

fn works(output: &Output, what: &str) {
    let told = (code(output), errors(output));
    assert_eq!(told, (4, String::new()), "{what}");
}

fn is_refused(output: &Output, words: &[&str], what: &str) {
    let said = errors(output);
    assert_eq!(code(output), 125, "{what}: {said}");
    assert_eq!(said.lines().count(), 1, "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word} in {said}");
    }
}

#[test]
fn clone3_is_refused_and_clone_does() {
    for &whose in users() {
        for options in [&[][..], &["--bare"], &["--tier", "traced"]] {
            let what = format!("{whose:?} {options:?}");
            works(&under(no_clone3, whose, options), &what);
        }
    }
}

#[test]
fn namespaces_are_refused() {
    for &whose in users() {
        works(&under(no_namespaces, whose, &[]), "another tier");
        for option in ["--require", "--tier"] {
            let output = under(no_namespaces, whose, &[option, "namespace"]);
            is_refused(&output, &["EPERM"], option);
        }
    }
}

#[test]
fn ptrace_is_refused() {
    for &whose in users() {
        works(&under(no_ptrace, whose, &[]), "another tier");
        let output = under(no_ptrace, whose, &["--tier", "traced"]);
        is_refused(&output, &["ptrace", "EPERM"], "--tier traced");
    }
}

#[test]
fn everything_is_refused() {
    // Without root there is no cgroup either.
    let whose = *users().last().unwrap();
    let all = || {
        no_ptrace();
        no_namespaces();
    };
    let output = under(all, whose, &[]);
    is_refused(&output, &["namespace", "ptrace", "cgroup"], "all tiers");
}

/// In a mount namespace of its own, in which `script` has changed something, as root or as what
/// looks like root to itself.
fn in_mounts(script: &str, options: &[&str]) -> Output {
    let binary = binary();
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!("({script}) >&2 || exit 99; exec \"$0\" run \"$@\""))
        .arg(binary.path())
        .args(options)
        .args(["--wait", "main"])
        .args(RAN)
        .stdin(Stdio::null());
    command.output().unwrap()
}

const NO_CGROUPS: &str =
    "umount -l -a -t cgroup,cgroup2; ! grep -qE ' cgroup2? ' /proc/self/mounts";
const NO_PROC: &str = "umount -l /proc; [ ! -e /proc/self ]";

#[test]
fn there_is_no_cgroup() {
    works(&in_mounts(NO_CGROUPS, &[]), "namespace alone");
    for options in [&["--tier", "cgroup"][..], &["--pids", "5"], &["--cpu", "1"]] {
        let output = in_mounts(NO_CGROUPS, options);
        is_refused(&output, &["cgroup"], options[0]);
    }
}

#[test]
fn there_is_no_proc() {
    // The run of its own has one again.
    works(&in_mounts(NO_PROC, &[]), "default");
    works(&in_mounts(NO_PROC, &["--bare"]), "bare");
    works(&in_mounts(NO_PROC, &["--tier", "traced"]), "traced");
    let output = in_mounts(NO_PROC, &["--tier", "cgroup"]);
    is_refused(&output, &["cgroup"], "where one would be is not known");
}

#[test]
fn the_disk_is_full_when_the_report_is_written() {
    let full = "mount -t tmpfs -o size=16k none /mnt && touch /mnt/report && \
                ! head -c 1M /dev/zero > /mnt/rest";
    let output = in_mounts(full, &["--report", "/mnt/report"]);
    let said = errors(&output);
    assert_eq!(code(&output), 125, "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.contains("/mnt/report") && last.contains("No space"),
        "{said}"
    );
}

#[test]
fn options_that_contradict_each_other_run_nothing() {
    for options in [
        &["--require", "namespace", "--tier", "traced"][..],
        &["--require", "namespace", "--best-effort"],
        &["--grace", "1s"],
        &["--timeout", "0"],
        &["--tier", "traced", "--pids", "5"],
    ] {
        let output = allgone(Whose::Own, &[options, &RAN[..]].concat()).output();
        is_refused(&output, &["--"], options[0]);
    }
}
