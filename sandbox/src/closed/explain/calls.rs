//! Which argument of a system call says what it is about.

use nix::libc;

/// Where a call says what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A path, relative to a directory's descriptor if that is named.
    Path { dir: Option<usize>, path: usize },
    /// An address, with its length.
    Address { at: usize, length: usize },
    /// A `struct msghdr` that begins with one.
    Message(usize),
    /// Neither.
    Nothing,
}

/// Whether a call changes what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    No,
    /// The file, which is there.
    File,
    /// The directory in which it is.
    Directory,
    /// As the flags of open(2) in this argument say.
    Flags(usize),
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: libc::c_long,
    pub(super) name: &'static str,
    pub(super) about: About,
    pub(super) changes: Changes,
}

impl Call {
    /// The call of this number; `None`: nothing is said of it.
    pub(super) fn of(number: u64) -> Option<&'static Self> {
        let number = libc::c_long::try_from(number).ok()?;
        let mut all = CALLS.iter().chain(OF_MACHINE);
        all.find(|call| call.number == number)
    }
}

const fn path(path: usize) -> About {
    About::Path { dir: None, path }
}

const fn at(dir: usize, path: usize) -> About {
    About::Path {
        dir: Some(dir),
        path,
    }
}

macro_rules! call {
    ($name:ident, $number:ident, $about:expr, $changes:expr) => {
        Call {
            number: libc::$number,
            name: stringify!($name),
            about: $about,
            changes: $changes,
        }
    };
}

use About::{Address, Message, Nothing};
use Changes::{Directory, File, Flags, No};

const CALLS: &[Call] = &[
    call!(openat, SYS_openat, at(0, 1), Flags(2)),
    call!(openat2, SYS_openat2, at(0, 1), No),
    call!(newfstatat, SYS_newfstatat, at(0, 1), No),
    call!(statx, SYS_statx, at(0, 1), No),
    call!(faccessat, SYS_faccessat, at(0, 1), No),
    call!(faccessat2, SYS_faccessat2, at(0, 1), No),
    call!(readlinkat, SYS_readlinkat, at(0, 1), No),
    call!(execve, SYS_execve, path(0), No),
    call!(execveat, SYS_execveat, at(0, 1), No),
    call!(chdir, SYS_chdir, path(0), No),
    call!(statfs, SYS_statfs, path(0), No),
    call!(inotify_add_watch, SYS_inotify_add_watch, path(1), No),
    call!(mkdirat, SYS_mkdirat, at(0, 1), Directory),
    call!(mknodat, SYS_mknodat, at(0, 1), Directory),
    call!(unlinkat, SYS_unlinkat, at(0, 1), Directory),
    call!(symlinkat, SYS_symlinkat, at(1, 2), Directory),
    call!(linkat, SYS_linkat, at(2, 3), Directory),
    call!(renameat2, SYS_renameat2, at(0, 1), Directory),
    call!(fchmodat, SYS_fchmodat, at(0, 1), File),
    call!(fchmodat2, SYS_fchmodat2, at(0, 1), File),
    call!(fchownat, SYS_fchownat, at(0, 1), File),
    call!(utimensat, SYS_utimensat, at(0, 1), File),
    call!(truncate, SYS_truncate, path(0), File),
    call!(setxattr, SYS_setxattr, path(0), File),
    call!(connect, SYS_connect, Address { at: 1, length: 2 }, No),
    call!(bind, SYS_bind, Address { at: 1, length: 2 }, No),
    call!(sendto, SYS_sendto, Address { at: 4, length: 5 }, No),
    call!(sendmsg, SYS_sendmsg, Message(1), No),
    call!(socket, SYS_socket, Nothing, No),
    call!(socketpair, SYS_socketpair, Nothing, No),
    call!(clone, SYS_clone, Nothing, No),
    call!(write, SYS_write, Nothing, No),
    call!(writev, SYS_writev, Nothing, No),
    call!(pwrite64, SYS_pwrite64, Nothing, No),
    call!(ftruncate, SYS_ftruncate, Nothing, No),
    call!(fallocate, SYS_fallocate, Nothing, No),
    call!(sendfile, SYS_sendfile, Nothing, No),
    call!(copy_file_range, SYS_copy_file_range, Nothing, No),
    call!(dup, SYS_dup, Nothing, No),
    call!(pipe2, SYS_pipe2, Nothing, No),
    call!(fchmod, SYS_fchmod, Nothing, No),
    call!(ioctl, SYS_ioctl, Nothing, No),
    call!(personality, SYS_personality, Nothing, No),
    call!(prlimit64, SYS_prlimit64, Nothing, No),
];

#[cfg(target_arch = "x86_64")]
const OF_MACHINE: &[Call] = &[
    call!(open, SYS_open, path(0), Flags(1)),
    call!(creat, SYS_creat, path(0), Directory),
    call!(stat, SYS_stat, path(0), No),
    call!(lstat, SYS_lstat, path(0), No),
    call!(access, SYS_access, path(0), No),
    call!(readlink, SYS_readlink, path(0), No),
    call!(mkdir, SYS_mkdir, path(0), Directory),
    call!(rmdir, SYS_rmdir, path(0), Directory),
    call!(mknod, SYS_mknod, path(0), Directory),
    call!(unlink, SYS_unlink, path(0), Directory),
    call!(symlink, SYS_symlink, path(1), Directory),
    call!(link, SYS_link, path(1), Directory),
    call!(rename, SYS_rename, path(0), Directory),
    call!(renameat, SYS_renameat, at(0, 1), Directory),
    call!(chmod, SYS_chmod, path(0), File),
    call!(chown, SYS_chown, path(0), File),
    call!(lchown, SYS_lchown, path(0), File),
    call!(utimes, SYS_utimes, path(0), File),
    call!(fork, SYS_fork, Nothing, No),
    call!(vfork, SYS_vfork, Nothing, No),
    call!(dup2, SYS_dup2, Nothing, No),
    call!(pipe, SYS_pipe, Nothing, No),
];
#[cfg(not(target_arch = "x86_64"))]
const OF_MACHINE: &[Call] = &[];
