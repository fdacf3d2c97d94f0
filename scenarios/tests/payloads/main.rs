//! Every scenario as a real program under `allgone run`: in each tier, as root and as an ordinary
//! user, and in a container. What is left is counted from outside.
//!
//! This one executable has every part: the launcher (`allgone`, the command's own code), the
//! program (`actor`), and a process that starts the launcher and looks at what it leaves
//! (`keeper`). `LAUNCHER_BINARY` and `LAUNCHER_ACTOR` name others for the first two: the launcher
//! as it is shipped, and a static actor.
//!
//! A test plays each way of ending once, and takes turns with the user. With `LAUNCHER_RUNS=100`
//! each payload is played a hundred times in each tier by each user, and the ways of ending take
//! turns. Most runs sleep, so there are many at a time; one at most that keeps the processors busy.
//!
//! A long form may be played in parts: `LAUNCHER_SHARD=2/4` is the second of four,
//! `LAUNCHER_SECONDS=1200` begins nothing after that time, and `LAUNCHER_RECORD=FILE` goes on where
//! an earlier call with the same executables has ended; what it prints in the end is of both.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "the whole program is a test runner"
)]

mod cells;
mod container;
mod expected;
mod ground;
mod host;
mod keeper;
#[path = "../../../sandbox/tests/support/marks.rs"]
mod marks;
mod outsider;
mod payload;
mod seats;
mod tiers;
mod tools;
mod totals;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    scenarios::actor::main_if_actor();
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("allgone") => return sandbox::command::main(std::env::args_os().collect()).into(),
        Some("keeper") => return keeper::main(),
        Some("reaper") => return container::reaper(),
        _ => {}
    }
    let mut args = Arguments::from_args();
    // They sleep for most of the time.
    args.test_threads = args.test_threads.or(Some(seats::all()));
    cells::begin();
    let mut tests = tiers::tests(0);
    tests.extend(container::tests(tests.len()));
    let conclusion = libtest_mimic::run(&args, tests);
    container::end();
    tools::end();
    let mut code = conclusion.exit_code();
    if !args.list {
        let (table, wrong) = container::table();
        print!("{table}{}{}", cells::printed(), totals::printed());
        if let Some(wrong) = wrong {
            eprintln!("{wrong}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
