//! The command `allgone`. Called as `timeout` it takes that program's arguments.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use allgone::sys::spawn::launch::die_of;
use sandbox::end::Exit;
use sandbox::error::{FAILED, RunError};
use sandbox::{options, run, timeout};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let as_timeout = Path::new(&name).file_name() == Some(OsStr::new("timeout"));
    let mut args = args.peekable();
    let answer = if as_timeout {
        timeout::parse(args).map_err(RunError::from)
    } else if args.next_if(|word| word == "run").is_some() {
        options::parse(args).map_err(RunError::from)
    } else {
        return other(args);
    };
    match answer.and_then(|options| run::run(&options)) {
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Ok(Exit::Signal(signal)) => die_of(signal),
        Err(e) => {
            say(&format!("allgone: {e}"));
            ExitCode::from(e.exit_code())
        }
    }
}

/// What is no run.
fn other(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let verb = args.next().unwrap_or_default();
    say(&format!(
        "allgone: unknown command {verb:?}: allgone run [OPTIONS] -- PROGRAM"
    ));
    ExitCode::from(FAILED)
}

/// To standard error; if that is gone there is nobody to tell.
fn say(line: &str) {
    match writeln!(std::io::stderr(), "{line}") {
        Ok(()) | Err(_) => {}
    }
}
