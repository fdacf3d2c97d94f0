//! Requests to the guard to start a program.

use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::Mode;

use super::RefusedError;
use crate::error::{SysError, retry_eintr};
use crate::spawn::Request;
use crate::sys::guard::sealed;
use crate::sys::guard::wire::{self, Header, Limit, Spawn};
use crate::sys::spawn::Session;

impl Request<'_> {
    fn flags(&self) -> u32 {
        let if_so = |flag: u32, so: bool| if so { flag } else { 0 };
        if_so(wire::SESSION, self.session == Session::New)
            | if_so(wire::GROUP, self.session == Session::Group)
            | if_so(wire::CREDENTIALS, self.credentials.is_some())
            | if_so(wire::NO_NEW_PRIVS, self.no_new_privs)
            | if_so(wire::UMASK, self.umask.is_some())
            | if_so(wire::DIRECTORY, self.dir.is_some())
    }

    fn text(&self) -> Vec<u8> {
        let lists = [self.paths, self.argv, self.envp].into_iter().flatten();
        let strings = self.dir.into_iter().chain(lists.map(CString::as_c_str));
        let mut text = Vec::with_capacity(4096);
        strings.for_each(|string| text.extend_from_slice(string.to_bytes_with_nul()));
        text
    }

    /// Every limit: the requested ones, otherwise the current ones. The guard has raised its own on
    /// descriptors.
    fn all_limits(&self) -> Result<Vec<Limit>, Errno> {
        RESOURCES
            .into_iter()
            .map(|resource| {
                let mut asked = self.rlimits.iter().rev();
                let (soft, hard) = match asked.find(|asked| asked.resource == resource) {
                    Some(asked) => (asked.soft, asked.hard),
                    None => getrlimit(resource)?,
                };
                Ok(Limit {
                    resource: resource as u64,
                    soft,
                    hard,
                })
            })
            .collect()
    }

    /// Sends it through `socket`, with its descriptors. Waits at most `timeout` for the guard to
    /// have read others.
    pub(super) fn send(
        &self,
        socket: BorrowedFd<'_>,
        channel: BorrowedFd<'_>,
        report: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        timeout: PollTimeout,
    ) -> Result<(), RefusedError> {
        let sys = |op| move |errno| SysError::plain(op, errno);
        let text = self.text();
        let limits = self.all_limits().map_err(sys("getrlimit"))?;
        bounded(
            "bytes of arguments and environment",
            text.len(),
            wire::TEXT_BYTES,
        )?;
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let fixed = size_of::<Spawn>() + limits.len() * size_of::<Limit>() + self.fds.len() * 4;
        let file: Option<OwnedFd> = if fixed + text.len() > wire::REQUEST_BYTES {
            Some(sealed(&text).map_err(sys("memfd_create"))?)
        } else {
            None
        };
        let inline = if file.is_some() { &[][..] } else { &text[..] };
        let spawn = Spawn {
            header: Header {
                version: wire::VERSION,
                kind: wire::SPAWN,
                bytes: count(fixed + inline.len()),
            },
            flags: self.flags() | if file.is_some() { wire::TEXT_FILE } else { 0 },
            uid: self.credentials.map_or(0, |user| user.uid),
            gid: self.credentials.map_or(0, |user| user.gid),
            umask: self.umask.unwrap_or(0),
            limits: count(limits.len()),
            tasks: count(self.tasks.len()),
            given: count(self.fds.len()),
            paths: count(self.paths.len()),
            args: count(self.argv.len()),
            envs: count(self.envp.len()),
            text: count(text.len()),
        };
        let mut bytes = Vec::with_capacity(fixed + inline.len());
        bytes.extend_from_slice(wire::bytes(&spawn));
        limits
            .iter()
            .for_each(|limit| bytes.extend_from_slice(wire::bytes(limit)));
        self.fds
            .iter()
            .for_each(|(_, number)| bytes.extend_from_slice(wire::bytes(number)));
        bytes.extend_from_slice(inline);

        let here = nix::fcntl::open(
            ".",
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| SysError::path("open the working directory", ".", e))?;
        let mut fds = vec![
            channel.as_raw_fd(),
            report.as_raw_fd(),
            cgroup.as_raw_fd(),
            here.as_raw_fd(),
        ];
        fds.extend(file.iter().map(AsRawFd::as_raw_fd));
        fds.extend(self.tasks.iter().map(AsRawFd::as_raw_fd));
        fds.extend(self.fds.iter().map(|(fd, _)| fd.as_raw_fd()));
        bounded("descriptors", fds.len(), wire::DESCRIPTORS)?;
        send(socket, &bytes, &fds, timeout)
    }
}

/// Every resource that the kernel limits.
const RESOURCES: [Resource; 16] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_STACK,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
];

fn bounded(what: &'static str, count: usize, most: usize) -> Result<(), RefusedError> {
    if count > most {
        return Err(RefusedError::TooLarge { what, count, most });
    }
    Ok(())
}

/// One message. No `SIGPIPE`.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[RawFd],
    timeout: PollTimeout,
) -> Result<(), RefusedError> {
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        let sent = retry_eintr(|| {
            sendmsg::<()>(
                socket.as_raw_fd(),
                &[IoSlice::new(bytes)],
                rights,
                flags,
                None,
            )
        });
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                let ready = retry_eintr(|| poll(&mut room, timeout));
                if ready.map_err(|e| SysError::plain("poll", e))? == 0 {
                    return Err(RefusedError::Late(super::PATIENCE.as_secs()));
                }
            }
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(RefusedError::Died),
            Err(errno) => return Err(SysError::plain("send to the guard", errno).into()),
        }
    }
}
