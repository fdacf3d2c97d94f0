//! A page of memory that is not there until somebody says so: userfaultfd(2).
//!
//! Needs Linux 4.3, and for a fault in the kernel, which is what this is for, `CAP_SYS_PTRACE` or
//! the sysctl `vm.unprivileged_userfaultfd`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::check;
use crate::mapping::{Mapping, page_size};

/// `UFFDIO_API` and `UFFDIO_REGISTER` of include/uapi/linux/userfaultfd.h.
const API: libc::c_ulong = 0xc018_aa3f;
const REGISTER: libc::c_ulong = 0xc020_aa00;
/// `UFFD_API`: the only version.
const VERSION: u64 = 0xaa;
/// `UFFDIO_REGISTER_MODE_MISSING`.
const MISSING: u64 = 1;
/// `sizeof(struct uffd_msg)`.
const MESSAGE: usize = 32;

/// A page that is missing. Whoever touches it sleeps until the descriptor is closed in every
/// process that has it; then the page is there, and zero.
#[derive(Debug)]
pub struct MissingPage {
    memory: Mapping,
    uffd: OwnedFd,
}

impl MissingPage {
    /// Errors: `EPERM` faults in the kernel are not for this process; `ENOSYS` the kernel is built
    /// without it.
    pub fn new() -> Result<Self, Errno> {
        let length = page_size()?;
        let memory = Mapping::private(length)?;
        // SAFETY: integers only.
        let fd = check(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) })?;
        let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor; nobody else owns it.
        let uffd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut api = [VERSION, 0, 0];
        // SAFETY: `api` has the layout of struct uffdio_api, and outlives the call.
        check(libc::c_long::from(unsafe {
            libc::ioctl(uffd.as_raw_fd(), API, api.as_mut_ptr())
        }))?;
        let mut range = [memory.at.as_ptr() as u64, length as u64, MISSING, 0];
        // SAFETY: `range` has the layout of struct uffdio_register, and the mapping is this
        // value's alone: nothing but `write_to` touches it.
        check(libc::c_long::from(unsafe {
            libc::ioctl(uffd.as_raw_fd(), REGISTER, range.as_mut_ptr())
        }))?;
        Ok(Self { memory, uffd })
    }

    /// The descriptor; a copy of it in another process keeps the page away.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.uffd.as_fd()
    }

    /// Closes the descriptor here, and writes the first byte of the page to `fd`: the kernel holds
    /// there what it holds while it copies, until the page has come.
    pub fn write_to(self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let Self { memory, uffd } = self;
        drop(uffd);
        // SAFETY: one byte of a mapping that outlives the call. The kernel reads it; a page that
        // does not come is a sleep, not an error.
        let written = unsafe { libc::write(fd.as_raw_fd(), memory.at.as_ptr().cast(), 1) };
        if written < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}

/// Sleeps until somebody has touched the page. `uffd`: [`MissingPage::descriptor`].
pub fn wait_for_fault(uffd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut message = [0; MESSAGE];
    loop {
        match nix::unistd::read(uffd, &mut message) {
            Ok(MESSAGE) => return Ok(()),
            Ok(_) => return Err(Errno::EIO),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
