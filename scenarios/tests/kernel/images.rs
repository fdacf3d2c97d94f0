//! Operations of scripts that change what a process is (its program, its user), what the kernel
//! does for it, and what stays of it.

use std::fs;

use harness::sys::ipc::Kind;
use nix::sys::wait::WaitStatus;

use super::common::Test;
use super::needs::Need;
use super::operations::{killed, ready, tree};

/// A test: its name, what it needs, and what it does.
type Case = (&'static str, &'static [Need], fn());

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let all: [Case; 7] = [
        ("a_program_is_executed_again_and_goes_on", &[], execs),
        ("an_exec_may_begin_with_a_hash_bang", &[], by_script),
        ("a_thread_that_executes_becomes_the_first", &[], from_thread),
        (
            "an_exec_without_its_descriptors_is_refused",
            &[],
            without_descriptors,
        ),
        (
            "workers_of_the_kernel_are_threads_of_the_process",
            &["io-uring-unprivileged"],
            workers,
        ),
        (
            "objects_stay_when_their_maker_has_ended",
            &["kernel-objects"],
            objects,
        ),
        (
            "a_process_takes_a_realtime_priority",
            &["realtime"],
            realtime,
        ),
    ];
    let test = |(name, needs, body): Case| {
        Test::new(format!("images::{name}"), needs, move || {
            body();
            Ok(())
        })
    };
    all.into_iter().map(test).collect()
}

/// The arguments of a process.
fn arguments(pid: i32) -> Vec<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words = String::from_utf8(words).unwrap();
    words
        .split_terminator('\0')
        .map(ToOwned::to_owned)
        .collect()
}

fn execs() {
    // A child that goes on in the middle of its block, knows its parent, and is one row in the
    // ledger.
    let mut end = tree("main: fork a; exec 3\na: exec 2; await-parent; exit 5");
    let ends = end.ends();
    assert_eq!(ends.len(), 2);
    assert!(ends.contains(&WaitStatus::Exited(end.main, 0)), "{ends:?}");
    assert!(
        ends.iter()
            .any(|end| matches!(end, WaitStatus::Exited(_, 5)))
    );
    let sums = end.ledger.sums();
    assert_eq!((sums.births, sums.deaths, sums.refused), (2, 2, 0));
    assert_eq!(end.ledger.entries().count(), 2);
    assert!(end.ledger.entries().all(|entry| entry.exit.is_some()));
    // For ever is until killed.
    let (storm, _) = ready(
        "main: fork a x3; barrier 0 of 4; ready; exec forever
         a: barrier 0 of 4; exec forever",
    );
    killed(storm);
}

fn by_script() {
    // The last of an even number of execs is direct, that of an odd number is not.
    let (tree, pids) = ready("main: exec 1; ready; live forever");
    let words = arguments(pids[0]);
    assert_eq!(words[0], "actor", "{words:?}");
    let again = |words: &[String]| words.iter().any(|word| word.starts_with("--again="));
    assert!(again(&words), "{words:?}");
    killed(tree);
    let (tree, pids) = ready("main: exec 2; ready; live forever");
    assert!(again(&arguments(pids[0])));
    killed(tree);
    // One of two goes by way of the file, whose interpreter closes it.
    let (tree, pids) = ready("main: fork a; live forever\na: exec 40; ready; live forever");
    let files = fs::read_dir(format!("/proc/{}/fd", pids[1])).unwrap();
    let files = files.count();
    assert!(files < 12, "{files} descriptors after 40 execs");
    killed(tree);
}

fn from_thread() {
    let (tree, pids) = ready("main: exec-from-thread; ready; live forever");
    assert_eq!(pids, [tree.main.as_raw()]);
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", pids[0]))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(threads, [pids[0].to_string().as_str()]);
    let words = arguments(pids[0]);
    assert!(
        words.iter().any(|word| word.starts_with("--again=")),
        "{words:?}"
    );
    killed(tree);
}

fn without_descriptors() {
    for op in ["exec 1", "exec-from-thread"] {
        let mut tree = tree(&format!("main: close-all; {op}; live forever"));
        let refused = WaitStatus::Exited(tree.main, scenarios::actor::REFUSED);
        assert_eq!(tree.ends(), [refused], "{op}");
        assert_eq!(tree.ledger.sums().refused, 1, "{op}");
    }
    // It was given no set-user-ID file.
    let mut tree = tree("main: become-other");
    let refused = WaitStatus::Exited(tree.main, scenarios::actor::REFUSED);
    assert_eq!(tree.ends(), [refused]);
}

fn workers() {
    let (tree, pids) = ready("main: io-workers 5; ready; live forever");
    // The kernel starts one when the one before sleeps.
    let deadline = harness::sys::time::now() + std::time::Duration::from_secs(20);
    let count = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", pids[0])).unwrap();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
        tasks
            .filter_map(|task| name(task.unwrap()).ok())
            .filter(|name| name.starts_with("iou-wrk-"))
            .count()
    };
    while count() < 5 {
        assert!(!deadline.has_passed(), "{} workers", count());
    }
    killed(tree);
}

fn objects() {
    let mut tree = tree("main: leave-objects");
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    let tag = tree.ledger.tag();
    for kind in Kind::ALL {
        assert_eq!(kind.exists(tag), Ok(true), "{}", kind.name());
        assert_eq!(kind.remove(tag), Ok(true), "{}", kind.name());
        assert_eq!(kind.exists(tag), Ok(false), "{}", kind.name());
    }
}

/// The scheduling policy, field 41 of proc_pid_stat(5).
fn realtime() {
    let (tree, pids) = ready("main: realtime; ready; live forever");
    let stat = fs::read_to_string(format!("/proc/{}/stat", pids[0])).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let policy = fields.split_whitespace().nth(41 - 3).unwrap();
    assert_eq!(policy, nix::libc::SCHED_FIFO.to_string());
    killed(tree);
}
