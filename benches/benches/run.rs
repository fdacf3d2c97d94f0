//! Whole undisturbed runs for each detector: a workload that exits at once, from just before its
//! spawn to the verdict.
//!
//! It is a mean of a latency, and no substitute for `scenario measure`: it shows which detector is
//! much slower, but not how long the tail is.

use std::process::ExitCode;

use benches::trials::{in_words, repeat, spawn_to_verdict, spec};
use benches::{Frame, Group, workload};
use criterion::Criterion;
use harness::detect::{AnyDetector, DETECTORS};
use harness::record::TrialRecord;

fn main() -> ExitCode {
    benches::main(&Group {
        name: "run",
        anywhere: |_| (),
        in_cgroup,
    })
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    for detector in DETECTORS {
        let id = detector.spec().id;
        if !frame.offers(*detector) {
            continue;
        }
        let first = play(frame, *detector);
        if spawn_to_verdict(&first).is_none() {
            frame.leave_out(id, in_words(&first));
            continue;
        }
        let name = format!("run/{id}");
        criterion.bench_function(&name, |bencher| {
            repeat(
                bencher,
                frame,
                &name,
                &mut |frame| play(frame, *detector),
                spawn_to_verdict,
            );
        });
    }
}

fn play(frame: &mut Frame<'_>, detector: AnyDetector) -> TrialRecord {
    let workload = workload::exiting().expect("/proc is mounted");
    let seq = frame.next_seq();
    frame.trial(&spec(seq, workload, detector, None))
}
