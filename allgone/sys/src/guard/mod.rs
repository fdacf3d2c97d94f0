//! The guard: a small process that is the parent of a host's jobs, and outlives the host.
//!
//! Its program is in `program/`: no standard library, no C library, no allocation, one thread.
//! `build.rs` compiles it with the compiler that compiles this crate, and it is embedded here
//! ([`PROGRAM`]). [`start`] runs it; `wire` is what is said to it.
//!
//! # The conversation
//!
//! Host and guard share a pair of `SOCK_SEQPACKET` sockets. The host sends requests
//! ([`wire::Spawn`], or a [`wire::Header`] that says [`wire::FINISH`]), each in one message with
//! all its descriptors (`SCM_RIGHTS`). The guard says nothing on this socket. With each request to
//! spawn comes one end of another such pair, the job's *channel*, and the write end of a pipe, the
//! *report*.
//!
//! ```text
//! host                                    guard                      first process of the job
//! SPAWN, channel, report, cgroup, … --->  clone3 into the cgroup --> steps, exec
//!                    channel <----------- STARTED, pidfd
//!                    report  <-------------------------------------- its end: executed
//!                                                                    (or 9 bytes: step and errno)
//!                    channel <----------- ENDED, status, usage  <--- exit
//!                    channel <----------- EMPTY             <------- the last orphan
//! ```
//!
//! `EMPTY` is said after `populated 0` has been read, and only so; a death is no more than a reason
//! to read. After it the guard knows nothing of the job any more, and closes the channel. It
//! removes no cgroup while the host lives: that is for the host, which proves it.
//!
//! # Deaths
//!
//! - *The host's*: the pidfd, the socket's hang-up (exec closes it), or the end of a lock that the
//!   host's process has (an exec, while a fork of it holds a copy of the socket). The guard kills
//!   and removes every child of the base whose name begins with its prefix, and the directories of
//!   such names that limit jobs in v1 hierarchies; then it goes to a cgroup that stays, and removes
//!   its own.
//! - *The guard's*: its second (`program/second.rs`), a copy of it that does nothing else, does the
//!   same at once. Channels and pidfd tell the host.
//! - *The host's and the guard's*: the second does it, also if the guard is killed while it clears
//!   the ground. Only cgroups without members may stay: the guard's own, if it had nothing left to
//!   do but to remove that; and one that the host made afterwards.
//! - *The second's*: the guard forks another.
//! - *Guard and second at once*: nothing outside of the host acts. The channels tell the host,
//!   which has the descriptors to do it, the next time that it looks at the job.
//! - *All three at once*: nothing acts. Jobs live on, unless the same thing has killed them.
//!
//! # When memory runs out
//!
//! A host that the OOM killer ends is dead like any other. But where `memory.oom.group` is set, the
//! kernel ends a whole cgroup at once: the highest one that has it set, from the victim's cgroup up
//! to the one whose memory has run out, with all below.
//!
//! - The guard is not below that cgroup (the base is beside the host's cgroup): nothing is special.
//! - It is below it, as with a base in the host's own cgroup, and has `CAP_SYS_RESOURCE`: the
//!   kernel spares guard and second, whose score adjustment is -1000 (proc_pid_oom_score_adj(5)),
//!   and they remove what is left. A job gets what the host had when the guard was started.
//! - It is below it and lacks the capability: all die at once, the jobs too, because their cgroups
//!   are below the same one. Nothing lives, unless it has taken -1000 itself. Cgroups without
//!   members stay, until somebody removes them, as systemd does when a unit ends.
//! - A fork instead of a program ([`How::Fork`]) is never spared: its memory is the host's.
//!
//! Until the first job has been started, a kill of this kind may leave the guard's cgroup and an
//! empty one for that job: up to its exec the guard shares the host's memory, and the kernel ends
//! all that share it.
//!
//! # When the processors are busy
//!
//! Guard and second have a session of their own, and so an autogroup (sched(7)), and the shortest
//! slices (Linux 6.12): the same share of the processor, sooner. A job gets the host's slice back.
//! Without short slices a bomb of 120 sessions kept a guard waiting for 140 ms after its host's
//! death in the median and 158 ms in the ninth decile, with them for 36 and 65 ms; nothing was left
//! after 152 and 59 ms in the median, and after 587 and 331 ms at most (`allgone/examples/busy.rs`
//! with a build of either kind, by turns, n = 40 each; Linux 6.18.44, two processors).
//!
//! # What a job gets from the guard
//!
//! Directory, limits, descriptors, and, if asked for, user and umask come with the request. All
//! else is the host's as it was when the guard was started: umask, namespaces, root directory,
//! slice, `oom_score_adj`, ignored signals but `SIGCHLD` and `SIGPIPE` (default), user,
//! capabilities, seccomp filter, priority, affinity, keyring. No signal is blocked.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod program;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod start;
pub mod wire;

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::descriptor;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use start::start;

/// The guard's program, an ELF file. `None`: the architecture is neither x86-64 nor aarch64, or no
/// compiler could be run when this crate was built.
pub const PROGRAM: Option<&[u8]> = embedded();

#[cfg(guard_program)]
const fn embedded() -> Option<&'static [u8]> {
    Some(include_bytes!(concat!(env!("OUT_DIR"), "/allgone-guard")))
}

#[cfg(not(guard_program))]
const fn embedded() -> Option<&'static [u8]> {
    None
}

/// What a guard is born with; see [`wire::born`].
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// The guard's end of the socket.
    pub socket: BorrowedFd<'a>,
    /// The base's directory.
    pub base: BorrowedFd<'a>,
    /// The host's pidfd.
    pub host: BorrowedFd<'a>,
    /// `cgroup.procs` of a cgroup that stays, open for writing.
    pub home: BorrowedFd<'a>,
    /// What [`locked`] returned.
    pub lock: BorrowedFd<'a>,
    /// Directories of v1 hierarchies, in which directories with the guard's prefix are removed when
    /// the cgroups are; the base again where there are none.
    pub limits: [BorrowedFd<'a>; 2],
    /// How the names of its cgroups begin.
    pub prefix: &'a CStr,
    /// The name of its own cgroup, a child of the base that does not exist yet.
    pub own: &'a CStr,
}

/// How the program comes to run.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    /// Exec of this file.
    Exec(BorrowedFd<'a>),
    /// No exec: a fork of the host, which copies its page tables.
    Fork,
}

/// A step of the start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// The system call.
    pub step: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

/// An executable file of its own with the program, in memory: memfd_create(2).
///
/// Errors: `ENOENT` nothing is embedded; `EACCES` `vm.memfd_noexec` is 2; what a seccomp policy
/// says.
pub fn program_in_memory() -> Result<OwnedFd, Errno> {
    /// `MFD_EXEC` (Linux 6.3).
    const EXEC: u32 = 0x10;
    let program = PROGRAM.ok_or(Errno::ENOENT)?;
    let file = memory_file(c"allgone-guard", EXEC)?;
    write_all(file, program)
}

/// A file in memory with these bytes, which nobody can shorten: memfd_create(2), fcntl(2)
/// `F_ADD_SEALS`.
pub fn sealed(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = write_all(memory_file(c"allgone-text", NOEXEC_SEAL)?, bytes)?;
    let seals = nix::fcntl::SealFlag::F_SEAL_SHRINK | nix::fcntl::SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// A file whose byte 0 this process has locked for writing (fcntl(2) `F_SETLK`), until it closes a
/// descriptor of it, ends, or becomes another program. Forks do not have the lock.
///
/// Errors: `EACCES` the kernel has no locks on files (`CONFIG_FILE_LOCKING`); memfd_create(2).
pub fn locked() -> Result<OwnedFd, Errno> {
    /// `F_WRLCK`.
    const WRITE_LOCK: libc::c_short = 1;
    let file = memory_file(c"allgone-host", NOEXEC_SEAL)?;
    let lock = libc::flock {
        l_type: WRITE_LOCK,
        l_whence: 0,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&lock))?;
    Ok(file)
}

/// One message from a socket, and the first descriptor that came with it. Never sleeps. 0 bytes:
/// the other end is closed.
///
/// Source: recvmsg(2), `SCM_RIGHTS` in unix(7). Errors: `EAGAIN` there is none; `EMFILE` there was
/// no room for the descriptor.
pub fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let (length, fds) = descriptor::receive(socket, bytes)?;
    Ok((length, fds.into_iter().next()))
}

/// `MFD_NOEXEC_SEAL` (Linux 6.3).
const NOEXEC_SEAL: u32 = 0x8;

/// A new file; `flag` only where the kernel knows it.
fn memory_file(name: &CStr, flag: u32) -> Result<OwnedFd, Errno> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match memfd_create(name, flags | MFdFlags::from_bits_retain(flag)) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        made => made,
    }
}

fn write_all(file: OwnedFd, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let mut file = std::fs::File::from(file);
    let written = file.write_all(bytes);
    written.map_err(|e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(file.into())
}

/// As on the architectures that have it; here it fails with `ENOSYS`.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn start(_: &Birth<'_>, _: How<'_>) -> Result<OwnedFd, StartFailure> {
    Err(StartFailure {
        step: "start the guard on this architecture",
        errno: Errno::ENOSYS,
    })
}
