//! What is set up for a program: typed steps as data, each one system call (a write to a file:
//! open, write and close), or the few that only make sense together (a bind that is read-only
//! before it is seen).
//!
//! Sources: mount(2), mkdirat(2), prctl(2), setrlimit(2), user_namespaces(7), cgroups(7).

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use super::files::FileStep;
use super::filter::Instruction;
use super::locks::LockStep;
use super::steps::Rlimit;
use crate::bpf::Hook;
use crate::privilege::Credentials;
use crate::{check, privilege};

/// A file by its path below a directory, and what is written to it in one `write(2)`.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// The path below it.
    pub path: &'a CStr,
    /// What to write.
    pub text: &'a CStr,
}

impl File<'_> {
    /// Writes it. Async-signal-safe. Errors: as openat(2) and write(2).
    pub fn write(self) -> Result<(), Errno> {
        write_file(self.dir.as_raw_fd(), self.path, self.text)
    }
}

/// One thing to set up.
#[derive(Clone, Copy, Debug)]
pub enum Setup<'a> {
    /// Writes `text` to the file `path`, in one `write(2)`.
    Write {
        /// The file.
        path: &'a CStr,
        /// What to write.
        text: &'a CStr,
    },
    /// `PR_SET_PDEATHSIG`: this signal when the thread ends that called `clone3`.
    DeathSignal(i32),
    /// `PR_SET_DUMPABLE 0`: the program, which may have the same user, can neither trace this
    /// process nor read its memory. Exec takes it back.
    NotDumpable,
    /// `PR_SET_DUMPABLE 1`: processes of the same user may trace this one, as its init is about to.
    Dumpable,
    /// `close(2)` of one end of a pipe, `read(2)` from the other: waits until the launcher has
    /// written a byte. `EPIPE`: it is gone.
    Await {
        /// What is read from.
        gate: BorrowedFd<'a>,
        /// The launcher's end, of which this process has a copy.
        opener: BorrowedFd<'a>,
    },
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// `PR_SET_CHILD_SUBREAPER`: orphans of the tree become this process's children.
    Subreaper,
    /// `setsid(2)`: a session and a process group of its own.
    Session,
    /// Becomes another user for good, as [`become_user`](crate::privilege::become_user) does.
    User(Credentials),
    /// `mount(2)`.
    Mount {
        /// What.
        source: &'a CStr,
        /// Where.
        target: &'a CStr,
        /// The file system, if one is made.
        kind: Option<&'a CStr>,
        /// `MS_…`.
        flags: libc::c_ulong,
        /// Its options.
        options: Option<&'a CStr>,
    },
    /// `mkdirat(2)` of the cgroup; the launched process is its maker, so that it can remove it if
    /// the launcher is gone. Nothing of that name is shared: `EEXIST` is an error.
    MakeCgroup {
        /// The directory above.
        parent: BorrowedFd<'a>,
        /// Its name.
        name: &'a CStr,
    },
    /// `openat(2)` of the cgroup that [`Setup::MakeCgroup`] made; main is born in it.
    OpenCgroup {
        /// The directory above.
        parent: BorrowedFd<'a>,
        /// Its name.
        name: &'a CStr,
    },
    /// `mkdirat(2)` of a further cgroup, in a v1 hierarchy.
    MakeDir {
        /// The directory above.
        parent: BorrowedFd<'a>,
        /// Its name.
        name: &'a CStr,
    },
    /// Writes to a file below a directory that the launcher has opened.
    WriteIn(File<'a>),
    /// Opens such a file for writing and closes it again: it will be needed.
    Needs(File<'a>),
    /// Writes to a file of that cgroup. `ECANCELED`: there is none.
    Cgroup {
        /// The file.
        file: &'a CStr,
        /// What to write.
        text: &'a CStr,
    },
    /// `bpf(2)` `BPF_PROG_ATTACH` to that cgroup: a program on its network. `ECANCELED`: there is
    /// none.
    Attach {
        /// The loaded program.
        program: BorrowedFd<'a>,
        /// What it decides about.
        hook: Hook,
    },
    /// Opens a file of that cgroup to read processor time from. `ECANCELED`: there is none.
    OpenCpuStat,
    /// `setrlimit(2)`.
    Limit(Rlimit),
    /// `seccomp(2)`: a filter of system calls. Needs `no_new_privs`, or `CAP_SYS_ADMIN`.
    Filter(&'a [Instruction]),
    /// A root of its own.
    Files(FileStep<'a>),
    /// What is taken away.
    Lock(LockStep),
    /// `landlock_restrict_self(2)`: these rules ([`crate::landlock`]) are in force.
    Landlock(BorrowedFd<'a>),
}

/// What steps make for those after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Whether the cgroup is ours.
    pub(super) cgroup_made: bool,
    /// The directory of the cgroup, or -1.
    pub(super) cgroup: RawFd,
    /// Its `cpu.stat`, or -1.
    pub(super) cpu_stat: RawFd,
}

impl Made {
    pub(super) const NOTHING: Self = Self {
        cgroup_made: false,
        cgroup: -1,
        cpu_stat: -1,
    };
}

impl Setup<'_> {
    /// Makes the step. Async-signal-safe.
    pub(super) fn make(self, made: &mut Made) -> Result<(), Errno> {
        match self {
            Self::Write { path, text } => write_file(libc::AT_FDCWD, path, text),
            Self::DeathSignal(signal) => prctl(libc::PR_SET_PDEATHSIG, signal),
            Self::NotDumpable => prctl(libc::PR_SET_DUMPABLE, 0),
            Self::Dumpable => prctl(libc::PR_SET_DUMPABLE, 1),
            Self::Await { gate, opener } => wait_for(gate, opener),
            Self::NoNewPrivs => prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
            Self::Subreaper => prctl(libc::PR_SET_CHILD_SUBREAPER, 1),
            // SAFETY: no arguments.
            Self::Session => check(libc::c_long::from(unsafe { libc::setsid() })).map(|_| ()),
            Self::User(user) => privilege::become_user(user),
            Self::Mount {
                source,
                target,
                kind,
                flags,
                options,
            } => {
                let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
                // SAFETY: live strings, or null where the call allows it.
                let ret = unsafe {
                    libc::mount(
                        source.as_ptr(),
                        target.as_ptr(),
                        pointer(kind),
                        flags,
                        pointer(options).cast(),
                    )
                };
                check(libc::c_long::from(ret)).map(|_| ())
            }
            Self::MakeCgroup { parent, name } => {
                make_dir(parent, name)?;
                made.cgroup_made = true;
                Ok(())
            }
            Self::MakeDir { parent, name } => make_dir(parent, name),
            Self::WriteIn(file) => file.write(),
            Self::Needs(file) => {
                let opened = open(file.dir.as_raw_fd(), file.path, libc::O_WRONLY)?;
                // SAFETY: opened above; nothing else has the number.
                unsafe { libc::close(opened) };
                Ok(())
            }
            Self::OpenCgroup { parent, name } if made.cgroup_made => {
                let flags = libc::O_DIRECTORY | libc::O_RDONLY;
                made.cgroup = open(parent.as_raw_fd(), name, flags)?;
                Ok(())
            }
            Self::Cgroup { file, text } if made.cgroup >= 0 => write_file(made.cgroup, file, text),
            Self::Attach { program, hook } if made.cgroup >= 0 => {
                // SAFETY: opened by a step of this process, and not closed before.
                let cgroup = unsafe { BorrowedFd::borrow_raw(made.cgroup) };
                crate::bpf::attach(program, cgroup, hook)
            }
            Self::OpenCpuStat if made.cgroup >= 0 => {
                made.cpu_stat = open(made.cgroup, c"cpu.stat", libc::O_RDONLY)?;
                Ok(())
            }
            Self::OpenCgroup { .. }
            | Self::Cgroup { .. }
            | Self::Attach { .. }
            | Self::OpenCpuStat => Err(Errno::ECANCELED),
            Self::Limit(limit) => super::child::set_limit(limit),
            Self::Filter(filter) => super::filter::install(filter),
            Self::Files(step) => step.make(),
            Self::Lock(step) => step.make(),
            Self::Landlock(rules) => crate::landlock::restrict(rules),
        }
    }
}

fn wait_for(gate: BorrowedFd<'_>, opener: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: this process's copy, which nothing here uses again.
    unsafe { libc::close(opener.as_raw_fd()) };
    let mut byte = 0u8;
    loop {
        // SAFETY: one writable byte.
        let read = unsafe { libc::read(gate.as_raw_fd(), std::ptr::from_mut(&mut byte).cast(), 1) };
        match check(read as libc::c_long) {
            Ok(0) => return Err(Errno::EPIPE),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn prctl(option: libc::c_int, value: i32) -> Result<(), Errno> {
    // SAFETY: the options that are used here take integers.
    let ret = unsafe { libc::prctl(option, libc::c_long::from(value), 0, 0, 0) };
    check(libc::c_long::from(ret)).map(|_| ())
}

fn open(dir: RawFd, path: &CStr, flags: libc::c_int) -> Result<RawFd, Errno> {
    // SAFETY: a live string and integers.
    let fd = unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC) };
    let fd = check(libc::c_long::from(fd))?;
    RawFd::try_from(fd).map_err(|_| Errno::EBADF)
}

fn make_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: a live string and integers.
    let ret = unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) };
    check(libc::c_long::from(ret)).map(|_| ())
}

fn write_file(dir: RawFd, path: &CStr, text: &CStr) -> Result<(), Errno> {
    let file = open(dir, path, libc::O_WRONLY)?;
    let bytes = text.to_bytes();
    // SAFETY: the bytes are live for the call.
    let ret = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
    let written = check(ret as libc::c_long).map(|_| ());
    // SAFETY: opened above; nothing else has the number.
    unsafe { libc::close(file) };
    written
}

/// Reads from the beginning of a file; how much of the room was filled. Async-signal-safe.
pub(super) fn read_file(dir: RawFd, path: &CStr, room: &mut [u8]) -> Result<usize, Errno> {
    let file = open(dir, path, libc::O_RDONLY)?;
    // SAFETY: the buffer is writable and as long as it says.
    let ret = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
    let read = check(ret as libc::c_long);
    // SAFETY: opened above; nothing else has the number.
    unsafe { libc::close(file) };
    usize::try_from(read?).map_err(|_| Errno::EIO)
}

/// Moves this process into a cgroup by its directory. Async-signal-safe.
pub(super) fn join(cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    write_file(cgroup.as_raw_fd(), c"cgroup.procs", c"0")
}

/// Removes the cgroup `name` in `parent`, and what its members have made in it. Async-signal-safe.
/// Errors: `EBUSY` one of them has members.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn remove_cgroup(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let parent = parent.as_raw_fd();
    crate::bare::tree::remove_tree(parent, name).map_err(|errno| Errno::from_raw(errno.0))
}

/// Removes the cgroup `name` in `parent`. Async-signal-safe. Errors: `EBUSY` it has members, or
/// they have made others in it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn remove_cgroup(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: a live string and integers.
    let ret = unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) };
    check(libc::c_long::from(ret)).map(|_| ())
}

/// As in the output of strace.
impl fmt::Display for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, text } => write!(f, "write({path:?}, {text:?})"),
            Self::DeathSignal(signal) => write!(f, "prctl(PR_SET_PDEATHSIG, {signal})"),
            Self::NotDumpable => f.write_str("prctl(PR_SET_DUMPABLE, 0)"),
            Self::Dumpable => f.write_str("prctl(PR_SET_DUMPABLE, 1)"),
            Self::Await { .. } => f.write_str("read(pipe), until the launcher traces this process"),
            Self::NoNewPrivs => f.write_str("prctl(PR_SET_NO_NEW_PRIVS, 1)"),
            Self::Subreaper => f.write_str("prctl(PR_SET_CHILD_SUBREAPER, 1)"),
            Self::Session => f.write_str("setsid()"),
            Self::User(Credentials { uid, gid }) => {
                write!(
                    f,
                    "setgroups(0), setresgid({gid}), setresuid({uid}), capset(none)"
                )
            }
            Self::Mount {
                source,
                target,
                kind,
                flags,
                options,
            } => {
                let (kind, options) = (kind.unwrap_or(c""), options.unwrap_or(c""));
                write!(
                    f,
                    "mount({source:?}, {target:?}, {kind:?}, {flags:#x}, {options:?})"
                )
            }
            Self::MakeCgroup { name, .. } | Self::MakeDir { name, .. } => {
                write!(f, "mkdirat(parent, {name:?})")
            }
            Self::OpenCgroup { name, .. } => write!(f, "openat(parent, {name:?})"),
            Self::WriteIn(File { path, text, .. }) => write!(f, "write(parent/{path:?}, {text:?})"),
            Self::Needs(File { path, .. }) => write!(f, "openat(parent, {path:?}, O_WRONLY)"),
            Self::Cgroup { file, text } => write!(f, "write(cgroup/{file:?}, {text:?})"),
            Self::Attach { hook, .. } => write!(f, "bpf(BPF_PROG_ATTACH, cgroup, {hook:?})"),
            Self::OpenCpuStat => f.write_str("openat(cgroup, \"cpu.stat\")"),
            Self::Limit(limit) => write!(f, "setrlimit({:?}, {})", limit.resource, limit.hard),
            Self::Filter(filter) => {
                let length = filter.len();
                write!(f, "seccomp(SECCOMP_SET_MODE_FILTER, {length} instructions)")
            }
            Self::Files(step) => step.fmt(f),
            Self::Lock(step) => step.fmt(f),
            Self::Landlock(_) => f.write_str("landlock_restrict_self(files, ports, scopes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_needs_a_cgroup_is_cancelled_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let parent = std::fs::File::open(dir.path()).unwrap();
        let (parent, name) = (parent.as_fd(), c"taken");
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        let mut made = Made::NOTHING;
        // A directory of that name that was there before is never taken for ours.
        let refused = Setup::MakeCgroup { parent, name }.make(&mut made);
        assert_eq!(refused, Err(Errno::EEXIST));
        let steps = [
            Setup::OpenCgroup { parent, name },
            Setup::Cgroup {
                file: c"f",
                text: c"1",
            },
            Setup::OpenCpuStat,
        ];
        for step in steps {
            assert_eq!(step.make(&mut made), Err(Errno::ECANCELED), "{step}");
        }
    }
}
