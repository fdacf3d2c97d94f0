//! A BPF hash map from byte strings of one length to numbers, filled from here and looked up by
//! programs.
//!
//! Sources: bpf(2), `BPF_MAP_CREATE` and `BPF_MAP_UPDATE_ELEM`; include/uapi/linux/bpf.h. Since
//! Linux 3.19; privilege as in [`crate::bpf`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::bpf::call;

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
        let map = call::Map {
            kind: MAP_TYPE_HASH,
            key_bytes: u32::try_from(key_bytes).map_err(|_| Errno::E2BIG)?,
            value_bytes: 8,
            entries,
            flags: 0,
        };
        Ok(Self {
            map: map.create()?,
            key_bytes,
        })
    }

    /// Puts `value` under `key`, which is padded with zero bytes. Errors: `ENAMETOOLONG` the key is
    /// too long, `E2BIG` the map is full.
    pub fn insert(&self, key: &[u8], value: u64) -> Result<(), Errno> {
        if key.len() > self.key_bytes {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut padded = key.to_vec();
        padded.resize(self.key_bytes, 0);
        call::update(self.map.as_fd(), &padded, value)
    }
}

impl AsFd for HashMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
