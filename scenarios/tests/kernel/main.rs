//! The integration tests: tests with real processes in cgroups of their own.
//!
//! A test states what it needs. What is missing makes it *ignored*, with the reason; what
//! `HARNESS_REQUIRE` names and is missing makes it fail, so that a machine that is meant to have a
//! feature cannot pass by not having it. Times are never asserted, only order and outcome.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the whole program is a test runner"
)]

mod actor;
mod bugs;
mod campaign;
mod clean;
mod cli;
mod common;
mod detect;
mod effects;
mod fault_injection;
mod first_use;
mod fleet;
mod images;
mod kill;
mod left;
mod needs;
mod older_kernels;
mod operations;
mod order;
mod outside;
mod own_loop;
mod place;
mod programs;
mod protect;
mod random;
mod scripted;
mod spawn;
mod stage;
mod staged;
mod stand_ins;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod survivors;
mod trial;
mod windows;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use common::Test;
use needs::Machine;

fn main() -> ExitCode {
    scenarios::actor::main_if_actor();
    harness::detect::act_as_release_agent();
    actor::main_if_allocating();
    harness::sys::interrupt::heed().expect("a default is a valid action");
    let mut args = Arguments::from_args();
    // The harness forks without exec, so it must have one thread.
    args.test_threads = Some(1);
    let protection = common::protection();
    let looked = Machine::look();
    drop(protection);
    let machine = match looked {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ignored = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let tests = [
        actor::tests(),
        bugs::tests(),
        campaign::tests(),
        clean::tests(),
        cli::tests(),
        detect::tests(),
        effects::tests(),
        fault_injection::tests(),
        first_use::tests(),
        fleet::tests(),
        images::tests(),
        kill::tests(),
        older_kernels::tests(),
        operations::tests(),
        left::tests(),
        order::tests(),
        own_loop::tests(),
        outside::tests(),
        programs::tests(),
        protect::tests(),
        random::tests(),
        scripted::tests(),
        spawn::tests(),
        staged::tests(),
        stopped::tests(),
        survivors::tests(),
        trial::tests(),
        windows::tests(),
    ];
    let trials = tests
        .into_iter()
        .flatten()
        .map(|test| into_trial(test, &machine, &ignored))
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    if !args.list {
        let ran = conclusion.num_passed + conclusion.num_failed;
        let reasons: Vec<String> = ignored
            .lock()
            .unwrap()
            .iter()
            .map(|(why, n)| format!("{why} ×{n}"))
            .collect();
        let why = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({})", reasons.join("; "))
        };
        println!(
            "integration tests: {ran} ran, {} ignored{why}",
            conclusion.num_ignored
        );
    }
    conclusion.exit_code()
}

fn into_trial(test: Test, machine: &Machine, ignored: &Arc<Mutex<BTreeMap<String, u32>>>) -> Trial {
    let missing = machine.missing(&test.needs);
    let ignored = Arc::clone(ignored);
    Trial::ignorable_test(test.name, move || match missing {
        None => (test.body)()
            .map(|()| Completion::Completed)
            .map_err(Failed::from),
        Some(missing) if missing.required => Err(format!(
            "HARNESS_REQUIRE says that this machine has it, but it has not: {}",
            missing.why
        )
        .into()),
        Some(missing) => {
            *ignored
                .lock()
                .unwrap()
                .entry(missing.why.clone())
                .or_default() += 1;
            Ok(Completion::ignored_with(missing.why))
        }
    })
}
