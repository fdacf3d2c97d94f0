//! A program with a deadline: `deadline SECONDS PROGRAM ARGUMENT...`, as `timeout` of coreutils.
//! But nothing that the program has started outlives it, and that is proved.
#![allow(clippy::print_stderr, reason = "it is a program")]

use std::process::ExitCode;
use std::time::Duration;

use allgone::sys::time::now;
use allgone::{Base, Command, Proof};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut words = std::env::args_os().skip(1);
    let (Some(seconds), Some(program)) = (words.next(), words.next()) else {
        return Err("usage: deadline SECONDS PROGRAM ARGUMENT...".into());
    };
    let limit = Duration::from_secs_f64(seconds.to_string_lossy().parse()?);

    let base = Base::find()?;
    let mut job = Command::new(program).args(words).spawn(&base)?;
    let done = match job.wait(now() + limit)? {
        Some(done) => done,
        // SIGTERM, two seconds, SIGKILL; and not back before it is known what is left.
        None => job.terminate(Duration::from_secs(2))?,
    };
    match &done.proof {
        Proof::Removed => eprintln!("nothing is left"),
        Proof::Survivors(left) => left.iter().for_each(|one| eprintln!("left: {one}")),
        Proof::Unknown(error) => eprintln!("not known whether anything is left: {error}"),
    }
    let code = done.status?.code().unwrap_or(128);
    Ok(ExitCode::from(u8::try_from(code)?))
}
