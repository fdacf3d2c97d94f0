//! A request to start a program: a short message with descriptors, one of which is a file in memory
//! with all text.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{IoSlice, Read, Seek};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use allgone::SysError;
use allgone::error::retry_eintr;
use allgone::sys::{descriptor, guard};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Grows when the other side would misread it.
const VERSION: u32 = 1;

/// How long the launchers' parent may take to read a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is always sent: channel, text, directory, three streams.
const ALWAYS: usize = 6;

/// A request as it is sent.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) channel: BorrowedFd<'a>,
    /// The options of `allgone run`, `--`, and the program with its arguments.
    pub(super) words: &'a [OsString],
    pub(super) env: &'a [CString],
    pub(super) dir: BorrowedFd<'a>,
    pub(super) streams: [BorrowedFd<'a>; 3],
    pub(super) lease: Option<BorrowedFd<'a>>,
}

/// A request as it is received.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) channel: OwnedFd,
    pub(super) words: Vec<OsString>,
    pub(super) env: Vec<CString>,
    pub(super) dir: OwnedFd,
    pub(super) streams: [OwnedFd; 3],
    pub(super) lease: Option<OwnedFd>,
}

impl Outgoing<'_> {
    /// Sends it, and waits a while if there is no room.
    ///
    /// Errors: `EPIPE` or `ECONNRESET` there is no reader any more.
    pub(super) fn send(&self, socket: BorrowedFd<'_>) -> Result<(), SysError> {
        let failed = |op| move |errno| SysError::plain(op, errno);
        let mut text = Vec::new();
        let words = self.words.iter().map(|word| word.as_bytes());
        let env = self.env.iter().map(|variable| variable.to_bytes());
        for line in words.chain(env) {
            if line.contains(&0) {
                return Err(failed("pass on an argument with a zero byte")(
                    Errno::EINVAL,
                ));
            }
            text.extend_from_slice(line);
            text.push(0);
        }
        let text = guard::sealed(&text).map_err(failed("memfd_create"))?;
        let count = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        let header = [VERSION, count].map(u32::to_ne_bytes).concat();
        let mut fds: Vec<RawFd> = vec![
            self.channel.as_raw_fd(),
            text.as_raw_fd(),
            self.dir.as_raw_fd(),
        ];
        fds.extend(self.streams.iter().map(AsRawFd::as_raw_fd));
        fds.extend(self.lease.iter().map(AsRawFd::as_raw_fd));
        let rights = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let message = [IoSlice::new(&header)];
        loop {
            let to = socket.as_raw_fd();
            match retry_eintr(|| sendmsg::<()>(to, &message, &rights, flags, None)) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(failed("send a request")(errno)),
            }
            let mut room = [PollFd::new(socket, PollFlags::POLLOUT)];
            let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            if retry_eintr(|| poll(&mut room, limit)).map_err(failed("poll"))? == 0 {
                return Err(failed("send a request")(Errno::ETIMEDOUT));
            }
        }
    }
}

/// What a message was.
#[derive(Debug)]
pub(super) enum Received {
    Request(Incoming),
    /// There was none, or none that can be understood.
    Nothing,
    /// The host is gone.
    End,
}

/// The next request. Never sleeps.
pub(super) fn receive(socket: BorrowedFd<'_>) -> Received {
    let mut header = [0; 8];
    let (length, fds) = match descriptor::receive(socket, &mut header) {
        Ok((0, _)) | Err(Errno::ECONNRESET) => return Received::End,
        Ok(received) => received,
        Err(_) => return Received::Nothing,
    };
    let [a, b, c, d, count @ ..] = header;
    if length != header.len() || u32::from_ne_bytes([a, b, c, d]) != VERSION {
        return Received::Nothing;
    }
    let count = usize::try_from(u32::from_ne_bytes(count)).unwrap_or(usize::MAX);
    incoming(count, fds).map_or(Received::Nothing, Received::Request)
}

fn incoming(words: usize, mut fds: Vec<OwnedFd>) -> Option<Incoming> {
    let lease = if fds.len() > ALWAYS { fds.pop() } else { None };
    let [channel, text, dir, a, b, c] = <[OwnedFd; ALWAYS]>::try_from(fds).ok()?;
    let mut bytes = Vec::new();
    let mut file = File::from(text);
    file.rewind().ok()?;
    file.read_to_end(&mut bytes).ok()?;
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // Behind the last zero there is nothing.
    lines.pop();
    if lines.len() < words {
        return None;
    }
    let env = lines.split_off(words);
    Some(Incoming {
        channel,
        words: lines.into_iter().map(OsString::from_vec).collect(),
        env: env
            .into_iter()
            .filter_map(|line| CString::new(line).ok())
            .collect(),
        dir,
        streams: [a, b, c],
        lease,
    })
}

/// A variable as programs get it.
pub(super) fn variable(name: &OsStr, value: &OsStr) -> Result<CString, SysError> {
    let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
    CString::new(bytes)
        .map_err(|_| SysError::plain("pass on a variable with a zero byte", Errno::EINVAL))
}
