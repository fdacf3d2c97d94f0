//! Runs some commands at a time, each within bounds, from one event loop: `make` in a continuous
//! integration server, say.
//!
//! `cargo run --example build -- 'make -C /src/a' 'make -C /src/b'`
#![expect(clippy::print_stdout, reason = "an example")]

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sandbox::end::Proof;
use sandbox::launch::{self, Launch, Launcher, Program, Status, Stream};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    // This program is its own launcher; a program that cannot call this first takes the command
    // `allgone`: `Program::Installed`.
    if let Some(code) = launch::serve_if_asked() {
        return Ok(code);
    }
    let launcher = Launcher::start(&Program::This)?;
    let mut runs = Vec::new();
    for line in std::env::args().skip(1) {
        let run = Launch::builder("sh")
            .args(["-c", line.as_str()])
            .stdin(Stream::Null)
            .timeout(Duration::from_secs(600))
            .grace(Duration::from_secs(2))
            .spawn(&launcher)?;
        runs.push((line, run));
    }
    let mut good = true;
    while !runs.is_empty() {
        let mut fds: Vec<_> = runs
            .iter()
            .map(|(_, run)| PollFd::new(run.as_fd(), PollFlags::POLLIN))
            .collect();
        poll(&mut fds, PollTimeout::NONE)?;
        let mut left = Vec::new();
        for (line, mut run) in runs {
            let Some(over) = run.try_wait()? else {
                left.push((line, run));
                continue;
            };
            let proved = !matches!(over.proof, Proof::Unproved(_));
            good &= proved && over.status == Status::Exited(0);
            println!(
                "{line}: {:?}, {:?}, {:?}",
                over.status, over.wall, over.proof
            );
        }
        runs = left;
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
