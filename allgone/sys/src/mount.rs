//! A file system without a mount point: mounted for one descriptor, unmounted when that is closed.
//!
//! No other process sees it, and no directory is covered. Sources: fsopen(2), fsconfig(2),
//! fsmount(2) (Linux 5.2). Privilege: `CAP_SYS_ADMIN`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::check;

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

/// Mounts `filesystem` with `options` (a flag, or a name with a value). The descriptor is its root
/// directory, as with `O_PATH`.
///
/// Errors: `EPERM`, `ENODEV` no such file system, `EINVAL` an option, `EBUSY`, `ENOSYS` before
/// Linux 5.2.
pub fn detached(filesystem: &CStr, options: &[(&CStr, Option<&CStr>)]) -> Result<OwnedFd, Errno> {
    // SAFETY: a live string and an integer.
    let context = owned(check(unsafe {
        libc::syscall(libc::SYS_fsopen, filesystem.as_ptr(), FSOPEN_CLOEXEC)
    })?)?;
    for (name, value) in options {
        let (command, value) = match value {
            Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
            None => (FSCONFIG_SET_FLAG, std::ptr::null()),
        };
        // SAFETY: live strings, or null where the command wants null.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                command,
                name.as_ptr(),
                value,
                0,
            )
        })?;
    }
    // SAFETY: no memory is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            0usize,
            0usize,
            0,
        )
    })?;
    // SAFETY: integers only.
    owned(check(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_tmpfs_or_a_refusal() {
        match detached(c"tmpfs", &[(c"size", Some(c"64k"))]) {
            Ok(root) => {
                let dir = format!("/proc/self/fd/{}", root.as_raw_fd());
                std::fs::write(format!("{dir}/file"), "x").unwrap();
                assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1);
            }
            Err(errno) => assert!(matches!(errno, Errno::EPERM | Errno::ENOSYS), "{errno}"),
        }
        assert!(detached(c"no-such-file-system", &[]).is_err());
    }
}
