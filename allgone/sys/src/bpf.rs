//! `bpf(2)` without a compiler: programs are arrays of instructions, each written beside what it means.
//!
//! Only what the detectors need: a ring buffer, a raw tracepoint program, and its attachment, all given back by closing a descriptor.
//! Sources: bpf(2), Documentation/bpf/ringbuf.rst, include/uapi/linux/bpf.h. Ring buffers since Linux 5.8. Privilege: `CAP_BPF` and
//! `CAP_PERFMON` (`CAP_SYS_ADMIN` before 5.8).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::check;

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    /// Destination in the low, source in the high half.
    regs: u8,
    off: i16,
    imm: i32,
}

/// Registers. `R10` is the frame pointer, `R0` the result, `R1` to `R5` are arguments, `R6` to `R9` survive calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "they are just numbered")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    B = 0x10,
    /// Two.
    H = 0x08,
    /// Four.
    W = 0x00,
    /// Eight.
    Dw = 0x18,
}

impl Width {
    /// How many bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::B => 1,
            Self::H => 2,
            Self::W => 4,
            Self::Dw => 8,
        }
    }
}

/// `bpf_map_lookup_elem(map, key)`: the address of the value, or 0.
pub const MAP_LOOKUP_ELEM: i32 = 1;
/// `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`.
pub const KTIME_GET_NS: i32 = 5;
/// `bpf_probe_read_kernel_str(dst, size, src)` (Linux 5.5).
pub const PROBE_READ_KERNEL_STR: i32 = 115;
/// `bpf_get_current_ancestor_cgroup_id(level)` (Linux 5.6).
pub const CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
/// `bpf_ringbuf_output(ring, data, size, flags)` (Linux 5.8).
pub const RINGBUF_OUTPUT: i32 = 130;
/// `BPF_RB_FORCE_WAKEUP`: wake the reader even if it has not caught up.
pub const FORCE_WAKEUP: i32 = 2;

const fn insn(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        regs: dst as u8 | (src as u8) << 4,
        off,
        imm,
    }
}

impl Insn {
    /// `dst = src`
    pub const fn mov(dst: Reg, src: Reg) -> Self {
        insn(0xbf, dst, src, 0, 0)
    }

    /// `dst = imm`
    pub const fn set(dst: Reg, imm: i32) -> Self {
        insn(0xb7, dst, Reg::R0, 0, imm)
    }

    /// `dst += imm`
    pub const fn add(dst: Reg, imm: i32) -> Self {
        insn(0x07, dst, Reg::R0, 0, imm)
    }

    /// `dst = *(width *)(src + off)`
    pub const fn load(width: Width, dst: Reg, src: Reg, off: i16) -> Self {
        insn(0x61 | width as u8, dst, src, off, 0)
    }

    /// `*(width *)(dst + off) = src`
    pub const fn store(width: Width, dst: Reg, off: i16, src: Reg) -> Self {
        insn(0x63 | width as u8, dst, src, off, 0)
    }

    /// `dst = value`, 64 bits; two instructions.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the value are what is wanted"
    )]
    pub const fn set64(dst: Reg, value: u64) -> [Self; 2] {
        [
            insn(0x18, dst, Reg::R0, 0, value as i32),
            insn(0, Reg::R0, Reg::R0, 0, (value >> 32) as i32),
        ]
    }

    /// `dst = map`; two instructions.
    pub fn set_map(dst: Reg, map: BorrowedFd<'_>) -> [Self; 2] {
        // BPF_PSEUDO_MAP_FD in the source register.
        [
            insn(0x18, dst, Reg::R1, 0, map.as_raw_fd()),
            insn(0, Reg::R0, Reg::R0, 0, 0),
        ]
    }

    /// `if dst != imm goto +off`
    pub const fn skip_ne(dst: Reg, imm: i32, off: i16) -> Self {
        insn(0x55, dst, Reg::R0, off, imm)
    }

    /// `if dst == imm goto +off`
    pub const fn skip_eq(dst: Reg, imm: i32, off: i16) -> Self {
        insn(0x15, dst, Reg::R0, off, imm)
    }

    /// `if dst != src goto +off`
    pub const fn skip_ne_reg(dst: Reg, src: Reg, off: i16) -> Self {
        insn(0x5d, dst, src, off, 0)
    }

    /// `r0 = helper(r1 .. r5)`
    pub const fn call(helper: i32) -> Self {
        insn(0x85, Reg::R0, Reg::R0, 0, helper)
    }

    /// `return r0`
    pub const fn exit() -> Self {
        insn(0x95, Reg::R0, Reg::R0, 0, 0)
    }

    /// Whether this is a conditional jump still without a target, and if so the same with the target set.
    fn jump_to(self, off: i16) -> Option<Self> {
        (matches!(self.code, 0x15 | 0x55 | 0x5d) && self.off == TO_END).then_some(Self { off, ..self })
    }
}

/// As the offset of a jump: to the common end, set by [`finish`].
pub const TO_END: i16 = i16::MAX;

/// Appends `return 0` and lets all jumps to [`TO_END`] go there. `ERANGE`: the program is too long for its jumps.
pub fn finish(mut body: Vec<Insn>) -> Result<Vec<Insn>, Errno> {
    let end = body.len();
    for (at, insn) in body.iter_mut().enumerate() {
        let off = i16::try_from(end - at - 1).map_err(|_| Errno::ERANGE)?;
        if let Some(jump) = insn.jump_to(off) {
            *insn = jump;
        }
    }
    body.push(Insn::set(Reg::R0, 0));
    body.push(Insn::exit());
    Ok(body)
}

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const MAP_TYPE_RINGBUF: u32 = 27;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `bpf(2)` for a command that returns a descriptor.
pub(crate) fn bpf_fd<T>(command: libc::c_int, attr: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: `attr` is live for the call and its size is passed; the kernel reads it and, for these commands, writes nothing to it.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

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
        #[repr(C)]
        struct Attr {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        let attr = Attr {
            map_type: MAP_TYPE_RINGBUF,
            key_size: 0,
            value_size: 0,
            max_entries: bytes,
        };
        let map = bpf_fd(MAP_CREATE, &attr)?;
        let size = usize::try_from(bytes).map_err(|_| Errno::EINVAL)?;
        let page = page_size()?;
        // One page that the consumer writes; then one that the producer writes, with the data behind it, twice.
        let consumer = Mapping::of(map.as_fd(), page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = Mapping::of(map.as_fd(), page + 2 * size, libc::PROT_READ, page)?;
        Ok(Self {
            map,
            consumer,
            producer,
            mask: size - 1,
        })
    }

    /// Takes all records, calling `each` with the first eight bytes of each (zero-extended). Returns how many there were.
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
        // SAFETY: the first word of the consumer page is its position; mapped writable for the life of `self`, and only used atomically.
        unsafe { AtomicUsize::from_ptr(self.consumer.at.as_ptr().cast()) }
    }

    fn producer_position(&self) -> &AtomicUsize {
        // SAFETY: the first word of the producer page is its position; mapped for the life of `self`; only ever loaded here.
        unsafe { AtomicUsize::from_ptr(self.producer.at.as_ptr().cast()) }
    }

    /// Address of the byte at position `at` of the data, which is mapped twice in a row so that no record is torn.
    fn data(&self, at: usize) -> *mut u8 {
        let behind_positions = self.producer.length - 2 * (self.mask + 1);
        // SAFETY: the offset is below the length of the mapping, as `at & mask` is below the ring's size.
        unsafe { self.producer.at.as_ptr().add(behind_positions + (at & self.mask)) }
    }

    fn header(&self, at: usize) -> &AtomicU32 {
        // SAFETY: records are aligned to eight bytes; the word is in the mapping and only ever loaded, atomically.
        unsafe { AtomicU32::from_ptr(self.data(at).cast()) }
    }

    /// The first eight bytes of a committed record.
    fn word(&self, at: usize, length: usize) -> u64 {
        let mut bytes = [0u8; 8];
        let length = length.min(8);
        // SAFETY: a committed record is not written again before the consumer position passes it, and `length` bytes of it are mapped.
        unsafe { std::ptr::copy_nonoverlapping(self.data(at), bytes.as_mut_ptr(), length) };
        u64::from_ne_bytes(bytes)
    }
}

impl AsFd for RingBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// A shared mapping of a descriptor.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) at: NonNull<u8>,
    pub(crate) length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(crate) fn of(fd: BorrowedFd<'_>, length: usize, protection: libc::c_int, offset: usize) -> Result<Self, Errno> {
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
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length and not used afterwards. A failure would leave a mapping, nothing worse.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// The size of a page, in bytes.
pub(crate) fn page_size() -> Result<usize, Errno> {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(Errno::EINVAL)
}

/// A program that runs at a tracepoint until this is dropped.
#[derive(Debug)]
pub struct RawTracepoint {
    _link: OwnedFd,
}

/// Why a program could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachError {
    /// `load` or `attach`.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
    /// The end of what the verifier says, if it was the verifier.
    pub log: String,
}

impl RawTracepoint {
    /// Loads `program` (licence `Dual MIT/GPL`) and attaches it to the tracepoint `name`.
    ///
    /// Errors: `EPERM`; `EINVAL` or `EACCES` from the verifier, with its log; `ENOENT` there is no such tracepoint.
    pub fn attach(name: &std::ffi::CStr, program: &[Insn]) -> Result<Self, AttachError> {
        let program = load(program)?;
        #[repr(C)]
        struct Attr {
            name: u64,
            prog_fd: u32,
            pad: u32,
        }
        let attr = Attr {
            name: name.as_ptr() as u64,
            prog_fd: program.as_raw_fd().unsigned_abs(),
            pad: 0,
        };
        let link = bpf_fd(RAW_TRACEPOINT_OPEN, &attr).map_err(|errno| AttachError {
            step: "attach",
            errno,
            log: String::new(),
        })?;
        Ok(Self { _link: link })
    }
}

/// Loads a raw tracepoint program; on refusal once more with the verifier's log.
fn load(program: &[Insn]) -> Result<OwnedFd, AttachError> {
    #[repr(C)]
    struct Attr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
    }
    let mut attr = Attr {
        prog_type: PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let refused = match bpf_fd(PROG_LOAD, &attr) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let mut log = vec![0u8; 16_384];
    attr.log_level = 1;
    attr.log_size = 16_384;
    attr.log_buf = log.as_mut_ptr() as u64;
    match bpf_fd(PROG_LOAD, &attr) {
        Ok(fd) => Ok(fd),
        Err(_) => {
            let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(&log[..end]);
            let tail: Vec<&str> = text.lines().rev().take(4).collect();
            Err(AttachError {
                step: "load",
                errno: refused,
                log: tail.into_iter().rev().collect::<Vec<_>>().join("; "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_to_the_end_are_resolved() {
        let program = finish(vec![
            Insn::skip_ne(Reg::R1, 0, TO_END),
            Insn::skip_ne(Reg::R1, 0, 1),
            Insn::mov(Reg::R2, Reg::R1),
        ])
        .unwrap();
        assert_eq!(program.len(), 5);
        assert_eq!((program[0].off, program[1].off), (2, 1));
        assert_eq!(program[4], Insn::exit());
    }

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        assert_eq!(size_of::<Insn>(), 8);
        let load = Insn::load(Width::Dw, Reg::R7, Reg::R6, 8);
        assert_eq!((load.code, load.regs, load.off), (0x79, 0x67, 8));
        let store = Insn::store(Width::Dw, Reg::R10, -8, Reg::R8);
        assert_eq!((store.code, store.regs), (0x7b, 0x8a));
        let [low, high] = Insn::set64(Reg::R2, 0x0123_4567_89ab_cdef);
        assert_eq!((low.imm, high.imm), (0x89ab_cdef_u32.cast_signed(), 0x0123_4567));
        assert_eq!(Width::W.bytes() + Width::H.bytes() + Width::B.bytes(), 7);
    }

    #[test]
    fn a_program_that_reports_is_heard() {
        let mut ring = match RingBuffer::create(4096) {
            Ok(ring) => ring,
            Err(errno) => {
                assert!(matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EINVAL), "{errno}");
                return;
            }
        };
        // Reports the second argument (the system call's number) of every sys_enter.
        let mut body = vec![
            Insn::load(Width::Dw, Reg::R3, Reg::R1, 8),
            Insn::store(Width::Dw, Reg::R10, -8, Reg::R3),
        ];
        body.extend(Insn::set_map(Reg::R1, ring.as_fd()));
        body.extend([
            Insn::mov(Reg::R2, Reg::R10),
            Insn::add(Reg::R2, -8),
            Insn::set(Reg::R3, 8),
            Insn::set(Reg::R4, FORCE_WAKEUP),
            Insn::call(RINGBUF_OUTPUT),
        ]);
        let attached = RawTracepoint::attach(c"sys_enter", &finish(body).unwrap()).unwrap();
        nix::unistd::getppid();
        drop(attached);
        let mut seen = Vec::new();
        assert!(ring.drain(|number| seen.push(number)) > 0);
        assert!(seen.iter().all(|n| *n < 1000), "system call numbers: {seen:?}");
        assert_eq!(ring.drain(|_| ()), 0);
    }

    #[test]
    fn the_verifier_is_quoted() {
        let Err(refused) = RawTracepoint::attach(c"sys_enter", &[Insn::exit()]) else {
            panic!("a program without a result must be refused")
        };
        assert_eq!(refused.step, "load");
        assert!(
            refused.errno == Errno::EPERM || refused.log.contains("R0"),
            "{refused:?}"
        );
    }
}
