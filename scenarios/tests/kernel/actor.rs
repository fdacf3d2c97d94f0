//! Scripts played with real processes, without a harness: actors do what their script says.
//!
//! Each test reaps all processes that become its children, and leaves none behind.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::record::Outcome;
use harness::sys::alloc::{FORBIDDEN, Guarded};
use harness::sys::spawn::exit_now;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use proptest::test_runner::{TestCaseError, TestRunner};
use scenarios::actor::{self, NO_LEDGER, NO_SCRIPT, REFUSED};
use scenarios::script::model;
use scenarios::script::{Bounds, FOREVER, Op, Script};

use super::common::{Test, base, ensure, play, reference, spec};
use super::needs::{CGROUP2_WRITE, MOUNT};
use super::stage::{Ends, Tree, renamed};
use super::support::{Scripts, config};

/// Actors must not allocate once they play: in this program, doing so ends them with [`FORBIDDEN`].
#[global_allocator]
static ALLOCATOR: Guarded = Guarded::new(|| actor::playing() || SEALED.load(Ordering::Relaxed));
static SEALED: AtomicBool = AtomicBool::new(false);

/// `argv[0]` of a process that allocates where it must not, to test the check itself.
const ALLOCATES: &CStr = c"allocates";

/// Becomes such a process if it was started as one.
pub(crate) fn main_if_allocating() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name.as_bytes() == ALLOCATES.to_bytes())
    {
        SEALED.store(true, Ordering::Relaxed);
        drop(std::hint::black_box(Box::new(0u8)));
        exit_now(0);
    }
}

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let all: [(&str, fn()); 10] = [
        ("one_process_lives_and_ends", one_process_lives_and_ends),
        (
            "random_trees_are_as_the_model_has_them",
            random_trees_are_as_the_model_has_them,
        ),
        (
            "a_daemon_outlives_those_who_made_it",
            a_daemon_outlives_those_who_made_it,
        ),
        (
            "sessions_and_groups_are_as_the_model_has_them",
            sessions_and_groups_are_as_the_model_has_them,
        ),
        (
            "who_ignores_signals_dies_of_sigkill_alone",
            who_ignores_signals_dies_of_sigkill_alone,
        ),
        (
            "a_process_lives_without_its_leader",
            a_process_lives_without_its_leader,
        ),
        (
            "one_that_forks_and_exits_has_ever_new_numbers",
            one_that_forks_and_exits_has_ever_new_numbers,
        ),
        (
            "what_the_kernel_refuses_is_not_played_on",
            what_the_kernel_refuses_is_not_played_on,
        ),
        (
            "an_actor_without_script_or_ledger_says_so",
            an_actor_without_script_or_ledger_says_so,
        ),
        (
            "the_guard_against_allocation_bites",
            the_guard_against_allocation_bites,
        ),
    ];
    let test = |(name, needs, body): (&str, &[_], fn())| {
        Test::new(format!("actor::{name}"), needs, move || {
            body();
            Ok(())
        })
    };
    let everywhere = all.into_iter().map(|(name, body)| test((name, &[], body)));
    let cgroups = [
        test((
            "who_enters_a_cgroup_of_its_own_stays_in_the_subtree",
            &[CGROUP2_WRITE],
            enter_cgroup,
        )),
        Test::new(
            "actor::a_cgroup_can_be_made_in_a_delegated_site",
            &[CGROUP2_WRITE],
            delegated_cgroup,
        ),
    ];
    let alone = test((
        "an_actor_needs_no_proc_and_no_descriptor",
        &[MOUNT],
        without_proc,
    ));
    everywhere.chain(cgroups).chain([alone]).collect()
}

fn tree(blocks: Vec<Vec<Op>>) -> Tree {
    Tree::play(
        &scenarios::workload(&Script::new(blocks).unwrap()).unwrap(),
        None,
    )
}

fn fork(block: usize) -> Op {
    Op::Fork { block, count: 1 }
}

fn all_exited(ends: &Ends, count: usize) -> bool {
    ends.len() == count
        && ends
            .iter()
            .all(|end| matches!(end, WaitStatus::Exited(_, 0)))
}

fn one_process_lives_and_ends() {
    let mut tree = tree(vec![vec![Op::Ready, Op::Live { ns: 0 }]]);
    tree.wait_ready();
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    let sums = tree.ledger.sums();
    assert_eq!((sums.births, sums.deaths, sums.refused), (1, 1, 0));
    let entries: Vec<_> = tree.ledger.entries().collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].pid, tree.main.as_raw());
    assert_eq!(entries[0].exit, sums.last_exit);
}

fn random_trees_are_as_the_model_has_them() {
    let mut runner = TestRunner::new(config(32, "tests/regressions/actor.txt"));
    let play = |script: Script| {
        let expected = model::play(&script, usize::MAX).births();
        let mut tree = Tree::play(&scenarios::workload(&script).unwrap(), None);
        let ends = tree.ends();
        let sums = tree.ledger.sums();
        let seen = (
            sums.births as usize,
            sums.deaths as usize,
            sums.refused,
            tree.ledger.entries().count(),
        );
        if seen == (expected, expected, 0, expected) && all_exited(&ends, expected) {
            return Ok(());
        }
        Err(TestCaseError::fail(format!(
            "the model has {expected} processes; ledger {seen:?}, reaped {ends:?}"
        )))
    };
    if let Err(error) = runner.run(&Scripts(Bounds::default()), play) {
        panic!("{error}");
    }
}

fn a_daemon_outlives_those_who_made_it() {
    // The older ones take longer, so that only a process that waits for them ends last.
    let linger = Op::Live { ns: 3_000_000 };
    let mut tree = tree(vec![
        vec![fork(1), linger],
        vec![Op::Setsid, fork(2), Op::AwaitParent, linger],
        vec![Op::CloseAll, Op::AwaitParent, Op::Ready],
    ]);
    assert!(all_exited(&tree.ends(), 3));
    // In the order of births: the main process, the one in between, the daemon.
    let exits: Vec<_> = tree.ledger.entries().map(|e| e.exit.unwrap()).collect();
    assert!(exits.is_sorted(), "{exits:?}");
    assert_eq!(
        tree.ledger.entries().next().unwrap().pid,
        tree.main.as_raw()
    );
}

/// Of a process: whether it leads its session, whether it leads its group, whether it is in the
/// main process's session, in its group, and whether it holds a descriptor.
type Traits = (bool, bool, bool, bool, bool);

fn sessions_and_groups_are_as_the_model_has_them() {
    let all = Op::Barrier { index: 0, count: 7 };
    let stay = Op::Live { ns: FOREVER };
    // Seven: the main process, 1, 2, twice 3, 4 below 1, and 5 below 4, which shows what is
    // inherited twice.
    let script = Script::new(vec![
        vec![
            fork(1),
            fork(2),
            Op::Fork { block: 3, count: 2 },
            all,
            Op::Ready,
            stay,
        ],
        vec![Op::Setsid, fork(4), all, stay],
        vec![Op::Setpgid, all, stay],
        vec![Op::CloseAll, all, stay],
        vec![Op::Setpgid, fork(5), Op::CloseAll, all, stay],
        vec![all, stay],
    ])
    .unwrap();
    let table = model::play(&script, 64).when_ready().unwrap().0;
    let main = table[0];
    let mut expected: Vec<Traits> = table
        .iter()
        .enumerate()
        .map(|(pid, p)| {
            (
                p.session == pid,
                p.group == pid,
                p.session == main.session,
                p.group == main.group,
                p.holds,
            )
        })
        .collect();

    let mut tree = Tree::play(&scenarios::workload(&script).unwrap(), None);
    tree.wait_ready();
    let mut seen: Vec<Traits> = tree
        .ledger
        .entries()
        .map(|entry| traits(entry.pid, tree.main.as_raw()))
        .collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(tree.killed().len(), 7);
}

/// From `/proc/PID/stat` (fields 5 and 6) and `/proc/PID/fd`.
fn traits(pid: i32, main: i32) -> Traits {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .skip(2)
        .map(|f| f.parse::<i32>().unwrap());
    let (group, session) = (fields.next().unwrap(), fields.next().unwrap());
    let holds = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
        > 0;
    (
        session == pid,
        group == pid,
        session == main,
        group == main,
        holds,
    )
}

fn who_ignores_signals_dies_of_sigkill_alone() {
    let mut tree = tree(vec![vec![
        Op::IgnoreSignals,
        Op::Ready,
        Op::Live { ns: FOREVER },
    ]]);
    tree.wait_ready();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
    ] {
        nix::sys::signal::kill(tree.main, signal).unwrap();
    }
    // Ignored signals are dropped as they are sent, so nothing is pending that could still kill it.
    assert_eq!(
        tree.killed(),
        [WaitStatus::Signaled(tree.main, Signal::SIGKILL, false)]
    );
    let sums = tree.ledger.sums();
    assert_eq!(
        (sums.births, sums.deaths),
        (1, 0),
        "a killed process leaves no stamp"
    );
}

fn a_process_lives_without_its_leader() {
    let mut tree = tree(vec![
        vec![Op::ExitLeader, fork(1), Op::Ready, Op::Live { ns: FOREVER }],
        vec![Op::ExitLeader, Op::Live { ns: 0 }],
    ]);
    tree.wait_ready();
    let pid = tree.main;
    let threads = || {
        std::fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .count()
    };
    // Leader and child may still be exiting; they need no other process for that.
    let enough = harness::sys::time::now() + std::time::Duration::from_secs(20);
    let state = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    while !state().contains(") Z ") || tree.ledger.sums().deaths == 0 {
        assert!(
            !enough.has_passed(),
            "leader {}, ledger {:?}",
            state(),
            tree.ledger.sums()
        );
    }
    assert_eq!(threads(), 2, "a dead leader and a living thread");
    let ends = tree.killed();
    assert!(
        ends.contains(&WaitStatus::Signaled(pid, Signal::SIGKILL, false)),
        "{ends:?}"
    );
    assert_eq!(ends.len(), 2);
    assert_eq!(tree.ledger.sums().deaths, 1, "the child left by itself");
}

fn one_that_forks_and_exits_has_ever_new_numbers() {
    let mut tree = tree(vec![vec![fork(1)], vec![Op::ForkExitLoop]]);
    let enough = harness::sys::time::now() + std::time::Duration::from_secs(20);
    while tree.ledger.sums().deaths < 20 && !enough.has_passed() {}
    // Its pid changes too fast for a signal, so it is stopped by a group signal.
    nix::sys::signal::killpg(tree.main, Signal::SIGKILL).unwrap();
    let ends = tree.ends();
    assert!(tree.ledger.sums().deaths >= 20, "{:?}", tree.ledger.sums());
    let killed = ends
        .iter()
        .filter(|end| matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)))
        .count();
    // The last and, on a busy machine, its parent and grandparent, which are still exiting. All
    // others have ended by themselves.
    assert!(killed >= 1, "nobody was hit: {ends:?}");
    let left = ends
        .iter()
        .filter(|end| matches!(end, WaitStatus::Exited(_, 0)))
        .count();
    assert_eq!(killed + left, ends.len(), "{ends:?}");
}

fn what_the_kernel_refuses_is_not_played_on() {
    // Not checked on purpose: a session leader asks for a session.
    let script = Script {
        blocks: vec![vec![Op::Setsid, Op::Live { ns: FOREVER }]],
    };
    let mut tree = Tree::play(&scenarios::workload(&script).unwrap(), None);
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, REFUSED)]);
    assert_eq!(
        tree.ledger.sums().deaths,
        1,
        "its exit is stamped all the same"
    );
}

fn an_actor_without_script_or_ledger_says_so() {
    let mut workload = scenarios::workload(&Script::new(vec![vec![]]).unwrap()).unwrap();
    let mut tree = Tree::play_without_ledger(&workload);
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, NO_LEDGER)]);
    workload.input = std::fs::File::open("/dev/null").unwrap().into();
    let mut tree = Tree::play(&workload, None);
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, NO_SCRIPT)]);
    assert_eq!(tree.ledger.sums().births, 0);
}

fn without_proc() {
    // Found by its name, a program has that name as its argv[0].
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    std::os::unix::fs::symlink(exe, dir.path().join("actor")).unwrap();
    let script = "main: fork a x2; barrier 0 of 3; a: setsid; barrier 0 of 3; ready; live 1ms";
    let steps = "mount -t tmpfs none /proc && ! test -e /proc/self && exec 0<&- 1<&- 2<&- && \
        PATH=$1 exec actor --ready-file \"$1/ready\" --deadline 20s \"$2\"";
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", steps, "sh"])
        .arg(dir.path())
        .arg(script)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    // The main process does not wait for the others to end, but they are past the barrier.
    let enough = harness::sys::time::now() + std::time::Duration::from_secs(20);
    let ready = dir.path().join("ready");
    while std::fs::read(&ready).unwrap_or_default() != b"READY\n" {
        assert!(!enough.has_passed(), "never ready");
    }
}

fn the_guard_against_allocation_bites() {
    let mut tree = Tree::play(&renamed(ALLOCATES), None);
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, FORBIDDEN)]);
}

fn enter_cgroup() {
    let name = harness::host::run_name().unwrap() + ".enter";
    let cgroup = base().cgroup().create(&name).unwrap();
    let blocks = vec![
        vec![fork(1), Op::Live { ns: FOREVER }],
        vec![
            Op::EnterCgroup,
            Op::EnterCgroup,
            Op::Ready,
            Op::Live { ns: FOREVER },
        ],
    ];
    let workload = scenarios::workload(&Script::new(blocks).unwrap()).unwrap();
    let mut tree = Tree::play(&workload, Some(cgroup.as_fd()));
    tree.wait_ready();
    let child = tree.ledger.entries().last().unwrap().pid;
    let deepest = cgroup
        .child(&child.to_string())
        .unwrap()
        .child(&child.to_string())
        .unwrap();
    assert_eq!(cgroup.procs().unwrap().pids, [tree.main.as_raw()]);
    assert_eq!(deepest.procs().unwrap().pids, [child]);
    assert_eq!(cgroup.procs_recursive().unwrap().pids.len(), 2);
    cgroup.kill().unwrap();
    assert_eq!(tree.ends().len(), 2);
    cgroup.remove_tree().map_err(|(_, e)| e).unwrap();
}

fn delegated_cgroup() -> Result<(), String> {
    let mut spec = spec(scenarios::by_id("fork-exit").unwrap(), reference(), None);
    // An orphan two levels down. If it could not make its cgroup, it would end, and the main
    // process would wait at the barrier for ever.
    let script = Script::new(vec![
        vec![fork(1), Op::Barrier { index: 0, count: 2 }],
        vec![
            Op::EnterCgroup,
            Op::EnterCgroup,
            Op::Barrier { index: 0, count: 2 },
            Op::AwaitParent,
            Op::Live { ns: 50_000_000 },
        ],
    ]);
    spec.workload = scenarios::workload(&script.unwrap()).unwrap();
    spec.stage.delegated = true;
    let record = play(&spec)?;
    ensure(record.outcome == Outcome::Right && record.held, || {
        format!("{record:?}")
    })
}
