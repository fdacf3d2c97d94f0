//! A ring buffer that a program writes and this process reads.
//!
//! Source: Documentation/bpf/ringbuf.rst. Since Linux 5.8.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;

use super::call;
use crate::mapping::{Mapping, page_size};

const MAP_TYPE_RINGBUF: u32 = 27;

/// A ring buffer between kernel and this process; poll it for reading.
#[derive(Debug)]
pub struct RingBuffer {
    map: OwnedFd,
    consumer: Mapping,
    producer: Mapping,
    mask: usize,
}

impl RingBuffer {
    /// Makes one of `bytes` (a power of two, at least a page).
    ///
    /// Errors: `EPERM` no `CAP_BPF`, `EINVAL` before Linux 5.8, `ENOSYS` no bpf.
    pub fn create(bytes: u32) -> Result<Self, Errno> {
        let map = call::Map {
            kind: MAP_TYPE_RINGBUF,
            entries: bytes,
            ..Default::default()
        };
        let map = map.create()?;
        let size = usize::try_from(bytes).map_err(|_| Errno::EINVAL)?;
        let page = page_size()?;
        // One page that the consumer writes; then one that the producer writes, with the data
        // behind it, twice.
        let consumer = Mapping::of(map.as_fd(), page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = Mapping::of(map.as_fd(), page + 2 * size, libc::PROT_READ, page)?;
        Ok(Self {
            map,
            consumer,
            producer,
            mask: size - 1,
        })
    }

    /// Takes all records, calling `each` with the first eight bytes of each (zero-extended).
    /// Returns how many there were.
    pub fn drain(&mut self, mut each: impl FnMut(u64)) -> u64 {
        const BUSY: u32 = 1 << 31;
        const DISCARD: u32 = 1 << 30;
        const HEADER: usize = 8;
        let mut taken = 0;
        let mut at = self.consumer_position().load(Ordering::Acquire);
        while at < self.producer_position().load(Ordering::Acquire) {
            let header = self.header(at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = usize::try_from(header & !(BUSY | DISCARD)).unwrap_or(0);
            if header & DISCARD == 0 {
                each(self.word(at + HEADER, length));
                taken += 1;
            }
            at += (length + HEADER).next_multiple_of(8);
            self.consumer_position().store(at, Ordering::Release);
        }
        taken
    }

    fn consumer_position(&self) -> &AtomicUsize {
        // SAFETY: the first word of the consumer page is its position; mapped writable for the life
        // of `self`, and only used atomically.
        unsafe { AtomicUsize::from_ptr(self.consumer.at.as_ptr().cast()) }
    }

    fn producer_position(&self) -> &AtomicUsize {
        // SAFETY: the first word of the producer page is its position; mapped for the life of
        // `self`; only ever loaded here.
        unsafe { AtomicUsize::from_ptr(self.producer.at.as_ptr().cast()) }
    }

    /// Address of the byte at position `at` of the data, which is mapped twice in a row so that no
    /// record is torn.
    fn data(&self, at: usize) -> *mut u8 {
        let behind_positions = self.producer.length - 2 * (self.mask + 1);
        // SAFETY: the offset is below the length of the mapping, as `at & mask` is below the ring's
        // size.
        unsafe {
            self.producer
                .at
                .as_ptr()
                .add(behind_positions + (at & self.mask))
        }
    }

    fn header(&self, at: usize) -> &AtomicU32 {
        // SAFETY: records are aligned to eight bytes; the word is in the mapping and only ever
        // loaded, atomically.
        unsafe { AtomicU32::from_ptr(self.data(at).cast()) }
    }

    /// The first eight bytes of a committed record.
    fn word(&self, at: usize, length: usize) -> u64 {
        let mut bytes = [0u8; 8];
        let length = length.min(8);
        // SAFETY: a committed record is not written again before the consumer position passes it,
        // and `length` bytes of it are mapped.
        unsafe { std::ptr::copy_nonoverlapping(self.data(at), bytes.as_mut_ptr(), length) };
        u64::from_ne_bytes(bytes)
    }
}

impl AsFd for RingBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
