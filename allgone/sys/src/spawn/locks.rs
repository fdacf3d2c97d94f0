//! Steps that take away what a program could do: privileges, descriptors, keys, signals to others.
//!
//! Sources: capabilities(7), keyctl(2), landlock(7), close_range(2), netdevice(7).

use std::fmt;

use nix::errno::Errno;

use crate::{check, privilege};

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;
/// `IFF_UP | IFF_RUNNING`.
const UP: libc::c_short = 0x41;

/// `struct landlock_ruleset_attr`, as of Linux 6.12.
#[repr(C)]
struct Ruleset {
    files: u64,
    ports: u64,
    scoped: u64,
}

/// `struct ifreq`, as far as it is used.
#[repr(C)]
struct Interface {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// One thing that is taken away, or made the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStep {
    /// `PR_CAPBSET_DROP` of every capability, `PR_CAP_AMBIENT_CLEAR_ALL`. Needs `CAP_SETPCAP`.
    NoBounding,
    /// `capset(2)` of no capability.
    NoCapabilities,
    /// `keyctl(2)`: an empty session keyring. A kernel without keys has nothing to take away.
    Keyring,
    /// `landlock_restrict_self(2)`: no signal to, and no abstract socket of, a process outside
    /// (Linux 6.12). Needs `no_new_privs`.
    Scopes,
    /// `close_range(2)` from 3 on (Linux 5.9).
    Descriptors,
    /// `ioctl(2)` `SIOCSIFFLAGS`: the loopback of a network namespace works.
    Loopback,
}

impl LockStep {
    /// Makes the step. Async-signal-safe; for a process with one thread.
    pub(super) fn make(self) -> Result<(), Errno> {
        match self {
            Self::NoBounding => privilege::empty_bounding_set(),
            Self::NoCapabilities => privilege::clear_capabilities(),
            Self::Keyring => {
                // SAFETY: an integer and a null name, which asks for a new keyring.
                let ret =
                    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0usize) };
                match check(ret) {
                    Ok(_) | Err(Errno::ENOSYS) => Ok(()),
                    Err(errno) => Err(errno),
                }
            }
            Self::Scopes => scopes(),
            Self::Descriptors => {
                // SAFETY: integers. Nothing that runs after this step in this process has a
                // descriptor that it uses.
                let ret = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
                check(ret).map(|_| ())
            }
            Self::Loopback => loopback(),
        }
    }
}

fn scopes() -> Result<(), Errno> {
    let ruleset = Ruleset {
        files: 0,
        ports: 0,
        scoped: SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL,
    };
    // SAFETY: a live structure of the size that is passed.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(&ruleset),
            size_of::<Ruleset>(),
            0u32,
        )
    })?;
    // SAFETY: integers.
    let restricted = check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd, 0u32) });
    // SAFETY: made above; nothing else has the number.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    restricted.map(|_| ())
}

fn loopback() -> Result<(), Errno> {
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(b"lo");
    let interface = Interface {
        name,
        flags: UP,
        rest: [0; 22],
    };
    // SAFETY: integers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(socket.into())?;
    let request = libc::SIOCSIFFLAGS as libc::Ioctl;
    // SAFETY: a live structure, as large as the kernel's.
    let ret = unsafe { libc::ioctl(socket, request, std::ptr::from_ref(&interface)) };
    let raised = check(ret.into());
    // SAFETY: made above; nothing else has the number.
    unsafe { libc::close(socket) };
    raised.map(|_| ())
}

/// As in the output of strace.
impl fmt::Display for LockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBounding => f.write_str("prctl(PR_CAPBSET_DROP, all)"),
            Self::NoCapabilities => f.write_str("capset(none)"),
            Self::Keyring => f.write_str("keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)"),
            Self::Scopes => f.write_str("landlock_restrict_self(signals, abstract sockets)"),
            Self::Descriptors => f.write_str("close_range(3, ~0)"),
            Self::Loopback => f.write_str("ioctl(SIOCSIFFLAGS, \"lo\" up)"),
        }
    }
}
