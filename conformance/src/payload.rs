//! The payload: the project's actor, and a few programs that scripts cannot say.
//!
//! It is a program of its own, because each trial executes a copy of it, and asks the kernel who
//! executes that copy.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use allgone::sys::time::now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getppid;

/// The exit code of a program that has done its part.
pub const DONE: u8 = 7;
/// The exit code of [`KILLED_BY_CHILD`] where the kernel spares the first process of a namespace.
pub const SPARED: u8 = 98;
const FAILED: u8 = 99;

/// Executes itself with an empty environment and the other arguments.
pub const BARE_ENVIRONMENT: &str = "--bare-environment";
/// Writes the time into the file that is named, and ends.
pub const STAMP: &str = "--stamp";
/// Copies standard input to standard output, and ends.
pub const ECHO: &str = "--echo";
/// Writes so many bytes to standard output, and then plays the script that follows.
pub const WRITE: &str = "--write";
/// Aborts: dies of `SIGABRT`, and of `SIGSEGV` as the first process of a PID namespace, which the
/// kernel spares from signals of its own; abort(3) ends with a faulting instruction.
pub const ABORT: &str = "--abort";
/// Has a child that kills it.
pub const KILLED_BY_CHILD: &str = "--killed-by-child";
const KILL_PARENT: &str = "--kill-parent";

/// The program.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [BARE_ENVIRONMENT, ref rest @ ..] => again(rest, true),
        [STAMP, file] => std::fs::write(file, now().0.to_string()).map(|()| DONE),
        [ECHO] => echo(),
        [WRITE, bytes, ref rest @ ..] => {
            pattern(bytes.parse().unwrap_or(0)).and_then(|()| again(rest, false))
        }
        [ABORT] => std::process::abort(),
        [KILLED_BY_CHILD] => killed_by_child(),
        [KILL_PARENT] => kill(getppid(), Signal::SIGKILL)
            .map(|()| DONE)
            .map_err(Into::into),
        _ => actor::main(),
    };
    ExitCode::from(done.unwrap_or(FAILED))
}

fn again(args: &[&str], bare: bool) -> std::io::Result<u8> {
    let mut own = Command::new("/proc/self/exe");
    own.args(args);
    if bare {
        own.env_clear();
    }
    Err(own.exec())
}

fn echo() -> std::io::Result<u8> {
    let mut all = Vec::new();
    std::io::stdin().lock().read_to_end(&mut all)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&all)?;
    out.flush()?;
    Ok(DONE)
}

/// The byte at a position of what is sent and written.
pub fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or(0)
}

fn pattern(bytes: usize) -> std::io::Result<()> {
    let all: Vec<u8> = (0..bytes).map(byte).collect();
    let mut out = std::io::stdout().lock();
    out.write_all(&all)?;
    out.flush()
}

/// Ends by a signal of its child's, unless it is the first process of a PID namespace, which the
/// kernel spares.
fn killed_by_child() -> std::io::Result<u8> {
    Command::new("/proc/self/exe").arg(KILL_PARENT).status()?;
    Ok(SPARED)
}
