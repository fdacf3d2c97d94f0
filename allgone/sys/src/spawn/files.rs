//! Steps that give a program a root of its own: what it sees of the host's files is bound into a
//! file system in memory, and that becomes the root.
//!
//! All paths are relative to the working directory, which is the new root until [`FileStep::Root`];
//! sources of binds are paths of the host. Targets are looked up below the new root without
//! following symbolic links, so that a planted one leads nowhere.
//!
//! Sources: open_tree(2), move_mount(2) (Linux 5.2), mount_setattr(2) (Linux 5.12), openat2(2)
//! (Linux 5.6), pivot_root(2), unix(7) `SCM_RIGHTS`.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use crate::check;

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: u64 = 1;
/// `MOUNT_ATTR_NOSUID`.
pub const NO_SUID: u64 = 2;
/// `MOUNT_ATTR_NODEV`.
pub const NO_DEV: u64 = 4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NO_EXEC: u64 = 8;
/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x0010_0000;

const OPEN_TREE_CLONE: libc::c_int = 1;
const AT_RECURSIVE: libc::c_int = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_int = 0x40;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const RESOLVE_BENEATH: u64 = 8;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// A part of a tree, with all that is mounted below it, shown at another place.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// What.
    pub source: &'a CStr,
    /// Where, below the new root.
    pub target: &'a CStr,
    /// [`READ_ONLY`], [`NO_SUID`], …: in force before it is seen.
    pub attributes: u64,
    /// A user namespace through which its owners are seen (`MOUNT_ATTR_IDMAP`).
    pub owners: Option<BorrowedFd<'a>>,
}

/// One thing about files.
#[derive(Clone, Copy, Debug)]
pub enum FileStep<'a> {
    /// `open_tree(2)`, `mount_setattr(2)`, `move_mount(2)`.
    Bind(Bind<'a>),
    /// `mkdirat(2)`, then `fchmodat(2)`, and `fchownat(2)` if it is to belong to another user.
    /// What is there already is left as it is.
    Dir {
        /// Where.
        path: &'a CStr,
        /// Its permissions.
        mode: libc::mode_t,
        /// User and group.
        owner: Option<(u32, u32)>,
    },
    /// `openat(2)`: an empty file, to mount on.
    File {
        /// Where.
        path: &'a CStr,
    },
    /// `symlinkat(2)`.
    Symlink {
        /// What it says.
        target: &'a CStr,
        /// Where.
        path: &'a CStr,
    },
    /// `openat(2)`, `sendfile(2)` and `close(2)`: a copy of an open file.
    Copy {
        /// Of what.
        file: BorrowedFd<'a>,
        /// Where.
        path: &'a CStr,
        /// Its permissions.
        mode: libc::mode_t,
        /// User and group.
        owner: Option<(u32, u32)>,
    },
    /// `chdir(2)`.
    Enter(&'a CStr),
    /// `openat(2)` of the working directory, `sendmsg(2)`: whoever has the other end of the socket
    /// can read what is in it after everything has ended.
    Lend(BorrowedFd<'a>),
    /// `pivot_root(2)`, `umount2(2)`, `chdir(2)`: the working directory, which something is mounted
    /// on, becomes the root, and the host's tree is no more.
    Root,
}

impl FileStep<'_> {
    /// Makes the step. Async-signal-safe.
    pub(super) fn make(self) -> Result<(), Errno> {
        match self {
            Self::Bind(bind) => bind.make(),
            Self::Dir { path, mode, owner } => make_dir(path, mode, owner),
            Self::File { path } => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
                create(path, flags, 0o644).map(close)
            }
            Self::Symlink { target, path } => {
                // SAFETY: live strings.
                let ret = unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) };
                done(ret)
            }
            Self::Copy {
                file,
                path,
                mode,
                owner,
            } => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW;
                let to = create(path, flags, 0o600)?;
                let copied = copy(file, to).and_then(|()| permit(to, mode, owner));
                close(to);
                copied
            }
            // SAFETY: a live string.
            Self::Enter(path) => done(unsafe { libc::chdir(path.as_ptr()) }),
            Self::Lend(socket) => {
                let here = create(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
                let sent = send(socket, here);
                close(here);
                sent
            }
            Self::Root => {
                // SAFETY: live strings.
                check(unsafe {
                    libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr())
                })?;
                // The host's tree lies on the new root now, and is taken off.
                // SAFETY: a live string.
                done(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })?;
                // SAFETY: a live string.
                done(unsafe { libc::chdir(c"/".as_ptr()) })
            }
        }
    }
}

impl Bind<'_> {
    fn make(self) -> Result<(), Errno> {
        let tree = open_tree(self.source)?;
        let made = self.protect(tree).and_then(|()| attach(tree, self.target));
        close(tree);
        made
    }

    fn protect(self, tree: RawFd) -> Result<(), Errno> {
        let owners = self.owners.map(|owners| owners.as_raw_fd().unsigned_abs());
        let attr = MountAttr {
            set: self.attributes | if owners.is_some() { IDMAP } else { 0 },
            clear: 0,
            propagation: 0,
            userns: owners.unwrap_or(0).into(),
        };
        // SAFETY: a live string and a live structure of the size that is passed.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                tree,
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | AT_RECURSIVE,
                std::ptr::from_ref(&attr),
                size_of::<MountAttr>(),
            )
        };
        check(ret).map(|_| ())
    }
}

/// A copy of the mounts at and below `path`, which nothing sees yet.
fn open_tree(path: &CStr) -> Result<RawFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | AT_RECURSIVE;
    // SAFETY: a live string and integers.
    let ret = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    number(ret)
}

/// Mounts it at a path below the working directory that no symbolic link is part of.
fn attach(tree: RawFd, target: &CStr) -> Result<(), Errno> {
    let how = OpenHow {
        flags: (libc::O_PATH | libc::O_CLOEXEC).unsigned_abs().into(),
        mode: 0,
        resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    // SAFETY: a live string and a live structure of the size that is passed.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            target.as_ptr(),
            std::ptr::from_ref(&how),
            size_of::<OpenHow>(),
        )
    };
    let at = number(ret)?;
    // SAFETY: live strings and integers.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree,
            c"".as_ptr(),
            at,
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    let moved = check(ret).map(|_| ());
    close(at);
    moved
}

fn make_dir(path: &CStr, mode: libc::mode_t, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    // SAFETY: a live string and an integer.
    match done(unsafe { libc::mkdir(path.as_ptr(), mode) }) {
        Err(Errno::EEXIST) => return Ok(()),
        made => made?,
    }
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = create(path, flags, 0)?;
    let permitted = permit(dir, mode, owner);
    close(dir);
    permitted
}

/// Whatever the creation mask is.
fn permit(fd: RawFd, mode: libc::mode_t, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner {
        // SAFETY: integers.
        done(unsafe { libc::fchown(fd, uid, gid) })?;
    }
    // SAFETY: integers.
    done(unsafe { libc::fchmod(fd, mode) })
}

fn create(path: &CStr, flags: libc::c_int, mode: libc::c_uint) -> Result<RawFd, Errno> {
    // SAFETY: a live string and integers.
    let ret = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    number(ret.into())
}

/// All of `from`, from where it stands, to `to`.
fn copy(from: BorrowedFd<'_>, to: RawFd) -> Result<(), Errno> {
    loop {
        // SAFETY: integers and a null pointer, which the call allows.
        let ret = unsafe { libc::sendfile(to, from.as_raw_fd(), std::ptr::null_mut(), 1 << 30) };
        match check(ret as libc::c_long) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A control message with one descriptor.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: RawFd,
    /// Up to the alignment of the next one.
    rest: u32,
}

fn send(socket: BorrowedFd<'_>, fd: RawFd) -> Result<(), Errno> {
    let mut byte = [0u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: a plain structure, for which zeroes are valid.
    let mut rights: Rights = unsafe { std::mem::zeroed() };
    rights.header.cmsg_level = libc::SOL_SOCKET;
    rights.header.cmsg_type = libc::SCM_RIGHTS;
    rights.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    rights.fd = fd;
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message and all that it points to is live for the call.
    let ret = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    check(ret as libc::c_long).map(|_| ())
}

fn number(ret: libc::c_long) -> Result<RawFd, Errno> {
    RawFd::try_from(check(ret)?).map_err(|_| Errno::EBADF)
}

fn done(ret: libc::c_int) -> Result<(), Errno> {
    check(ret.into()).map(|_| ())
}

fn close(fd: RawFd) {
    // SAFETY: opened by the caller, which does not use it again.
    unsafe { libc::close(fd) };
}

/// As in the output of strace.
impl fmt::Display for FileStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(bind) => {
                let named = [
                    (READ_ONLY, "ro"),
                    (NO_SUID, "nosuid"),
                    (NO_DEV, "nodev"),
                    (NO_EXEC, "noexec"),
                ];
                let set = named.iter().filter(|(bit, _)| bind.attributes & bit != 0);
                let set: Vec<_> = set.map(|(_, name)| *name).collect();
                let idmap = if bind.owners.is_some() { ", idmap" } else { "" };
                let (source, target) = (bind.source, bind.target);
                let set = set.join(",");
                write!(f, "bind({source:?}, {target:?}, {set}{idmap})")
            }
            Self::Dir { path, mode, owner } => match owner {
                Some((uid, gid)) => write!(f, "mkdir({path:?}, {mode:#o}, {uid}:{gid})"),
                None => write!(f, "mkdir({path:?}, {mode:#o})"),
            },
            Self::File { path } => write!(f, "open({path:?}, O_CREAT)"),
            Self::Symlink { target, path } => write!(f, "symlink({target:?}, {path:?})"),
            Self::Copy { path, mode, .. } => write!(f, "copy(file, {path:?}, {mode:#o})"),
            Self::Enter(path) => write!(f, "chdir({path:?})"),
            Self::Lend(_) => f.write_str("sendmsg(launcher, SCM_RIGHTS \".\")"),
            Self::Root => f.write_str("pivot_root(\".\", \".\"), umount2(\".\", MNT_DETACH)"),
        }
    }
}
