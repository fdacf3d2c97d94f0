//! A set-user-ID copy of a program, for a tree one of whose processes becomes another user.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};

use nix::errno::Errno;

use crate::error::{SysError, Target};
use crate::host::scratch;
use crate::users::{STRANGER_UIDS, unused};

/// Makes one that has no name: nothing is left of it when it is closed. It belongs to a user that
/// no process has, and is open for reading alone, so that it can be executed (execve(2):
/// `ETXTBSY`).
///
/// Errors: `EAGAIN` processes have all user ids that are kept for it.
pub(super) fn copy(program: &OwnedFd) -> Result<OwnedFd, SysError> {
    let uid = unused(STRANGER_UIDS)?
        .ok_or_else(|| SysError::plain("find a user that no process has", Errno::EAGAIN))?;
    copy_for(program, uid).map_err(|e| {
        SysError::io(
            "copy the program to",
            Target::Path(scratch::PARENT.into()),
            &e,
        )
    })
}

fn copy_for(program: &OwnedFd, uid: u32) -> io::Result<OwnedFd> {
    let mut to = File::options()
        .write(true)
        .read(true)
        .custom_flags(nix::libc::O_TMPFILE)
        .open(scratch::PARENT)?;
    let mut from = File::open(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    io::copy(&mut from, &mut to)?;
    // A change of the owner takes the bit away.
    fchown(to.as_fd(), Some(uid), Some(uid))?;
    to.set_permissions(Permissions::from_mode(0o4755))?;
    let reading = File::open(format!("/proc/self/fd/{}", to.as_raw_fd()))?;
    Ok(reading.into())
}
