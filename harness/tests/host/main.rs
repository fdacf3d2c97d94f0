//! The search for a base, the probes and the clean-up, on the running kernel.
//!
//! `HARNESS_REQUIRE=root,cgroup2-write,...` turns a missing feature into a failure; without it a
//! test that lacks one is reported as ignored, with the reason. Each test that changes its process
//! runs in a forked worker, so this program has one thread.
#![expect(clippy::print_stderr, reason = "this is a program: it is its own main")]

mod giving_back;
mod lacking;
mod rerun;
mod search;
mod support;

use std::process::ExitCode;

use harness::host::Host;
use harness::host::features::{self, Feature, Gate};
use harness::requirements::parse_requirements;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use support::Outcome;

fn main() -> ExitCode {
    if std::env::var_os("HOST_TEST_PROGRAM").is_some() {
        return rerun::as_program();
    }
    let mut arguments = Arguments::from_args();
    // Workers are forked: a second thread would be torn in them.
    arguments.test_threads = Some(1);
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    let required = match parse_requirements(&required) {
        Ok(required) => required,
        Err(e) => {
            eprintln!("HARNESS_REQUIRE: {e}");
            return ExitCode::from(2);
        }
    };
    let mut host = support::host();
    let trials = TESTS
        .iter()
        .map(|test| test.trial(&required, &host.host))
        .collect();
    for failed in host.give_back() {
        eprintln!("not taken back: {failed}");
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

struct Test {
    name: &'static str,
    needs: &'static [&'static str],
    run: fn() -> Outcome,
}

const TESTS: &[Test] = &[
    Test {
        name: "a_base_is_found_and_trying_leaves_nothing",
        needs: &["cgroup2-write"],
        run: search::base_is_found,
    },
    Test {
        name: "every_probe_answers_and_leaves_nothing",
        needs: &[],
        run: search::every_probe_answers,
    },
    Test {
        name: "killed_at_birth_is_decided_and_twice_the_same",
        needs: &["clone-into-cgroup", "cgroup-kill"],
        run: search::bug_is_decided,
    },
    Test {
        name: "hidden_clone3_is_named_and_does_not_stop_the_search",
        needs: &["cgroup2-write"],
        run: search::clone3_hidden,
    },
    Test {
        name: "a_read_only_hierarchy_is_said_to_be_read_only",
        needs: &["root", "cgroup2-write"],
        run: lacking::read_only,
    },
    Test {
        name: "no_cgroup_v2_is_said",
        needs: &["root", "cgroup2-write"],
        run: lacking::no_v2,
    },
    Test {
        name: "no_pids_controller_is_said_and_can_be_allowed",
        needs: &["root", "v1-pids"],
        run: lacking::no_pids,
    },
    Test {
        name: "exhausted_processes_are_said",
        needs: &["root", "cgroup2-write"],
        run: lacking::processes_exhausted,
    },
    Test {
        name: "exhausted_inotify_instances_are_said",
        needs: &["root", "inotify"],
        run: lacking::inotify_exhausted,
    },
    Test {
        name: "guards_take_back_what_a_dead_process_changed",
        needs: &["cgroup2-write"],
        run: giving_back::guards_take_back,
    },
    Test {
        name: "leaving_for_a_leaf_is_listed_and_taken_back",
        needs: &["cgroup2-write"],
        run: giving_back::leaf,
    },
    Test {
        name: "only_leftovers_of_the_dead_are_removed",
        needs: &["cgroup2-write", "cgroup-kill"],
        run: giving_back::clean,
    },
    Test {
        name: "a_fake_systemd_run_gets_the_program_once",
        needs: &[],
        run: rerun::rerun_once,
    },
];

impl Test {
    fn trial(&self, required: &[&'static Feature], host: &Host) -> Trial {
        let needs: Vec<_> = self
            .needs
            .iter()
            .map(|name| features::by_name(name).expect("tests name features"))
            .collect();
        let run = self.run;
        match features::gate(&needs, required, host) {
            Gate::Run => Trial::test(self.name, move || run().map_err(Failed::from)),
            Gate::Ignore(why) => {
                Trial::ignorable_test(self.name, move || Ok(Completion::ignored_with(why)))
            }
            Gate::Fail(why) => Trial::test(self.name, move || Err(why.into())),
        }
    }
}
