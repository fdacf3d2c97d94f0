//! What `--verbose` and `--dry-run` print, on standard error. Names come from the user and from the
//! program, so they are escaped.
#![expect(
    clippy::print_stderr,
    reason = "these lines are asked for, and standard output is the program's"
)]

use allgone::sys::spawn::launch::{Launch, Need};
use allgone::sys::spawn::results::Results;

use crate::closed::Ground;
use crate::closed::explain::Denials;
use crate::end::{Ending, Proof};
use crate::error::RunError;
use crate::plan::Plan;
use crate::tier::Tier;

/// The steps, before any of them is made.
pub(crate) fn dry_run(plan: &Plan, launch: &Launch<'_>) {
    tier(plan);
    if let Err(why) = &plan.place {
        eprintln!("allgone: no cgroup: {why}");
    }
    for (call, need) in launch.describe() {
        eprintln!("allgone:   {} {call}", kind(need));
    }
    for line in plan.closed.iter().flat_map(Ground::describe) {
        eprintln!("allgone: {line}");
    }
}

fn tier(plan: &Plan) {
    let name = plan.tier.name();
    eprintln!("allgone: tier {name}: clone3({:#x})", plan.namespaces);
    for lack in plan.tier.lacks() {
        eprintln!("allgone:   {lack}");
    }
}

/// How it ended, and what each step cost.
pub(crate) fn ending(
    plan: &Plan,
    launch: &Launch<'_>,
    results: &Results,
    ending: &Ending,
    refused: &[(Tier, RunError)],
) {
    for (tier, why) in refused {
        eprintln!("allgone: not by tier {}: {why}", tier.name());
    }
    tier(plan);
    for line in plan.closed.iter().flat_map(Ground::outside) {
        eprintln!("allgone: outside of what is closed: {line}");
    }
    for (option, why) in &plan.group_limits.missing {
        eprintln!("allgone: --{option} is not enforced: {why}");
    }
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
    if plan.tier == Tier::Traced {
        let (stops, births) = results.traced();
        eprintln!("allgone: traced: {stops} stops for {births} new processes and threads");
    }
    eprintln!(
        "allgone: ended after {:?}, by {:?}",
        ending.took(),
        ending.cause
    );
    eprintln!("allgone: {}", proof(&ending.proof));
}

/// What could not be kept of a program that failed itself, whose exit code stays.
pub(crate) fn lost(why: &RunError) {
    eprintln!("allgone: {why}");
}

/// What was refused.
pub(crate) fn denials(denials: &Denials) {
    let lines = denials.lines();
    if lines.is_empty() {
        eprintln!("allgone: nothing was refused");
    }
    for line in lines {
        eprintln!("allgone: {line}");
    }
}

/// The proof, in one line.
pub(crate) fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Removed(path) => {
            let path = path.display().to_string();
            format!("proved: init reaped, cgroup {path:?} empty and removed")
        }
        Proof::Reaped(why) => format!("proved: init reaped; no cgroup: {why:?}"),
        Proof::NoneLeft => "proved: init reaped, no tracee and no child left".to_owned(),
        Proof::Unproved(why) => format!("not proved: {why:?}"),
    }
}

fn kind(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Optional => "optional",
    }
}
