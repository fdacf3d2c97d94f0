//! Waiting for what happens in a trial: always with a deadline, and reaping all the time.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use allgone::MonoNs;
use allgone::sys::wait::Change;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::DIR;
use super::processes::{Ended, Started};
use crate::payload::byte;

/// How often orphans are reaped without any event.
const TICK_MS: u8 = 2;

/// What is watched besides the launcher.
#[derive(Debug)]
pub(super) struct Watch {
    files: Inotify,
    pub(super) ended: Ended,
    pub(super) input: Option<(PipeWriter, usize, usize)>,
    pub(super) output: Option<PipeReader>,
    pub(super) read: usize,
    pub(super) right: bool,
    pub(super) read_end: bool,
}

impl Watch {
    pub(super) fn new() -> Result<Self, String> {
        let failed = |e| format!("could not watch {DIR}: {e}");
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let files = Inotify::init(flags).map_err(failed)?;
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_CLOSE_WRITE;
        files.add_watch(DIR, events).map_err(failed)?;
        Ok(Self {
            files,
            ended: Ended::default(),
            input: None,
            output: None,
            read: 0,
            right: true,
            read_end: false,
        })
    }

    /// Feeds `bytes` into the pipe, as fast as they are read.
    pub(super) fn feed(&mut self, pipe: PipeWriter, bytes: usize) -> Result<(), String> {
        never_block(pipe.as_fd())?;
        self.input = (bytes > 0).then_some((pipe, 0, bytes));
        Ok(())
    }

    pub(super) fn listen(&mut self, pipe: PipeReader) -> Result<(), String> {
        never_block(pipe.as_fd())?;
        self.output = Some(pipe);
        Ok(())
    }

    /// How `process` ended, if it has.
    pub(super) fn end(&self, process: &Started) -> Option<Change> {
        self.ended.of(process.pid)
    }

    /// Waits until `done`, or until `deadline`; returns whether it was done.
    pub(super) fn until(
        &mut self,
        deadline: MonoNs,
        waited: &[&Started],
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        loop {
            self.ended.reap();
            self.move_bytes();
            if done(self) {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            self.pause(deadline, waited);
        }
    }

    fn pause(&mut self, deadline: MonoNs, waited: &[&Started]) {
        let mut fds = vec![PollFd::new(self.files.as_fd(), PollFlags::POLLIN)];
        for process in waited {
            if self.ended.of(process.pid).is_none() {
                fds.push(PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN));
            }
        }
        if let Some(output) = &self.output {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        if let Some((input, ..)) = &self.input {
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        let left = deadline.remaining().as_millis().min(u128::from(TICK_MS));
        // Rounded up, so that the last wait does not spin.
        let timeout = PollTimeout::from(u8::try_from(left).unwrap_or(TICK_MS).max(1));
        // An event, the time-out and an interruption all mean: look again.
        match poll(&mut fds, timeout) {
            Ok(_) | Err(_) => {}
        }
        match self.files.read_events() {
            Ok(_) | Err(_) => {}
        }
    }

    fn move_bytes(&mut self) {
        self.write_some();
        let Some(pipe) = &mut self.output else { return };
        let mut room = [0u8; 64 * 1024];
        // A flood is read, too, but not for ever in one go.
        for _ in 0..64 {
            match pipe.read(&mut room) {
                Ok(0) => {
                    self.read_end = true;
                    self.output = None;
                    return;
                }
                Ok(n) => {
                    let got = room.get(..n).unwrap_or_default();
                    let expected = (self.read..).map(byte);
                    self.right &= got.iter().copied().zip(expected).all(|(a, b)| a == b);
                    self.read += n;
                }
                Err(_) => return,
            }
        }
    }

    fn write_some(&mut self) {
        const CHUNK: usize = 64 * 1024;
        while let Some((pipe, at, all)) = &mut self.input {
            let to = (*at + CHUNK).min(*all);
            let chunk: Vec<u8> = (*at..to).map(byte).collect();
            match pipe.write(&chunk) {
                Ok(n) => *at += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                // Whoever read it is gone.
                Err(_) => *at = *all,
            }
            if *at >= *all {
                self.input = None;
            }
        }
    }
}

fn never_block(fd: BorrowedFd<'_>) -> Result<(), String> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(|_| ())
        .map_err(|e| format!("fcntl of a pipe: {e}"))
}

/// Whether the payload has said "ready" in this file.
pub(super) fn is_ready(path: &str) -> bool {
    std::fs::metadata(Path::new(path)).is_ok_and(|found| found.len() > 0)
}
