//! The output of a step, passed on line by line.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::protocol::Message;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use crate::channel::Channel;

/// The two pipes of a step.
pub(crate) struct Streams {
    out: Option<Lines<std::process::ChildStdout>>,
    err: Option<Lines<std::process::ChildStderr>>,
}

/// A pipe cut into lines.
struct Lines<R> {
    reader: BufReader<R>,
    part: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    fn new(stream: R) -> Result<Self> {
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl O_NONBLOCK")?;
        Ok(Self {
            reader: BufReader::new(stream),
            part: Vec::new(),
        })
    }

    /// Passes on what has come; `false` once the pipe is closed. With `last`, half a line counts as
    /// a line.
    fn pass_on(
        &mut self,
        wrap: fn(String) -> Message,
        channel: &mut Channel,
        last: bool,
    ) -> Result<bool> {
        loop {
            let ended = match self.reader.read_until(b'\n', &mut self.part) {
                Ok(0) => true,
                Ok(_) if self.part.ends_with(b"\n") => {
                    self.flush(wrap, channel)?;
                    continue;
                }
                // End of file in the middle of a line.
                Ok(_) => true,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read a step's output"),
            };
            if ended || last {
                self.flush(wrap, channel)?;
            }
            return Ok(!ended);
        }
    }

    fn flush(&mut self, wrap: fn(String) -> Message, channel: &mut Channel) -> Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.part)
            .trim_end_matches('\n')
            .replace('\r', "");
        self.part.clear();
        channel.say(&wrap(text))
    }
}

impl Streams {
    pub(crate) fn of(child: &mut Child) -> Result<Self> {
        let out = Lines::new(child.stdout.take().context("no stdout")?)?;
        let err = Lines::new(child.stderr.take().context("no stderr")?)?;
        Ok(Self {
            out: Some(out),
            err: Some(err),
        })
    }

    /// Sleeps until a pipe has something, a child has ended, or `left` is over.
    pub(crate) fn wait(&self, children: &SignalFd, left: Duration) -> Result<()> {
        let mut fds = vec![PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            self.out
                .iter()
                .map(|l| PollFd::new(l.reader.get_ref().as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            self.err
                .iter()
                .map(|l| PollFd::new(l.reader.get_ref().as_fd(), PollFlags::POLLIN)),
        );
        let timeout =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("poll"),
        }
    }

    pub(crate) fn pass_on(&mut self, channel: &mut Channel, last: bool) -> Result<()> {
        if let Some(lines) = &mut self.out
            && !lines.pass_on(Message::Out, channel, last)?
        {
            self.out = None;
        }
        if let Some(lines) = &mut self.err
            && !lines.pass_on(Message::Err, channel, last)?
        {
            self.err = None;
        }
        Ok(())
    }
}
