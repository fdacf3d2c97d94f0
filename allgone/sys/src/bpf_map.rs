//! A BPF hash map from byte strings of one length to numbers, filled from here and looked up by
//! programs.
//!
//! Sources: bpf(2), `BPF_MAP_CREATE` and `BPF_MAP_UPDATE_ELEM`; include/uapi/linux/bpf.h. Since
//! Linux 3.19; privilege as in [`crate::bpf`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::bpf::bpf_fd;
use crate::check;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_TYPE_HASH: u32 = 1;

/// The map.
#[derive(Debug)]
pub struct HashMap {
    map: OwnedFd,
    key_bytes: usize,
}

impl HashMap {
    /// Makes one for up to `entries` keys of `key_bytes` bytes; all memory is taken at once, as
    /// tracing programs want it.
    ///
    /// Errors: `EPERM` no `CAP_BPF`, `E2BIG` too large, `ENOMEM`.
    pub fn create(key_bytes: usize, entries: u32) -> Result<Self, Errno> {
        #[repr(C)]
        struct Attr {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        let attr = Attr {
            map_type: MAP_TYPE_HASH,
            key_size: u32::try_from(key_bytes).map_err(|_| Errno::E2BIG)?,
            value_size: 8,
            max_entries: entries,
        };
        Ok(Self {
            map: bpf_fd(MAP_CREATE, &attr)?,
            key_bytes,
        })
    }

    /// Puts `value` under `key`, which is padded with zero bytes. Errors: `ENAMETOOLONG` the key is
    /// too long, `E2BIG` the map is full.
    pub fn insert(&self, key: &[u8], value: u64) -> Result<(), Errno> {
        #[repr(C)]
        struct Attr {
            map: u32,
            pad: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        if key.len() > self.key_bytes {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut padded = key.to_vec();
        padded.resize(self.key_bytes, 0);
        let attr = Attr {
            map: self.map.as_raw_fd().unsigned_abs(),
            pad: 0,
            key: padded.as_ptr() as u64,
            value: std::ptr::from_ref(&value) as u64,
            flags: 0,
        };
        // SAFETY: `attr` and what it points to, a key and a value of the sizes that the map was
        // made with, live for the call, which only reads them.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                MAP_UPDATE_ELEM,
                std::ptr::from_ref(&attr),
                size_of::<Attr>(),
            )
        };
        check(ret).map(|_| ())
    }
}

impl AsFd for HashMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
