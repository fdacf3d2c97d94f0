//! A base on the running kernel. If none can be had, that is asserted: the error says what was
//! tried and what would help.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod support;

use std::collections::BTreeSet;

use allgone::Base;
use allgone::base::PREFIX;
use allgone::base::name::{Owner, OwnerId};
use allgone::cgroup::remove_when_empty;

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
