//! A run, from its host's side.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use allgone::error::retry_eintr;
use allgone::sys::time::now;
use allgone::{MonoNs, SysError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv, send};

use super::completion::{Completion, Line, Started};
use super::error::LaunchError;
use crate::control::Request;

/// How long a launcher may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any report has, unless the program's arguments fill it.
const MOST_BYTES: usize = 64 << 20;

/// A program that is running, with everything that it starts.
///
/// Its descriptor ([`AsFd`]) is readable (level-triggered) when [`Run::try_wait`] has something to
/// look at. It goes into any event loop; it is the only one that a run holds.
///
/// Dropping it ends everything: its launcher sees the channel's end and kills. Nothing waits for
/// that; to have the proof, call [`Run::kill`] and [`Run::wait`] first. A copy of the descriptor in
/// a fork of the host that does not execute anything keeps the channel open.
#[derive(Debug)]
pub struct Run {
    channel: OwnedFd,
    heard: Vec<u8>,
    accepted: bool,
    started: Option<Started>,
    main_ended: bool,
    over: Option<Over>,
}

#[derive(Debug)]
enum Over {
    Proved(Box<Completion>),
    Refused(LaunchError),
}

impl Run {
    /// Waits until there is a launcher.
    pub(super) fn accepted(channel: OwnedFd) -> Result<Self, LaunchError> {
        let mut run = Self {
            channel,
            heard: Vec::new(),
            accepted: false,
            started: None,
            main_ended: false,
            over: None,
        };
        let deadline = now() + PATIENCE;
        run.until(deadline, |run| run.accepted)?;
        match &run.over {
            // The channel was closed before there was a launcher at its other end.
            Some(Over::Refused(LaunchError::LauncherDied)) if !run.accepted => {
                Err(LaunchError::Died)
            }
            Some(Over::Refused(why)) if !run.accepted => Err(why.clone()),
            None if !run.accepted => {
                Err(SysError::plain("get a launcher", Errno::ETIMEDOUT).into())
            }
            _ => Ok(run),
        }
    }

    /// Waits until the program exists. `None`: not by `deadline`, or it never did, as
    /// [`Run::try_wait`] tells.
    ///
    /// Errors: as [`Run::try_wait`].
    pub fn started(&mut self, deadline: MonoNs) -> Result<Option<&Started>, LaunchError> {
        self.until(deadline, |run| run.started.is_some())?;
        Ok(self.started.as_ref())
    }

    /// Whether it is over, without sleeping. Later calls return the same completion.
    ///
    /// Errors: it never ran ([`LaunchError::NotFound`] and others); the launcher has died.
    pub fn try_wait(&mut self) -> Result<Option<&Completion>, LaunchError> {
        self.wait(MonoNs(0))
    }

    /// Sleeps until it is over. `None`: it was not by `deadline`.
    ///
    /// Errors: as [`Run::try_wait`].
    pub fn wait(&mut self, deadline: MonoNs) -> Result<Option<&Completion>, LaunchError> {
        self.until(deadline, |_| false)?;
        match &self.over {
            None => Ok(None),
            Some(Over::Proved(completion)) => Ok(Some(completion)),
            Some(Over::Refused(why)) => Err(why.clone()),
        }
    }

    /// Whether the main process has ended, and others are left. Says what the last wait has heard.
    pub fn main_ended(&self) -> bool {
        self.main_ended
    }

    /// Sends a signal to the main process, or to all if it has ended.
    ///
    /// Errors: none if it is over.
    pub fn signal(&self, signal: Signal) -> Result<(), LaunchError> {
        self.ask(Request::Signal(signal as i32))
    }

    /// Ends everything as at the deadline: with the grace that there is.
    ///
    /// Errors: none if it is over.
    pub fn end(&self) -> Result<(), LaunchError> {
        self.ask(Request::End)
    }

    /// Kills everything. That it is gone is what [`Run::wait`] tells.
    ///
    /// Errors: none if it is over.
    pub fn kill(&self) -> Result<(), LaunchError> {
        self.ask(Request::Kill)
    }

    fn ask(&self, request: Request) -> Result<(), LaunchError> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let to = self.channel.as_raw_fd();
        match retry_eintr(|| send(to, &request.bytes(), flags)) {
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(SysError::plain("ask the launcher", errno).into()),
        }
    }

    /// Hears what there is, and sleeps until `enough`, or until it is over.
    fn until(
        &mut self,
        deadline: MonoNs,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), LaunchError> {
        loop {
            self.hear()?;
            if self.over.is_some() || enough(self) || deadline.has_passed() {
                return Ok(());
            }
            // Rounded up, so that it is due when this returns.
            let left = deadline.remaining() + Duration::from_millis(1);
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut news = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            match poll(&mut news, left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::plain("poll", errno).into()),
            }
        }
    }

    /// Takes in what the launcher has said. Never sleeps.
    fn hear(&mut self) -> Result<(), LaunchError> {
        let mut room = [0; 16 * 1024];
        while self.over.is_none() {
            let from = self.channel.as_raw_fd();
            let length = match recv(from, &mut room, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(Errno::ECONNRESET) => {
                    self.over = Some(Over::Refused(LaunchError::LauncherDied));
                    return Ok(());
                }
                Ok(length) => length,
                Err(errno) => return Err(SysError::plain("hear the launcher", errno).into()),
            };
            let seen = self.heard.len();
            self.heard.extend_from_slice(&room[..length]);
            if self.heard.len() > MOST_BYTES {
                return Err(LaunchError::Version("a line has no end".to_owned()));
            }
            self.take_lines(seen)?;
        }
        Ok(())
    }

    /// Takes in complete lines; there is none before `seen`.
    fn take_lines(&mut self, mut seen: usize) -> Result<(), LaunchError> {
        while let Some(end) = self.heard[seen..].iter().position(|byte| *byte == b'\n') {
            let rest = self.heard.split_off(seen + end + 1);
            let line = std::mem::replace(&mut self.heard, rest);
            seen = 0;
            match Line::parse(&line)? {
                Line::Accepted => self.accepted = true,
                Line::Started(started) => self.started = Some(started),
                Line::MainEnded => self.main_ended = true,
                Line::Refused(why) => self.over = Some(Over::Refused(why)),
                Line::Over(completion) => self.over = Some(Over::Proved(completion)),
                Line::Other => {}
            }
        }
        Ok(())
    }
}

impl AsFd for Run {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
