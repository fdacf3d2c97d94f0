//! The channel between a library's caller and the launcher of one run: requests come in, JSON lines
//! go out.
//!
//! The lines are those of `--events`, and at the end one that has the report, or the reason why
//! there is none.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use serde_json::{Value, json};

/// What the caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// This signal to the main process, or to all if it has ended.
    Signal(i32),
    /// End everything as at the deadline: with the grace that there is.
    End,
    /// SIGKILL to everything.
    Kill,
}

const REQUEST_BYTES: usize = 8;

impl Request {
    pub(crate) fn bytes(self) -> [u8; REQUEST_BYTES] {
        let (kind, number) = match self {
            Self::Signal(signal) => (1, signal),
            Self::End => (2, 0),
            Self::Kill => (3, 0),
        };
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0] = kind;
        bytes[4..].copy_from_slice(&i32::to_ne_bytes(number));
        bytes
    }

    fn parse(bytes: [u8; REQUEST_BYTES]) -> Option<Self> {
        let [kind, _, _, _, number @ ..] = bytes;
        match kind {
            1 => Some(Self::Signal(i32::from_ne_bytes(number))),
            2 => Some(Self::End),
            3 => Some(Self::Kill),
            _ => None,
        }
    }
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Asked(Request),
    Gone,
}

/// The launcher's end.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

impl Control {
    pub(crate) fn new(channel: OwnedFd) -> Self {
        Self(channel)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next request. Never sleeps.
    pub(crate) fn hear(&self) -> Heard {
        let mut bytes = [0; REQUEST_BYTES];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_WAITALL;
        match recv(self.0.as_raw_fd(), &mut bytes, flags) {
            Ok(REQUEST_BYTES) => Request::parse(bytes).map_or(Heard::Nothing, Heard::Asked),
            Err(Errno::EAGAIN | Errno::EINTR) => Heard::Nothing,
            // The other end sends each request whole.
            Ok(_) | Err(_) => Heard::Gone,
        }
    }

    /// For events.
    pub(crate) fn writer(&self) -> Result<File, Errno> {
        let copy = self.0.try_clone();
        copy.map(File::from)
            .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
    }

    /// The request can be understood, and what it names is there.
    pub(crate) fn accepted(&self) {
        self.line(&json!({"event": "accepted"}));
    }

    /// The run is over.
    pub(crate) fn over(&self, report: Value) {
        self.line(&json!({"event": "over", "report": report}));
    }

    /// There was no run.
    pub(crate) fn refused(&self, kind: &str, why: &str, exit_code: u8) {
        self.line(&json!({
            "event": "refused", "kind": kind, "error": why, "exit_code": exit_code,
        }));
    }

    /// A caller that is gone hears nothing.
    fn line(&self, value: &Value) {
        let line = format!("{value}\n");
        match self
            .writer()
            .map(|mut file| file.write_all(line.as_bytes()))
        {
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    #[test]
    fn requests_come_one_by_one_and_then_the_end() {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
        let control = Control::new(theirs);
        assert_eq!(control.hear(), Heard::Nothing);
        let all = [Request::Signal(15), Request::End, Request::Kill];
        for request in all {
            nix::unistd::write(&ours, &request.bytes()).unwrap();
        }
        for request in all {
            assert_eq!(control.hear(), Heard::Asked(request));
        }
        drop(ours);
        assert_eq!(control.hear(), Heard::Gone);
    }
}
