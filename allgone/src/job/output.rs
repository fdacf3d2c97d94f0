//! What a job writes, up to the end of the *job*.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};

use super::completion::Completion;
use super::error::JobError;
use super::running::Job;
use crate::MonoNs;
use crate::detect::sleep::{self, Slept};
use crate::error::{SysError, Target};

/// What a job wrote, and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// What was read from its standard output, if that is piped.
    pub stdout: Vec<u8>,
    /// What was read from its standard error.
    pub stderr: Vec<u8>,
    /// How it ended; `None`: it had not at the deadline.
    pub completion: Option<Completion>,
}

impl Job {
    /// Closes its standard input and collects what it writes, until it is over, or until
    /// `deadline`.
    ///
    /// It ends with the job and not with the pipes: a process outside the job that holds one open
    /// causes no delay. What is in the pipes by then is read. A process *of* the job that outlives
    /// the first one is part of it; see [`Leftovers`](super::Leftovers).
    ///
    /// After a deadline, what was read is in the output, and the pipes are still the job's: it can
    /// be called again, or the job be killed.
    ///
    /// Errors: as [`Job::try_wait`]; read(2).
    pub fn output(&mut self, deadline: MonoNs) -> Result<Output, JobError> {
        drop(self.stdin.take());
        let mut output = Output::default();
        for pipe in [&self.stdout, &self.stderr].into_iter().flatten() {
            never_block(pipe)?;
        }
        loop {
            // Checked before the pipes are read, so that everything that was written is in them.
            output.completion = self.try_wait()?;
            let out = drain(&mut self.stdout, &mut output.stdout)?;
            let err = drain(&mut self.stderr, &mut output.stderr)?;
            if output.completion.is_some() || deadline.has_passed() {
                return Ok(output);
            }
            if out || err {
                continue;
            }
            let pipes = [&self.stdout, &self.stderr].into_iter().flatten();
            let mut fds: Vec<PollFd<'_>> = pipes
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
                .collect();
            fds.push(PollFd::new(self.as_fd(), PollFlags::POLLIN));
            match sleep::on(&mut fds, deadline)? {
                Slept::Woken(_) | Slept::Deadline => {}
            }
        }
    }
}

fn never_block(pipe: &PipeReader) -> Result<(), SysError> {
    let failed = |e| SysError::plain("fcntl of a pipe", e);
    let flags = fcntl(pipe, FcntlArg::F_GETFL).map_err(failed)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(pipe, FcntlArg::F_SETFL(flags)).map_err(failed)?;
    Ok(())
}

/// How much is read before the job is checked again.
const AT_ONCE: usize = 1 << 20;

/// Reads what is there; closes the pipe at its end. Returns whether there may be more.
fn drain(pipe: &mut Option<PipeReader>, into: &mut Vec<u8>) -> Result<bool, SysError> {
    let Some(reader) = pipe else {
        return Ok(false);
    };
    let mut room = [0u8; 16 * 1024];
    let most = into.len() + AT_ONCE;
    while into.len() < most {
        match reader.read(&mut room) {
            Ok(0) => {
                *pipe = None;
                return Ok(false);
            }
            Ok(n) => into.extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(e) if e.raw_os_error() == Some(Errno::EAGAIN as i32) => return Ok(false),
            Err(e) if e.raw_os_error() == Some(Errno::EINTR as i32) => {}
            Err(e) => return Err(SysError::io("read a pipe", Target::Nothing, &e)),
        }
    }
    Ok(true)
}
