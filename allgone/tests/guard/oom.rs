//! The kernel runs out of memory: what the OOM killer takes, and what it leaves.
//!
//! With `memory.oom.group` the kernel kills a whole cgroup, with all below it, at once. Whether the
//! guard is among that depends on where the base is, and on what the guard may.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use allgone::Base as JobBase;
use allgone::cgroup::Cgroup;
use allgone::job::Guarded;
use allgone::limits::LimitSource;
use nix::sys::signal::Signal;

use crate::Test;
use crate::base::{Base, PATIENCE, pid_of, until};
use crate::deaths::{ONE_SECOND, count, moment, second_of};

pub(crate) const TESTS: &[Test] = &[
    (
        "the_guard_is_spared_and_its_jobs_are_not",
        the_guard_is_spared_and_its_jobs_are_not,
    ),
    (
        "hosts_die_by_oom_beside_the_base",
        hosts_die_by_oom_beside_the_base,
    ),
    (
        "hosts_die_by_oom_and_only_their_cgroup_takes_the_guard",
        hosts_die_by_oom_and_only_their_cgroup_takes_the_guard,
    ),
    (
        "hosts_die_by_oom_with_the_base_below_them",
        hosts_die_by_oom_with_the_base_below_them,
    ),
    (
        "hosts_die_by_oom_with_a_guard_that_is_not_spared",
        hosts_die_by_oom_with_a_guard_that_is_not_spared,
    ),
];

/// What the lab's machines have and others may not.
pub(crate) fn lacks(test: &str) -> Option<&'static str> {
    if !test.starts_with("hosts_die_by_oom") {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("only root becomes another user");
    }
    let base = Base::must();
    let has = std::fs::read_to_string(base.path().join("cgroup.controllers"));
    let has = has.is_ok_and(|all| all.split_whitespace().any(|one| one == "memory"));
    (!has).then_some(
        "there is no memory controller of cgroup v2 here; a kernel that has it is booted by \
         `cargo lab test --no-selftests --suite guard -k KERNEL`",
    )
}

/// The memory that a host may have.
const LIMIT: &str = "50331648";

fn write(cgroup: &Cgroup, file: &str, text: &str) {
    std::fs::write(cgroup.path().join(file), text).unwrap();
}

fn score(pid: impl std::fmt::Display) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    text.trim().to_owned()
}

fn the_guard_is_spared_and_its_jobs_are_not() {
    let base = Base::must();
    let own = score("self");
    let cgroup = base.cgroup.try_clone().unwrap();
    let jobs = JobBase::given(cgroup, LimitSource::None, "test".to_owned());
    let guarded = Guarded::start(&jobs).unwrap();
    let mut command = allgone::Command::new("cat");
    command.arg("/proc/self/oom_score_adj");
    let deadline = allgone::sys::time::now() + PATIENCE;
    let (_, output) = command.output(&guarded, deadline).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), own);
    // The job was served, so the guard has tried.
    let guard = pid_of(guarded.guard());
    let second = until(PATIENCE, || second_of(guard)).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = u64::from_str_radix(capabilities.unwrap().trim(), 16).unwrap();
    // CAP_SYS_RESOURCE; that of another user namespace does not count.
    let may = capabilities & 1 << 24 != 0 && is_initial_namespace();
    let expected = if may { "-1000" } else { &own };
    assert_eq!((&*score(guard), &*score(second)), (expected, expected));
}

fn is_initial_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Where a host is and how, and where its base.
struct Place {
    /// The cgroup with the limit and `memory.oom.group`, for the host.
    limited: Cgroup,
    base: Cgroup,
}

/// A host in `place` as `user`, until it has run out of memory; whether its first job had been
/// started by then.
fn host_dies(place: &Place, user: u32) -> bool {
    write(&place.limited, "memory.max", LIMIT);
    write(&place.limited, "memory.oom.group", "1");
    let swap = place.limited.path().join("memory.swap.max");
    if swap.exists() {
        std::fs::write(swap, "0").unwrap();
    }
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .arg("host")
        .arg(place.base.path())
        .arg("oom")
        .arg(place.limited.path())
        .args([user.to_string(), moment(60_000).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    // Ends when the host is dead: its jobs have none of its streams.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{said}");
    let events = std::fs::read_to_string(place.limited.path().join("memory.events")).unwrap();
    let killed = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    // The host and what was in its cgroup beside it: a kill of one process is no such end.
    let killed: u32 = killed.unwrap().trim().parse().unwrap();
    assert!(killed >= 2, "{events}");
    said.contains("started")
}

/// Nothing lives below.
fn wait_dead(cgroup: &Cgroup) {
    let dead = || (!cgroup.events().unwrap().populated).then_some(());
    until(ONE_SECOND, dead)
        .unwrap_or_else(|| panic!("{:?} live", cgroup.procs_recursive().unwrap().pids));
}

/// One second later nothing lives, and no cgroup is left.
fn wait_clear(base: &Cgroup, had_jobs: bool) {
    wait_dead(base);
    let none = || (base.descendants().unwrap().count() == 0).then_some(());
    if until(ONE_SECOND, none).is_some() {
        return;
    }
    // Before its exec the guard shares the host's memory, and is killed with it.
    assert!(!had_jobs, "{:?}", left(base));
    remove_children(base);
}

fn left(base: &Cgroup) -> Vec<std::path::PathBuf> {
    let left = base.descendants().unwrap().flatten();
    left.map(|one| one.path().to_path_buf()).collect()
}

fn remove_children(base: &Cgroup) {
    for child in base.children().unwrap() {
        child.unwrap().remove_tree().unwrap();
    }
}

fn deaths() -> usize {
    count("GUARD_DEATHS", 30).div_ceil(4)
}

/// Beside: host and base have a cgroup each, so the guard is not below the host's.
fn beside(base_has_controllers: bool) {
    let mut with_jobs = 0;
    for _ in 0..deaths() {
        let top = Base::must();
        write(&top.cgroup, "cgroup.subtree_control", "+memory");
        let place = Place {
            limited: top.cgroup.create("host").unwrap(),
            base: top.cgroup.create("base").unwrap(),
        };
        if base_has_controllers {
            write(&place.base, "cgroup.subtree_control", "+memory");
        }
        let had_jobs = host_dies(&place, 0);
        wait_clear(&place.base, had_jobs);
        wait_dead(&place.limited);
        with_jobs += u32::from(had_jobs);
    }
    println!("{with_jobs} of {} hosts had jobs", deaths());
}

fn hosts_die_by_oom_beside_the_base() {
    beside(false);
}

/// The base takes no process, so in the end the guard leaves for the host's cgroup, which is empty
/// by then.
fn hosts_die_by_oom_and_only_their_cgroup_takes_the_guard() {
    beside(true);
}

/// Below: jobs die with the host, and the guard is spared.
fn hosts_die_by_oom_with_the_base_below_them() {
    for _ in 0..deaths() {
        let top = Base::must();
        let place = below(&top);
        let had_jobs = host_dies(&place, 0);
        wait_clear(&place.base, had_jobs);
    }
}

/// Below, and without `CAP_SYS_RESOURCE`: guard and second die with the host and all jobs. Nothing
/// lives, and what stays are cgroups without members.
fn hosts_die_by_oom_with_a_guard_that_is_not_spared() {
    const NOBODY: u32 = 65_534;
    let mut stayed = 0;
    for _ in 0..deaths() {
        let top = Base::must();
        let place = below(&top);
        for file in [".", "cgroup.procs", "cgroup.subtree_control"] {
            let path = place.base.path().join(file);
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        host_dies(&place, NOBODY);
        wait_dead(&place.base);
        stayed += left(&place.base).len();
        remove_children(&place.base);
    }
    assert!(stayed > 0, "the guard was to die, too");
}

fn below(top: &Base) -> Place {
    Place {
        limited: top.cgroup.try_clone().unwrap(),
        base: top.cgroup.try_clone().unwrap(),
    }
}
