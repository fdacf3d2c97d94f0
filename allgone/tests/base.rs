//! A base on the running kernel. If none can be had, that is asserted: the error says what was
//! tried and what would help.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the whole file is a test"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use allgone::Base;
use allgone::base::name::{Owner, OwnerId};
use allgone::base::{PREFIX, Refusal};
use allgone::cgroup::remove_when_empty;
use allgone::sys::privilege::{Credentials, become_user};

use support::base;

/// What a search must leave as it was.
fn own_state() -> (Vec<String>, Vec<String>) {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    // Others on this machine may make and destroy named hierarchies meanwhile.
    let cgroups = cgroups.lines().filter(|line| !line.contains("name="));
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let signals = status.lines().filter(|line| {
        ["SigBlk", "SigIgn", "SigCgt"]
            .iter()
            .any(|s| line.starts_with(s))
    });
    (
        cgroups.map(str::to_owned).collect(),
        signals.map(str::to_owned).collect(),
    )
}

#[test]
fn what_is_made_has_a_name_of_its_own_that_says_whose_it_is() {
    let before = own_state();
    let Some(base) = base() else { return };
    assert_eq!(before, own_state(), "the caller is as it was");
    let mut made: Vec<_> = (0..3).map(|_| base.create().unwrap()).collect();
    let another = Base::at(base.cgroup().path()).unwrap();
    made.push(another.create().unwrap());
    let mut names = BTreeSet::new();
    for job in made {
        let name = job.path().file_name().unwrap().to_str().unwrap().to_owned();
        let owner = OwnerId::parse(&name, PREFIX).unwrap();
        assert_eq!(owner, OwnerId::own().unwrap());
        assert_eq!(owner.owner(), Owner::Alive);
        assert!(names.insert(name));
        remove_when_empty(job).unwrap();
    }
    assert!(another.close().is_empty());
    assert!(base.close().is_empty());
}

#[test]
fn what_is_no_cgroup_is_refused_with_the_reason() {
    let error = Base::at("/tmp").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/tmp is not in a cgroup v2 hierarchy"),
        "{error}"
    );
    let error = Base::at("/nowhere").unwrap_err();
    assert!(error.to_string().contains("ENOENT"), "{error}");
    assert!(error.to_string().contains("help: "), "{error}");
}

/// Whether this process is the one in which `test` runs: with mounts of its own, after `script` has
/// been run. Any other starts that process, and is content if it is.
fn in_mounts_of_its_own(test: &str, script: &str) -> bool {
    const MARK: &str = "ALLGONE_TEST_IN_MOUNTS_OF_ITS_OWN";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("ignored: only root makes a mount namespace");
        return false;
    }
    let of_each = "while read -r _ at kind _; do [ \"$kind\" = cgroup2 ] || continue";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!(
            "{of_each}; {script}; done </proc/self/mounts; exec \"$@\""
        ))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    false
}

#[test]
fn without_cgroup_v2_the_search_says_so_and_what_would_help() {
    let name = "without_cgroup_v2_the_search_says_so_and_what_would_help";
    if !in_mounts_of_its_own(name, "umount -l \"$at\"") {
        return;
    }
    let none = Base::find().unwrap_err();
    let text = none.to_string();
    assert!(text.contains("no cgroup v2 hierarchy is mounted"), "{text}");
    assert!(text.contains("help: "), "{text}");
}

#[test]
fn a_read_only_hierarchy_is_no_base_and_the_search_says_why() {
    let name = "a_read_only_hierarchy_is_no_base_and_the_search_says_why";
    if !in_mounts_of_its_own(name, "mount -o remount,bind,ro \"$at\"") {
        return;
    }
    let none = Base::find().unwrap_err();
    let read_only = |why: &Refusal| matches!(why, Refusal::ReadOnly(_));
    assert!(none.attempts.iter().all(|a| read_only(&a.why)), "{none}");
    assert!(none.to_string().contains("help: "), "{none}");
}

#[test]
fn without_delegation_the_search_says_what_was_refused_and_what_would_help() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("ignored: only root becomes another user");
    }
    // Another user, in this thread alone, to whom nothing has been delegated.
    let other = Credentials {
        uid: 61_234,
        gid: 61_234,
    };
    let search = move || {
        become_user(other).unwrap();
        Base::find().unwrap_err()
    };
    let none = std::thread::spawn(search).join().unwrap();
    let refused = |why: &Refusal| why.errno() == Some(nix::errno::Errno::EACCES);
    assert!(none.attempts.iter().any(|a| refused(&a.why)), "{none}");
    let text = none.to_string();
    assert!(text.contains("as root"), "{text}");
}
