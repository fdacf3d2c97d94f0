//! Giving up authority, for adversaries that must not be root.

use nix::errno::Errno;

use crate::check;

/// Drops every capability from the bounding, ambient, inheritable, permitted and effective sets. Allocates nothing.
///
/// Sources: capabilities(7), capset(2), prctl(2) `PR_CAPBSET_DROP` (needs `CAP_SETPCAP`; `EPERM` without it is fine when
/// the permitted set is empty anyway, so it is not an error here; the final `capset` decides).
pub fn drop_capabilities() -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;

    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes integers only. EINVAL marks the end of the known capabilities.
        let ret = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if ret < 0 {
            break;
        }
    }
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let data = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: version 3 reads one header and two data structures, both live for the call.
    let ret = unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) };
    check(ret).map(|_| ())
}
