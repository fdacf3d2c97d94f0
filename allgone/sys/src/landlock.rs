//! Landlock without namespaces: a set of rules about files, ports, signals and abstract sockets,
//! which a process imposes on itself.
//!
//! What it does not see: names, sizes and times of files (stat(2), readlink(2)), their permissions,
//! owners, attributes and times (chmod(2), utimensat(2), setxattr(2)), inotify(7), sockets with a
//! path, and every protocol but TCP.
//!
//! Sources: landlock(7), landlock_create_ruleset(2), landlock_add_rule(2),
//! landlock_restrict_self(2), include/uapi/linux/landlock.h. No privilege, but `no_new_privs`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::check;

/// The version that has all of this: Linux 6.12.
pub const NEEDED: u32 = 6;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// All sixteen of version 5.
const ALL_FILES: u64 = (1 << 16) - 1;
/// What can be done to something that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
/// `LANDLOCK_ACCESS_NET_BIND_TCP`, `LANDLOCK_ACCESS_NET_CONNECT_TCP`.
const ALL_PORTS: u64 = 3;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`, `LANDLOCK_SCOPE_SIGNAL`.
const ALL_SCOPES: u64 = 3;

/// `struct landlock_ruleset_attr`, as of Linux 6.12.
#[repr(C)]
struct Attr {
    files: u64,
    ports: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: RawFd,
}

/// What may be done to a file, or below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read, list and execute.
    Read,
    /// That, and change, make and remove.
    Write,
    /// Read, write and control a device.
    Device,
}

impl Access {
    fn bits(self) -> u64 {
        match self {
            Self::Read => EXECUTE | READ_FILE | READ_DIR,
            // Of devices below it none is the program's to control.
            Self::Write => ALL_FILES & !IOCTL_DEV,
            Self::Device => READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV,
        }
    }
}

/// Rules that are not in force yet: everything is forbidden but what they allow.
#[derive(Debug)]
pub struct Rules(OwnedFd);

impl Rules {
    /// No file, no signal to and no abstract socket of a process outside; `ports`: no TCP port.
    ///
    /// Errors: `EOPNOTSUPP` this kernel has less than version [`NEEDED`], or Landlock is disabled.
    pub fn new(ports: bool) -> Result<Self, Errno> {
        if version()? < NEEDED {
            return Err(Errno::EOPNOTSUPP);
        }
        let attr = Attr {
            files: ALL_FILES,
            ports: if ports { ALL_PORTS } else { 0 },
            scoped: ALL_SCOPES,
        };
        // SAFETY: a live structure of the size that is passed.
        let fd = check(unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::from_ref(&attr),
                size_of::<Attr>(),
                0u32,
            )
        })?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor for us; it is closed at exec.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Allows `access` to an open file (`O_PATH` is enough), or to all below an open directory.
    pub fn allow(&self, file: BorrowedFd<'_>, access: Access) -> Result<(), Errno> {
        const PATH_BENEATH: libc::c_int = 1;
        let kind = nix::sys::stat::fstat(file)?.st_mode & libc::S_IFMT;
        let of = if kind == libc::S_IFDIR {
            ALL_FILES
        } else {
            OF_FILES
        };
        let attr = Beneath {
            allowed: access.bits() & of,
            parent: file.as_raw_fd(),
        };
        // SAFETY: a live structure of the kind that is named.
        check(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                PATH_BENEATH,
                std::ptr::from_ref(&attr),
                0u32,
            )
        })
        .map(|_| ())
    }
}

impl AsFd for Rules {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Imposes rules on this process and its children, for ever. Async-signal-safe; for a process with
/// one thread. Errors: `EPERM` without `no_new_privs`.
pub(crate) fn restrict(rules: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: integers.
    let ret = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0u32) };
    check(ret).map(|_| ())
}

/// `LANDLOCK_CREATE_RULESET_VERSION`. 0: there is none.
fn version() -> Result<u32, Errno> {
    // SAFETY: a null pointer and integers, which ask for the version.
    let ret = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1u32) };
    match check(ret) {
        Ok(version) => Ok(u32::try_from(version).unwrap_or(0)),
        Err(Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(0),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_made_where_the_kernel_has_them() {
        let known = version().unwrap() >= NEEDED;
        for ports in [false, true] {
            match Rules::new(ports) {
                Ok(rules) => {
                    assert!(known);
                    for path in ["/usr", "/dev/null"] {
                        let file = std::fs::File::open(path).unwrap();
                        for access in [Access::Read, Access::Write, Access::Device] {
                            assert_eq!(rules.allow(file.as_fd(), access), Ok(()), "{path}");
                        }
                    }
                }
                Err(e) => assert_eq!((e, known), (Errno::EOPNOTSUPP, false)),
            }
        }
    }
}
