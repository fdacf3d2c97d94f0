//! What a warm cgroup costs at the moment of launch: both variants of `prepopulated-cgroup` against
//! a plain `clone3` into the cgroup.
//!
//! From the decision to launch to the workload's exec. The warm-up lies before that, and in the
//! second variant the clone as well.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use benches::trials::{reference, spec};
use benches::{Frame, Group, workload};
use criterion::Criterion;
use harness::detect::{self, AnyDetector, DetectError};
use harness::sys::time::now;
use harness::sys::wait::{Whose, waitid};
use harness::trial::{Root, Site, SpawnPlan, Workload};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitPidFlag;

/// The detector that keeps cgroups warm.
const WARM: &str = "prepopulated-cgroup";
/// Its axis that says which process keeps them so.
const PLACEHOLDER_EXECS: &str = "placeholder-execs";

fn main() -> ExitCode {
    benches::main(&Group {
        name: "launch",
        anywhere: |_| (),
        in_cgroup,
    })
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    let workload = workload::exiting().expect("/proc is mounted");
    let seq = frame.next_seq();
    let site = frame.site(&spec(
        seq,
        workload::exiting().expect("/proc is mounted"),
        reference(),
        None,
    ));
    criterion.bench_function("launch/plain clone3 into a cgroup", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| plain(&site, &workload)).sum());
    });
    let detector = detect::by_id(WARM).expect("it is registered");
    if !frame.offers(detector) {
        return;
    }
    for (execs, name) in [
        (0, "another process kept it warm"),
        (1, "the process itself waited before exec"),
    ] {
        let seq = frame.next_seq();
        let mut spec = spec(
            seq,
            workload::exiting().expect("/proc is mounted"),
            detector,
            None,
        );
        let axis = detector
            .spec()
            .axes
            .iter()
            .find(|axis| axis.name == PLACEHOLDER_EXECS);
        spec.params
            .set(axis.expect("the detector has this axis"), execs);
        let site = frame.site(&spec);
        let launch = || warm(detector, &site, &workload, execs == 1);
        if let Err(e) = launch() {
            frame.leave_out(name, e);
            continue;
        }
        criterion.bench_function(&format!("launch/{WARM}, {name}"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| launch().expect("it worked before"))
                    .sum()
            });
        });
    }
}

fn plain(site: &Site, workload: &Workload) -> Duration {
    let plan = SpawnPlan::new(site, workload).expect("the ledger is shared");
    let begun = now();
    let root = plan.spawn().expect("one more process can be started");
    until_exec(&root);
    let launched = now();
    until_end(&root);
    launched.since(begun)
}

fn warm(
    detector: AnyDetector,
    site: &Site,
    workload: &Workload,
    ahead: bool,
) -> Result<Duration, DetectError> {
    let mut plan = SpawnPlan::new(site, workload)?;
    let mut armed = detector.arm(&site.set(), &mut plan.options)?;
    let begun = now();
    let root = plan.spawn().expect("one more process can be started");
    armed.attach(&root)?;
    let attached = now();
    until_exec(&root);
    let launched = now();
    until_end(&root);
    // A process that has waited in the cgroup is launched when its gate is opened, which the
    // detector measures itself.
    let opened = Duration::from_nanos(armed.finish().prepare_ns);
    Ok(if ahead {
        opened + launched.since(attached)
    } else {
        launched.since(begun)
    })
}

fn until_exec(root: &Root) {
    let mut fds = [PollFd::new(root.exec_signal(), PollFlags::POLLIN)];
    while poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
    assert!(
        matches!(root.failure(), Ok(None)),
        "the workload did not come to its exec"
    );
}

fn until_end(root: &Root) {
    let end =
        waitid(Whose::Pidfd(root.pidfd.as_fd()), WaitPidFlag::WEXITED).expect("it is a child");
    assert!(
        end.is_some_and(|change| change.ended()),
        "waitid waits for the end"
    );
}
