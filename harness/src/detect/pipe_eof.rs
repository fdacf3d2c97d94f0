//! Let the tree inherit the write end of a pipe, and wait for its end of file.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::{Progress, Sources, Tally};
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

impl Detector for PipeEof {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn arm(&self, _: &ProcessSet, spawn: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|e| limit::descriptor(SysError::plain("pipe2", e)))?;
        // The plan's own copy is closed with the plan, right after the spawn.
        spawn.keep(write);
        Ok(Box::new(Reading {
            read,
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Reading {
    read: OwnedFd,
    tally: Tally,
}

impl Watch for Reading {
    fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.read)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let counters = self.tally.check();
        counters.reads += 1;
        Ok(match nix::unistd::read(&self.read, &mut [0u8; 512]) {
            Ok(0) => Progress::done(Verdict::empty(now)),
            // A process writes into it: that says nothing, but a full pipe would block it. The
            // rest is read by the next check, since a writer could keep this one busy for ever.
            Ok(_) => {
                counters.spurious += 1;
                Progress::pending().look_at(now)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Progress::pending(),
            Err(e) => {
                let why = SysError::plain("read the pipe", e);
                Progress::done(Verdict::unknown(why))
            }
        })
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}
