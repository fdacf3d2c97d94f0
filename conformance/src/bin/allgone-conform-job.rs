//! A launcher of a few lines on the library `allgone`, to be scored like any other:
//! `allgone-conform-job [--kill] [--limit-ms MS] PROGRAM ARGUMENT...`.
//!
//! It has no handler of a signal: what ends it leaves the rest to the guard.

use std::process::ExitCode;
use std::time::Duration;

use allgone::job::{Guarded, Leftovers, StartError, Stdio};
use allgone::sys::time::now;
use allgone::{Base, Command, Completion};
use nix::errno::Errno;

/// The limit was reached.
const TIMED_OUT: u8 = 124;
/// Something of it lives, or that is not known.
const NOT_PROVED: u8 = 123;
const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// For a run without a limit.
const LONG: Duration = Duration::from_secs(24 * 3_600);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    let mut leftovers = Leftovers::Wait;
    let mut limit = None;
    if words.next_if(|word| word == "--kill").is_some() {
        leftovers = Leftovers::Kill;
    }
    if words.next_if(|word| word == "--limit-ms").is_some() {
        let ms = words.next().and_then(|word| word.to_str()?.parse().ok());
        let Some(ms) = ms else {
            return ExitCode::from(FAILED);
        };
        limit = Some(Duration::from_millis(ms));
    }
    let Some(program) = words.next() else {
        return ExitCode::from(FAILED);
    };
    let Ok(base) = Base::find() else {
        return ExitCode::from(FAILED);
    };
    let Ok(guarded) = Guarded::start(&base) else {
        return ExitCode::from(FAILED);
    };
    let mut command = Command::new(program);
    command.args(words).leftovers(leftovers);
    command
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    let mut job = match command.spawn(&guarded) {
        Ok(job) => job,
        Err(e) => return ExitCode::from(not_started(&e)),
    };
    let done = match job.wait(now() + limit.unwrap_or(LONG)) {
        Ok(None) => job.kill().map(|done| proved(&done, TIMED_OUT)),
        other => other.map(|done| done.map_or(FAILED, |done| proved(&done, code(&done)))),
    };
    ExitCode::from(done.unwrap_or(FAILED))
}

fn not_started(error: &StartError) -> u8 {
    match (error, error.errno()) {
        (StartError::Child { .. }, Some(Errno::ENOENT)) => NOT_FOUND,
        (StartError::Child { .. }, _) => NOT_EXECUTABLE,
        _ => FAILED,
    }
}

fn proved(done: &Completion, code: u8) -> u8 {
    match done.proof.is_removed() {
        true => code,
        false => NOT_PROVED,
    }
}

/// As a shell says it.
fn code(done: &Completion) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = done.status.as_ref().ok().and_then(|status| {
        let signal = status.signal().map(|signal| 128 + signal);
        status.code().or(signal)
    });
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(FAILED)
}
