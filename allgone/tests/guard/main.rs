//! The guard, with real processes. Where no cgroup can be made the tests are ignored, with the
//! reason.
//!
//! Hosts that die are other processes: this program itself, called with `host`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the whole program is a test runner"
)]

mod base;
mod deaths;
mod guarded;
mod host;
mod jobs;
mod ladder;
mod protocol;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("host") {
        return host::main(&args.collect::<Vec<_>>());
    }
    let missing = base::Base::new().err();
    if let Some(why) = &missing {
        println!("ignored, because {why}");
    }
    let tests = [
        jobs::TESTS,
        guarded::TESTS,
        deaths::TESTS,
        ladder::TESTS,
        protocol::TESTS,
    ]
    .concat();
    let tests = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            std::panic::catch_unwind(test).map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Failed::from(text.unwrap_or_default())
            })
        })
        .with_ignored_flag(missing.is_some() || lacks(name))
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

/// Whether a test needs what is not here, which is said.
fn lacks(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let why = match test {
        "what_a_program_gets" if !root => "only root becomes another user",
        "memory_that_may_not_be_executed" if !root => "only root makes a PID namespace",
        "memory_that_may_not_be_executed"
            if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() =>
        {
            "this kernel has no vm.memfd_noexec (Linux 6.3)"
        }
        _ => return false,
    };
    println!("{test} is ignored: {why}");
    true
}

/// A test and its name.
type Test = (&'static str, fn());
