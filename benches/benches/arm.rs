//! The cost of arming and disarming each detector, before there is a workload: what a supervisor
//! pays for each job.
//!
//! `prepopulated-cgroup` keeps its cgroup populated for 25 ms meanwhile. A pool does that in
//! advance.

use std::process::ExitCode;

use benches::trials::spec;
use benches::{Frame, Group, workload};
use criterion::Criterion;
use harness::detect::{AnyDetector, Counters, DETECTORS, DetectError};
use harness::trial::{Site, SpawnPlan, Workload};

fn main() -> ExitCode {
    benches::main(&Group {
        name: "arm",
        anywhere: |_| (),
        in_cgroup,
    })
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    let workload = workload::exiting().expect("/proc is mounted");
    for detector in DETECTORS {
        let id = detector.spec().id;
        if !frame.offers(*detector) {
            continue;
        }
        let seq = frame.next_seq();
        let own = workload::exiting().expect("/proc is mounted");
        let site = frame.site(&spec(seq, own, *detector, None));
        if let Err(e) = arm(*detector, &site, &workload) {
            frame.leave_out(id, e);
            continue;
        }
        criterion.bench_function(&format!("arm/{id}"), |bencher| {
            bencher.iter(|| arm(*detector, &site, &workload).expect("it worked before"));
        });
    }
}

fn arm(detector: AnyDetector, site: &Site, workload: &Workload) -> Result<Counters, DetectError> {
    let mut plan = SpawnPlan::new(site, workload)?;
    Ok(detector.arm(&site.set(), &mut plan.options)?.finish())
}
