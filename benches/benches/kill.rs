//! Kill by strategy and size: sleepers that do not resist, from the moment when the strategy begins
//! to act to `populated 0`.
//!
//! The end is looked for every 200 us, which is the resolution of these figures. A strategy that
//! leaves something alive here has no figure.

use std::process::ExitCode;

use benches::trials::{act_to_unpopulated, in_words, reference, repeat, spec};
use benches::{Frame, Group, workload};
use criterion::Criterion;
use harness::kill::{AnyStrategy, STRATEGIES};
use harness::record::TrialRecord;

/// Children of the main process.
const SIZES: [usize; 2] = [4, 48];

fn main() -> ExitCode {
    benches::main(&Group {
        name: "kill",
        anywhere: |_| (),
        in_cgroup,
    })
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    if !frame.offers(reference()) {
        return;
    }
    for strategy in STRATEGIES {
        let id = strategy.spec().id;
        if !frame.offers_kill(*strategy) {
            continue;
        }
        let first = play(frame, *strategy, SIZES[0]);
        if act_to_unpopulated(&first).is_none() {
            frame.leave_out(id, in_words(&first));
            continue;
        }
        for size in SIZES {
            let name = format!("kill/{id}/{size}");
            criterion.bench_function(&name, |bencher| {
                repeat(
                    bencher,
                    frame,
                    &name,
                    &mut |frame| play(frame, *strategy, size),
                    act_to_unpopulated,
                );
            });
        }
    }
}

fn play(frame: &mut Frame<'_>, strategy: AnyStrategy, size: usize) -> TrialRecord {
    let workload = workload::sleepers(size).expect("/proc is mounted");
    let seq = frame.next_seq();
    frame.trial(&spec(seq, workload, reference(), Some(strategy)))
}
