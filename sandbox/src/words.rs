//! What `--verbose` and `--dry-run` print, on standard error. Names come from the user and from the
//! program, so they are escaped.
#![expect(
    clippy::print_stderr,
    reason = "these lines are asked for, and standard output is the program's"
)]

use allgone::sys::spawn::launch::{Launch, Need};
use allgone::sys::spawn::results::Results;

use crate::end::{Ending, Proof};
use crate::plan::Plan;

/// The steps, before any of them is made.
pub(crate) fn dry_run(plan: &Plan, launch: &Launch<'_>) {
    eprintln!("allgone: tier namespace: clone3({:#x})", plan.namespaces);
    if let Err(why) = &plan.place {
        eprintln!("allgone: no cgroup: {why}");
    }
    for (call, need) in launch.describe() {
        eprintln!("allgone:   {} {call}", kind(need));
    }
}

/// How it ended, and what each step cost.
pub(crate) fn ending(plan: &Plan, launch: &Launch<'_>, results: &Results, ending: &Ending) {
    eprintln!("allgone: tier namespace: clone3({:#x})", plan.namespaces);
    for (index, (call, need)) in launch.describe().into_iter().enumerate() {
        match results.step(index) {
            // An exec that succeeds leaves nobody to note it.
            None => eprintln!("allgone:   {}          {call}", kind(need)),
            Some(result) => {
                let answer = result.error.map_or(String::new(), |e| format!(": {e}"));
                let us = result.took_ns / 1_000;
                eprintln!("allgone:   {} {us:>6} us {call}{answer}", kind(need));
            }
        }
    }
    eprintln!(
        "allgone: ended after {:?}, by {:?}",
        ending.took(),
        ending.cause
    );
    eprintln!("allgone: {}", proof(&ending.proof));
}

/// The proof, in one line.
pub(crate) fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Removed(path) => {
            let path = path.display().to_string();
            format!("proved: init reaped, cgroup {path:?} empty and removed")
        }
        Proof::Reaped(why) => format!("proved: init reaped; no cgroup: {why:?}"),
        Proof::Unproved(why) => format!("not proved: {why:?}"),
    }
}

fn kind(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Optional => "optional",
    }
}
