//! Let the tree inherit the write end of a pipe, and wait for its end of file.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// End of file comes when the last copy of the write end is closed, in whatever process. Nothing is
/// ever written.
#[derive(Debug)]
pub(super) struct PipeEof;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pipe-eof",
    summary: "Hands the tree an inherited pipe and waits until the last write end is closed.",
    scope: Scope::FdHolders,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(2, 6),
    privilege: "",
    escapes: "every process that closes the descriptor: daemons close all, careful programs close \
        what they do not know, exec closes it if it is close-on-exec",
    early: "when the last holder closes it and lives on",
    late: "one wake-up from exit_files(), earlier than waitpid. For ever, if the descriptor was \
        passed to a process outside",
    idle_cost: "nothing",
    overflow: "cannot: end of file stays",
    loses_on_removal: false,
    sources: &[
        "pipe(7)",
        "fs/pipe.c: pipe_release()",
        "kernel/exit.c: exit_files()",
    ],
    axes: &[],
};

impl BlockingDetector for PipeEof {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn arm(
        &self,
        _: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|e| limit::descriptor(SysError::plain("pipe2", e)))?;
        // The plan's own copy is closed with the plan, right after the spawn.
        spawn.keep(write);
        Ok(Box::new(Reading {
            read,
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Reading {
    read: OwnedFd,
    counters: Counters,
}

impl BlockingWatch for Reading {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let mut woke = now();
        loop {
            self.counters.reads += 1;
            match nix::unistd::read(&self.read, &mut [0u8; 512]) {
                Ok(0) => return Ok(Verdict::empty(woke)),
                // A process writes into it: that means nothing, but a full pipe would block the
                // process.
                Ok(_) => {
                    self.counters.spurious += 1;
                    if deadline.has_passed() {
                        return Ok(Verdict::deadline());
                    }
                    continue;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(e) => {
                    let why = SysError::plain("read the pipe", e);
                    return Ok(Verdict::unknown(why));
                }
            }
            let mut fds = [PollFd::new(self.read.as_fd(), PollFlags::POLLIN)];
            match sleep::on(&mut fds, deadline)? {
                Slept::Woken(at) => woke = at,
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
            self.counters.wakeups += 1;
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
