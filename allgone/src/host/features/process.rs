//! What can be done with processes.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::host::probe::{DESCRIPTORS, SECCOMP, answer};
use crate::host::{Host, ProbeError, Support};
use crate::sys::pidfd;

/// Feature `pidfd`.
pub(super) fn pidfd(_: &Host) -> Result<Support, ProbeError> {
    crate::host::probe::pidfd()
}

/// Feature `pidfd-info`.
pub(super) fn pidfd_info(_: &Host) -> Result<Support, ProbeError> {
    let info = pidfd::open(Pid::this()).and_then(|fd| pidfd::info(fd.as_fd()));
    let known = [
        (Errno::ENOTTY, "Linux 6.13"),
        (Errno::EINVAL, "Linux 6.13"),
        (Errno::ENOSYS, "Linux 6.13"),
        (Errno::EPERM, SECCOMP),
        (Errno::EMFILE, DESCRIPTORS),
    ];
    answer("ioctl(PIDFD_GET_INFO)", info, &known)
}
