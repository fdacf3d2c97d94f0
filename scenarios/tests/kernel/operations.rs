//! Operations of scripts, played with real processes: what the kernel shows of each.

use std::fs;

use actor::text::Named;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use scenarios::script::{Script, model};

use super::common::Test;
use super::needs::PID_NAMESPACE;
use super::stage::Tree;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let all: [(&str, fn()); 12] = [
        ("an_end_has_its_code_or_its_signal", ends),
        ("a_child_can_be_one_of_the_parents_parent", beside),
        ("a_child_can_have_no_exit_signal", silent),
        ("a_parent_sleeps_until_its_vforked_child_has_ended", vfork),
        ("a_traced_child_has_its_parent_as_tracer", traced),
        ("children_are_reaped", reaped),
        ("orphans_come_to_the_subreaper", subreaper),
        ("a_process_is_stopped_and_let_go_on", stopped),
        ("threads_sleep_beside_the_one_that_plays", threads),
        ("memory_descriptors_name_and_nice_value_are_there", held),
        ("a_processor_is_used", spins),
        (
            "a_tree_has_as_many_processes_as_the_model",
            as_many_as_the_model,
        ),
    ];
    let test = |name: &str, needs: &[_], body: fn()| {
        Test::new(format!("operations::{name}"), needs, move || {
            body();
            Ok(())
        })
    };
    let namespace = test(
        "the_first_process_of_a_pid_namespace_takes_all_with_it",
        &[PID_NAMESPACE],
        namespace,
    );
    let all = all.into_iter().map(|(name, body)| test(name, &[], body));
    all.chain([namespace]).collect()
}

pub(super) fn script(text: &str) -> Script {
    match text.parse::<Named>() {
        Ok(named) => named.into_script(),
        Err(error) => panic!("{text}: {error}"),
    }
}

pub(super) fn tree(text: &str) -> Tree {
    Tree::play(&scenarios::workload(&script(text)).unwrap(), None)
}

/// A tree that says "ready", with the pids of its processes in the order of their births.
pub(super) fn ready(text: &str) -> (Tree, Vec<i32>) {
    let tree = tree(text);
    tree.wait_ready();
    let pids = tree.ledger.entries().map(|entry| entry.pid).collect();
    (tree, pids)
}

pub(super) fn killed(mut tree: Tree) {
    tree.killed();
}

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5), from the third on.
fn stat(pid: i32, field: usize) -> String {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap();
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split_whitespace().nth(field - 3).unwrap().to_owned()
}

/// A line of `/proc/PID/status`.
fn status(pid: i32, name: &str) -> String {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap();
    let status = String::from_utf8_lossy(&status);
    let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let (_, value) = lines.find(|(key, _)| *key == name).unwrap();
    value.trim().to_owned()
}

const STATE: usize = 3;
const PARENT: usize = 4;
const NICE: usize = 19;
const EXIT_SIGNAL: usize = 38;

fn ends() {
    let mut seven = tree("main: exit 7");
    assert_eq!(seven.ends(), [WaitStatus::Exited(seven.main, 7)]);
    assert_eq!(seven.ledger.sums().deaths, 1);
    // Whatever it did with signals before.
    let mut crash = tree("main: ignore-signals; crash");
    let ends = crash.ends();
    let [WaitStatus::Signaled(_, Signal::SIGSEGV, _)] = ends[..] else {
        panic!("{ends:?}");
    };
    assert_eq!(crash.ledger.sums().deaths, 1, "a crash is stamped before");
}

fn beside() {
    let (tree, pids) = ready(
        "main: fork a; barrier 0 of 3; live forever
         a: fork-parent b; barrier 0 of 3; live forever
         b: barrier 0 of 3; ready; live forever",
    );
    let parents: Vec<String> = pids.iter().map(|pid| stat(*pid, PARENT)).collect();
    assert_eq!(parents[1..], [pids[0].to_string(), pids[0].to_string()]);
    killed(tree);
}

fn silent() {
    let (tree, pids) = ready(
        "main: fork a; fork-silent b; barrier 0 of 3; ready; live forever
         a: barrier 0 of 3; live forever
         b: barrier 0 of 3; live forever",
    );
    let mut signals: Vec<String> = pids[1..]
        .iter()
        .map(|pid| stat(*pid, EXIT_SIGNAL))
        .collect();
    signals.sort();
    assert_eq!(signals, ["0", "17"]);
    killed(tree);
}

fn vfork() {
    let mut tree = tree("main: vfork a\na: live 5ms");
    assert_eq!(tree.ends().len(), 2);
    let exits: Vec<_> = tree.ledger.entries().map(|e| e.exit.unwrap()).collect();
    assert!(
        exits[1] < exits[0],
        "main {:?}, child {:?}",
        exits[0],
        exits[1]
    );
}

fn traced() {
    let (tree, pids) = ready(
        "main: trace a; barrier 0 of 2; live forever
         a: barrier 0 of 2; ready; live forever",
    );
    assert_eq!(status(pids[1], "TracerPid"), pids[0].to_string());
    killed(tree);
}

fn reaped() {
    let mut tree = tree("main: fork a x3; fork-silent a; reap\na: live 2ms");
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    assert_eq!(tree.ledger.sums().deaths, 5);
}

fn subreaper() {
    let (tree, pids) = ready(
        "main: subreaper; fork a; live forever
         a: fork b; live 1ms
         b: await-parent; ready; live forever",
    );
    assert_eq!(stat(pids[2], PARENT), pids[0].to_string());
    killed(tree);
}

fn stopped() {
    let (tree, pids) = ready("main: fork a; await-stopped; ready; live forever\na: stop");
    assert_eq!(stat(pids[1], STATE), "T");
    killed(tree);
    let mut tree = tree_that_goes_on();
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    assert_eq!(tree.ledger.sums().deaths, 2);
}

fn tree_that_goes_on() -> Tree {
    tree("main: fork a; await-stopped; continue; reap\na: ignore-signals; stop; live 1ms")
}

fn threads() {
    let (waiting, pids) = ready("main: threads 5; fork a; ready; live forever\na: live forever");
    let threads = fs::read_dir(format!("/proc/{}/task", pids[0])).unwrap();
    assert_eq!(threads.count(), 6);
    killed(waiting);
    // The process ends with all of them, and a copy has none of them.
    let mut tree = tree("main: threads 5; exit-leader; fork a; exit 3\na: live 1ms");
    let ends = tree.ends();
    assert!(ends.contains(&WaitStatus::Exited(tree.main, 3)), "{ends:?}");
    assert_eq!((ends.len(), tree.ledger.sums().deaths), (2, 2));
}

fn held() {
    let (tree, pids) = ready(
        "main: touch 20M; open-files 1500; rename \") R 1\\n\\xff\"; nice 7; ready; live forever",
    );
    let resident = status(pids[0], "VmRSS");
    let kilobytes: u64 = resident.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes >= 20 << 10, "{resident}");
    let files = fs::read_dir(format!("/proc/{}/fd", pids[0])).unwrap();
    assert!(files.count() >= 1500);
    let name = fs::read(format!("/proc/{}/comm", pids[0])).unwrap();
    assert_eq!(name, b") R 1\n\xff\n");
    assert_eq!(stat(pids[0], NICE), "7");
    killed(tree);
}

fn spins() {
    let mut tree = tree("main: spin 30ms");
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    let entry = tree.ledger.entries().next().unwrap();
    let lived = entry.exit.unwrap().since(entry.born);
    assert!(lived >= std::time::Duration::from_millis(30), "{lived:?}");
}

fn as_many_as_the_model() {
    for text in [
        "main: fork a x3; reap\na: vfork b; exit 1\nb: spin 1ms",
        "main: subreaper; fork a; reap\na: fork b\nb: await-parent; fork-parent c\nc: live 1ms",
        "main: fork a; await-stopped; continue
         a: threads 2; stop; await-parent; fork-silent b
         b:",
        "main: trace a; fork b\na: rename x; nice 3\nb: touch 1M; open-files 3; crash",
    ] {
        let script = script(text);
        let history = model::play(&script, 64);
        assert_eq!(history.ending, model::Ending::Over, "{text}");
        let mut tree = Tree::play(&scenarios::workload(&script).unwrap(), None);
        tree.ends();
        let sums = tree.ledger.sums();
        let seen = (sums.births as usize, sums.deaths as usize, sums.refused);
        let births = history.births();
        assert_eq!(seen, (births, births, 0), "{text}");
    }
}

fn namespace() {
    let text =
        "main: fork-pidns a; reap\na: fork b; barrier 0 of 2\nb: barrier 0 of 2; live forever";
    let mut tree = tree(text);
    assert_eq!(tree.ends(), [WaitStatus::Exited(tree.main, 0)]);
    let sums = tree.ledger.sums();
    assert_eq!((sums.births, sums.deaths), (3, 2), "the third was killed");
    let inner: Vec<i32> = tree.ledger.entries().map(|entry| entry.pid).collect();
    assert!(inner.contains(&1) && inner.contains(&2), "{inner:?}");
    let history = model::play(&script(text), 64);
    let over = (history.ending, history.births(), history.ends().count());
    assert_eq!(over, (model::Ending::Over, 3, 3));
}
