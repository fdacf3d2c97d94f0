//! Memory shared with the kernel through a descriptor, or with what is forked: mmap(2).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use nix::errno::Errno;

/// A shared mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) at: NonNull<u8>,
    pub(crate) length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(crate) fn of(
        fd: BorrowedFd<'_>,
        length: usize,
        protection: libc::c_int,
        offset: usize,
    ) -> Result<Self, Errno> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self {
            at: NonNull::new(at.cast()).ok_or(Errno::ENOMEM)?,
            length,
        })
    }

    /// Fresh memory, zeroed, shared with what is forked from now on.
    pub(crate) fn anonymous(length: usize) -> Result<Self, Errno> {
        Self::fresh(length, libc::MAP_SHARED)
    }

    /// Fresh memory of this process, of which no page is there yet.
    #[cfg(feature = "instrument")]
    pub(crate) fn private(length: usize) -> Result<Self, Errno> {
        Self::fresh(length, libc::MAP_PRIVATE)
    }

    fn fresh(length: usize, kind: libc::c_int) -> Result<Self, Errno> {
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                kind | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self {
            at: NonNull::new(at.cast()).ok_or(Errno::ENOMEM)?,
            length,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length and not used afterwards. A failure would leave a
        // mapping, nothing worse.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// The size of a page, in bytes.
pub(crate) fn page_size() -> Result<usize, Errno> {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(Errno::EINVAL)
}
