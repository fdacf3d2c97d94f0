//! Closed runs under enforcing SELinux. They take a machine that is thrown away, with a policy of
//! the tests' own (policy.cil): `cargo lab test --suite selinux -k stock-6.12 --no-selftests`.
//! Elsewhere they are ignored.
//!
//! This program is the tests and the command `allgone`, so that nothing has to be located.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the whole program is a test"
)]

mod contexts;
mod machine;
mod refused;
mod states;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "run") {
        return sandbox::command::main(std::env::args_os().collect()).into();
    }
    let missing = machine::prepare().err();
    if let Some(why) = &missing {
        println!("ignored: {why}");
        let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
        if required.split(',').any(|name| name == "selinux") {
            return ExitCode::FAILURE;
        }
    }
    let tests = [contexts::TESTS, refused::TESTS, states::TESTS].concat();
    let trial = |(name, test): (&'static str, fn())| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || match missing {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => tried(test),
        })
    };
    let tests = tests.into_iter().map(trial).collect();
    let mut arguments = Arguments::from_args();
    // They change what is the whole machine's.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn tried(test: fn()) -> Result<Completion, Failed> {
    match std::panic::catch_unwind(test) {
        Ok(()) => Ok(Completion::Completed),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(text.unwrap_or_default().into())
        }
    }
}
