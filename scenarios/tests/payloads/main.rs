//! Every scenario as a real program under `allgone run`: in each tier, as root and as an ordinary
//! user, and in a container. What is left is counted from outside.
//!
//! This one executable has every part: the launcher (`allgone`, the command's own code), the
//! program (`actor`), and a process that starts the launcher and looks at what it leaves
//! (`keeper`). `LAUNCHER_BINARY` and `LAUNCHER_ACTOR` name others for the first two: the launcher
//! as it is shipped, and a static actor.
//!
//! A test plays each combination once, and takes turns with the user. With `LAUNCHER_RUNS=100` each
//! is played a hundred times, as either user.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "the whole program is a test runner"
)]

mod container;
mod expected;
mod ground;
mod keeper;
mod outsider;
mod payload;
mod tiers;
mod tools;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    scenarios::actor::main_if_actor();
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("allgone") => return sandbox::command::main(),
        Some("keeper") => return keeper::main(),
        Some("reaper") => return container::reaper(),
        _ => {}
    }
    let mut args = Arguments::from_args();
    // They sleep for most of the time.
    args.test_threads = args.test_threads.or(Some(6));
    let tests = tiers::tests()
        .into_iter()
        .chain(container::tests())
        .collect();
    let conclusion = libtest_mimic::run(&args, tests);
    container::end();
    tools::end();
    if !args.list {
        print!("{}", container::printed());
        println!("{}", tools::totals());
    }
    conclusion.exit_code()
}
