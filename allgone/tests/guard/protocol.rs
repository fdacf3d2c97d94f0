//! What the guard makes of requests that do not keep to the protocol.

use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use allgone::sys::guard::wire::{self, Header, Notice, Spawn};
use allgone::sys::guard::{self, Birth, How, receive};
use allgone::sys::pidfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use nix::unistd::Pid;

use crate::Test;
use crate::base::{Base, PATIENCE};

pub(crate) const TESTS: &[Test] = &[(
    "what_is_no_request_is_refused",
    what_is_no_request_is_refused,
)];

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap()
}

fn send(socket: &OwnedFd, bytes: &[u8], fds: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        rights,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
}

fn what_is_no_request_is_refused() {
    let base = Base::must();
    let (socket, its_socket) = pair();
    let (program, lock) = (
        guard::program_in_memory().unwrap(),
        guard::locked().unwrap(),
    );
    let host = pidfd::open(Pid::this()).unwrap();
    let prefix = CString::new("test.").unwrap();
    let birth = Birth {
        socket: its_socket.as_fd(),
        base: base.cgroup.as_fd(),
        host: host.as_fd(),
        home: base.cgroup.as_fd(),
        lock: lock.as_fd(),
        limits: [base.cgroup.as_fd(); 2],
        prefix: &prefix,
        own: c"test.guard",
    };
    let pidfd = guard::start(&birth, How::Exec(program.as_fd())).unwrap();
    drop(its_socket);

    let good = Spawn {
        header: Header {
            version: wire::VERSION,
            kind: wire::SPAWN,
            bytes: 0,
        },
        paths: 1,
        ..Spawn::default()
    };
    let with = |change: &dyn Fn(&mut Spawn)| {
        let mut spawn = good;
        spawn.header.bytes = u32::try_from(size_of::<Spawn>()).unwrap();
        change(&mut spawn);
        wire::bytes(&spawn).to_vec()
    };
    let bad: [(Vec<u8>, usize, Errno); 10] = [
        (b"x".to_vec(), 4, Errno::EBADMSG),
        (with(&|s| s.header.version += 1), 4, Errno::EBADMSG),
        (with(&|s| s.header.kind = 77), 4, Errno::EBADMSG),
        (with(&|s| s.header.bytes += 1), 4, Errno::EBADMSG),
        (with(&|s| s.limits = u32::MAX), 4, Errno::EBADMSG),
        (with(&|s| s.given = 1), 4, Errno::EBADMSG),
        (with(&|s| s.text = 1), 4, Errno::EBADMSG),
        (with(&|_| ()), 3, Errno::EBADMSG),
        (
            with(&|s| (s.flags, s.text) = (wire::TEXT_FILE, u32::MAX)),
            5,
            Errno::EBADMSG,
        ),
        (vec![0; wire::REQUEST_BYTES + 1], 4, Errno::E2BIG),
    ];
    for (bytes, count, errno) in bad {
        let (channel, its_channel) = pair();
        // All the same descriptor: none is looked at.
        let fds = vec![its_channel.as_raw_fd(); count];
        send(&socket, &bytes, &fds);
        drop(its_channel);
        let mut ready = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut ready, patience), Ok(1), "{bytes:?}");
        let mut answer = [0u8; size_of::<Notice>()];
        let (length, fd) = receive(channel.as_fd(), &mut answer).unwrap();
        assert_eq!((length, fd.is_none()), (answer.len(), true));
        let (notice, _) = wire::take::<Notice>(&answer).unwrap();
        assert_eq!(
            (notice.kind, Errno::from_raw(notice.code)),
            (wire::REFUSED, errno)
        );
        assert_eq!(poll(&mut ready, patience), Ok(1));
        assert_eq!(
            receive(channel.as_fd(), &mut answer).unwrap().0,
            0,
            "all copies are closed"
        );
        assert_eq!(pidfd::has_exited(pidfd.as_fd()), Ok(false));
    }
    // One with text that has too few strings, and a cgroup that is none.
    let (channel, its_channel) = pair();
    let mut bytes = with(&|s| (s.text, s.header.bytes) = (1, s.header.bytes + 1));
    bytes.push(0);
    send(
        &socket,
        &bytes,
        &[
            its_channel.as_raw_fd(),
            host.as_raw_fd(),
            host.as_raw_fd(),
            host.as_raw_fd(),
        ],
    );
    drop(its_channel);
    let mut ready = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut ready, PollTimeout::try_from(PATIENCE).unwrap()),
        Ok(1)
    );
    let mut answer = [0u8; size_of::<Notice>()];
    receive(channel.as_fd(), &mut answer).unwrap();
    let (notice, _) = wire::take::<Notice>(&answer).unwrap();
    assert_eq!(
        (notice.kind, Errno::from_raw(notice.code)),
        (wire::REFUSED, Errno::ENOTDIR)
    );
    // The end of the socket is the host's.
    drop(socket);
    base.wait_clear(PATIENCE);
}
