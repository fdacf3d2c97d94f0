//! How long an actor takes from the start of its spawn to its exit stamp and to its end, when its
//! script is empty.
//!
//! `cargo run --release --example actor_startup -- 500` prints median, 99th percentile and maximum.
//! Without cgroup, limits and detector.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement by hand: what fails ends it"
)]

use std::fs::File;
use std::os::fd::AsFd;

use harness::sys::ledger::Ledger;
use harness::sys::spawn;
use harness::sys::time::now;
use harness::trial::Workload;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use scenarios::Script;

fn main() {
    scenarios::actor::main_if_actor();
    let count: usize = std::env::args().nth(1).map_or(500, |n| n.parse().unwrap());
    let (mut stamped, mut ended) = (Vec::new(), Vec::new());
    let workload = scenarios::workload(&Script::new(vec![vec![]]).unwrap()).unwrap();
    for _ in 0..count {
        let (stamp, end) = once(&workload);
        stamped.push(stamp);
        ended.push(end);
    }
    println!("n = {count}, microseconds from the start of the spawn to");
    report("exit stamp", stamped);
    report("end seen by the parent", ended);
}

fn once(workload: &Workload) -> (u64, u64) {
    let ledger = Ledger::create().unwrap();
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let inherit = [
        (null.as_fd(), 0),
        (null.as_fd(), 1),
        (null.as_fd(), 2),
        (workload.input.as_fd(), Workload::INPUT_FD),
        (ledger.memfd().unwrap(), Workload::LEDGER_FD),
    ];
    let plan = spawn::Plan {
        envp: &workload.envp,
        inherit: &inherit,
        ..spawn::Plan::new(workload.exe.as_fd(), &workload.argv)
    };
    let start = now();
    let spawned = spawn::spawn(&plan).unwrap();
    waitid(Id::PIDFd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap();
    let end = now();
    let stamp = ledger.sums().last_exit.unwrap();
    let microseconds = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap();
    (
        microseconds(stamp.since(start)),
        microseconds(end.since(start)),
    )
}

fn report(what: &str, mut samples: Vec<u64>) {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    println!(
        "{what:24} median {:6}  p99 {:6}  max {:6}",
        at(50),
        at(99),
        at(100)
    );
}
