//! How a child reports what failed before exec: one short message through a pipe that closes by
//! itself at exec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::step::Step;

/// What failed between clone and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildFailure {
    /// The kind of step.
    pub step: Step,
    /// Its index in the child's sequence of steps, from 0, which distinguishes steps of the same
    /// kind.
    pub index: u32,
    /// The kernel's answer.
    pub errno: Errno,
}

/// The kind of step, its index, and the error: below `PIPE_BUF`, so written and read in one piece.
const MESSAGE_BYTES: usize = 9;

impl ChildFailure {
    /// Reports to the parent. Async-signal-safe. A failed write cannot be reported anywhere.
    pub(super) fn send(self, pipe: RawFd) {
        let mut message = [self.step as u8; MESSAGE_BYTES];
        message[1..5].copy_from_slice(&self.index.to_ne_bytes());
        message[5..].copy_from_slice(&(self.errno as i32).to_ne_bytes());
        // SAFETY: `message` is live for the call.
        unsafe { libc::write(pipe, message.as_ptr().cast(), message.len()) };
    }

    fn parse(message: [u8; MESSAGE_BYTES]) -> Option<Self> {
        let [step, a, b, c, d, errno @ ..] = message;
        Some(Self {
            step: Step::ALL.into_iter().find(|known| *known as u8 == step)?,
            index: u32::from_ne_bytes([a, b, c, d]),
            errno: Errno::from_raw(i32::from_ne_bytes(errno)),
        })
    }
}

/// The parent's end of the pipe through which a child says what has failed before exec.
#[derive(Debug)]
pub struct Report(OwnedFd);

impl Report {
    /// Both ends; the second is the child's.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok((Self(read), write))
    }

    /// What the child has said. `None`: nothing, so far, or because it was executed or has died
    /// without a word. Never sleeps.
    pub fn take(&self) -> Result<Option<ChildFailure>, Errno> {
        let mut message = [0u8; MESSAGE_BYTES];
        match nix::unistd::read(&self.0, &mut message) {
            Ok(0) | Err(Errno::EAGAIN) => Ok(None),
            Ok(MESSAGE_BYTES) => ChildFailure::parse(message).ok_or(Errno::EBADMSG).map(Some),
            Ok(_) => Err(Errno::EBADMSG),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_sent_is_taken() {
        let (report, child) = Report::new().unwrap();
        assert_eq!(report.take(), Ok(None));
        for (index, step) in (300..).zip(Step::ALL) {
            let failure = ChildFailure {
                step,
                index,
                errno: Errno::EXDEV,
            };
            failure.send(child.as_raw_fd());
            assert_eq!(report.take(), Ok(Some(failure)));
        }
        nix::unistd::write(&child, b"half").unwrap();
        assert_eq!(
            report.take(),
            Err(Errno::EBADMSG),
            "never taken for nothing"
        );
        drop(child);
        assert_eq!(report.take(), Ok(None));
    }
}
