//! A tracepoint through perf_event_open(2), without BPF: one small ring buffer per CPU, a filter in
//! the kernel.
//!
//! Sources: perf_event_open(2), Documentation/trace/events.rst (filters). Privilege: `CAP_PERFMON`
//! (Linux 5.8), or `kernel.perf_event_paranoid` below 0.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use crate::check;
use crate::mapping::{Mapping, page_size};

/// The first fields of `struct perf_event_attr` (`PERF_ATTR_SIZE_VER3`, 96 bytes, Linux 3.19;
/// `clockid` 4.1).
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
}

/// `PERF_SAMPLE_TID | PERF_SAMPLE_TIME`.
const SAMPLE_TID_TIME: u64 = 1 << 1 | 1 << 2;
/// `watermark` of the flags: `wakeup_events` is a number of bytes.
const WATERMARK: u64 = 1 << 14;
/// `use_clockid` of the flags.
const USE_CLOCKID: u64 = 1 << 25;

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `_IOW('$', 6, char *)`.
const PERF_EVENT_IOC_SET_FILTER: libc::c_ulong = 0x4008_2406;
const PERF_RECORD_LOST: u32 = 2;

/// Bytes of the largest event that is asked for: header, process and thread, time.
const LARGEST: u64 = 24;

/// A tracepoint on one CPU.
#[derive(Debug)]
pub struct Tracepoint {
    fd: OwnedFd,
    ring: Mapping,
    page: usize,
    data: usize,
}

impl Tracepoint {
    /// Listens to tracepoint `id` on `cpu`, to events that pass `filter`; each wakes a poller.
    ///
    /// Errors: `EACCES` or `EPERM`, `EINVAL` the filter, `ENODEV` the CPU is offline, `EMFILE`.
    pub fn open(id: u64, cpu: i32, filter: &CStr) -> Result<Self, Errno> {
        let attr = Attr {
            wakeup_events: 1,
            ..Attr::default()
        };
        Self::with(attr, id, cpu, Some(filter), 1)
    }

    /// Listens to tracepoint `id` on `cpu`, and records which process was running and when
    /// (`CLOCK_MONOTONIC`) in `pages` pages (a power of two). Wakes a poller when these are half
    /// full, so that they can be read before the kernel has to drop something. Errors: as
    /// [`Tracepoint::open`].
    pub fn stamped(id: u64, cpu: i32, filter: Option<&CStr>, pages: usize) -> Result<Self, Errno> {
        let half = pages * page_size()? / 2;
        let attr = Attr {
            sample_type: SAMPLE_TID_TIME,
            wakeup_events: u32::try_from(half).map_err(|_| Errno::EINVAL)?,
            flags: WATERMARK | USE_CLOCKID,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attr::default()
        };
        Self::with(attr, id, cpu, filter, pages)
    }

    fn with(
        attr: Attr,
        id: u64,
        cpu: i32,
        filter: Option<&CStr>,
        pages: usize,
    ) -> Result<Self, Errno> {
        let attr = Attr {
            kind: PERF_TYPE_TRACEPOINT,
            size: 96,
            config: id,
            sample_period: 1,
            ..attr
        };
        // SAFETY: a live structure of the size that it states; the rest are integers.
        let fd = check(unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                std::ptr::from_ref(&attr),
                -1,
                cpu,
                -1,
                PERF_FLAG_FD_CLOEXEC,
            )
        })?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::EBADF)?) };
        if let Some(filter) = filter {
            // SAFETY: a live string; the kernel copies it.
            let ret =
                unsafe { libc::ioctl(fd.as_raw_fd(), PERF_EVENT_IOC_SET_FILTER, filter.as_ptr()) };
            check(libc::c_long::from(ret))?;
        }
        let page = page_size()?;
        let data = pages * page;
        let ring = Mapping::of(
            fd.as_fd(),
            page + data,
            libc::PROT_READ | libc::PROT_WRITE,
            0,
        )?;
        Ok(Self {
            fd,
            ring,
            page,
            data,
        })
    }

    /// Takes all records; returns how many events there were and how many the kernel says it
    /// dropped.
    pub fn drain(&mut self) -> (u64, u64) {
        let mut events = 0;
        let lost = self.take(|_, _| events += 1);
        (events, lost)
    }

    /// Takes all records of one that was opened by [`Tracepoint::stamped`]: the process that was
    /// running (as this PID namespace calls it), and the time in ns. Returns how many the kernel
    /// says it dropped.
    pub fn drain_stamped(&mut self, mut each: impl FnMut(i32, u64)) -> u64 {
        self.take(|point, at| {
            // header; pid and tid; time
            let [a, b, c, d, ..] = point.word(at + 8).to_ne_bytes();
            each(i32::from_ne_bytes([a, b, c, d]), point.word(at + 16));
        })
    }

    /// Calls `each` with the position of each event; returns how many were dropped, at least. The
    /// kernel says so in the next record for which there is room, so a buffer that is full says
    /// nothing yet: it counts as one that was dropped.
    fn take(&mut self, mut each: impl FnMut(&Self, u64)) -> u64 {
        let head = self.position(HEAD).load(Ordering::Acquire);
        let mut at = self.position(TAIL).load(Ordering::Relaxed);
        let room = u64::try_from(self.data).unwrap_or(u64::MAX) - (head - at);
        let mut lost = u64::from(room < LARGEST);
        while at < head {
            let header = self.word(at);
            let [kind, size] = [header & 0xffff_ffff, header >> 48];
            if size == 0 {
                break;
            }
            if kind == u64::from(PERF_RECORD_LOST) {
                // header, id, count
                lost += self.word(at + 16);
            } else {
                each(self, at);
            }
            at += size;
        }
        self.position(TAIL).store(head, Ordering::Release);
        lost
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: `data_head` and `data_tail` lie in the first page, which is mapped for the life
        // of `self` and used atomically only.
        let at = unsafe { self.ring.at.as_ptr().add(offset) };
        // SAFETY: as above; both are aligned to eight bytes.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }

    /// Eight bytes of the data, which may wrap around its end only between words: records are
    /// aligned to eight bytes.
    fn word(&self, at: u64) -> u64 {
        let within = usize::try_from(at).unwrap_or(0) % self.data;
        // SAFETY: the data pages follow the first page, and `within` is a multiple of eight below
        // their size.
        let word = unsafe { self.ring.at.as_ptr().add(self.page + within) };
        // SAFETY: as above; the kernel does not write behind the head before the tail is moved.
        unsafe { word.cast::<u64>().read() }
    }
}

/// Offset of `data_head` in `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
/// Offset of `data_tail`.
const TAIL: usize = 1032;

impl AsFd for Tracepoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_have_a_published_size() {
        assert_eq!(size_of::<Attr>(), 96);
    }

    #[test]
    fn a_tracepoint_that_does_not_exist_is_refused() {
        assert!(Tracepoint::open(u64::MAX, 0, c"val == 0").is_err());
    }
}
