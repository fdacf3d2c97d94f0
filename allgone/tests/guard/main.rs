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
mod limits;
mod oom;
mod points;
mod protocol;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_default();
    let of_mode = || args.collect::<Vec<_>>();
    match mode.as_str() {
        "host" => return host::main(&of_mode()),
        "leaderless" => return host::without_leader(),
        "points" => return points::main(&of_mode()),
        "points-host" => return points::host_main(&of_mode()),
        _ => {}
    }
    let missing = base::Base::new().err();
    if let Some(why) = &missing {
        println!("ignored, because {why}");
        if is_required("cgroup2-write") {
            return ExitCode::FAILURE;
        }
    }
    let tests = [
        jobs::TESTS,
        guarded::TESTS,
        deaths::TESTS,
        ladder::TESTS,
        limits::TESTS,
        oom::TESTS,
        points::TESTS,
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

/// Whether what a test needs has to be there.
fn is_required(feature: &str) -> bool {
    let list = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    list.split(',').any(|name| name.trim() == feature)
}

/// Whether a test needs what is not here, which is said.
fn lacks(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if let Some(why) = oom::lacks(test).filter(|_| !is_required("cgroup2-memory")) {
        println!("{test} is ignored: {why}");
        return true;
    }
    let why = match test {
        "a_guard_without_tasks_refuses_and_goes_on" if !has_a_limit_on_tasks() => {
            "no limit on tasks can be had here"
        }
        "directories_of_limits_go_with_a_dead_host" if !limits::are_v1() => {
            "limits do not come from hierarchies of version 1 here"
        }
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

fn has_a_limit_on_tasks() -> bool {
    let found = allgone::Base::find();
    found.is_ok_and(|base| *base.limits() != allgone::limits::LimitSource::None)
}

/// A test and its name.
type Test = (&'static str, fn());
