//! `bpf(2)`, command by command. The fields are those of `union bpf_attr`
//! (include/uapi/linux/bpf.h), as many as are used: the kernel takes the rest for zero.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::Insn;
use crate::check;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// A map that is to be made.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Map {
    pub(crate) kind: u32,
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
    /// Of a ring buffer: its bytes.
    pub(crate) entries: u32,
    pub(crate) flags: u32,
}

impl Map {
    /// Errors: `EPERM` no `CAP_BPF`, `EINVAL` a kind that this kernel has not, `E2BIG`, `ENOMEM`,
    /// `ENOSYS` no bpf.
    pub(crate) fn create(&self) -> Result<OwnedFd, Errno> {
        descriptor(MAP_CREATE, self)
    }
}

/// Puts `value` under `key` in a map whose values have eight bytes; `key` must be as long as its
/// keys. Errors: `E2BIG` the map is full.
pub(crate) fn update(map: BorrowedFd<'_>, key: &[u8], value: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct Attr {
        map: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let attr = Attr {
        map: map.as_raw_fd().unsigned_abs(),
        pad: 0,
        key: key.as_ptr() as u64,
        value: std::ptr::from_ref(&value) as u64,
        flags: 0,
    };
    call(MAP_UPDATE_ELEM, &attr).map(|_| ())
}

/// A program that is to be loaded (licence `Dual MIT/GPL`).
#[repr(C)]
pub(crate) struct Program {
    kind: u32,
    count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kern_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}

impl Program {
    /// Loads it. Errors: `EPERM`; `EINVAL` or `EACCES` from the verifier, whose words are in `log`
    /// if there is one; `E2BIG`, `ENOSYS`.
    pub(crate) fn load(
        kind: u32,
        attach_type: u32,
        insns: &[Insn],
        log: Option<&mut [u8]>,
    ) -> Result<OwnedFd, Errno> {
        let (log_level, log_bytes, log) = match log {
            Some(log) => (1, log.len(), log.as_mut_ptr() as u64),
            None => (0, 0, 0),
        };
        let attr = Self {
            kind,
            count: u32::try_from(insns.len()).map_err(|_| Errno::E2BIG)?,
            insns: insns.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            log_level,
            log_bytes: u32::try_from(log_bytes).map_err(|_| Errno::E2BIG)?,
            log,
            kern_version: 0,
            flags: 0,
            name: [0; 16],
            ifindex: 0,
            attach_type,
        };
        descriptor(PROG_LOAD, &attr)
    }
}

/// Attaches a program to a raw tracepoint until the result is closed. Errors: `ENOENT` there is no
/// such tracepoint, `EPERM`.
pub(crate) fn open_raw_tracepoint(name: &CStr, program: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
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
    descriptor(RAW_TRACEPOINT_OPEN, &attr)
}

/// Attaches a program to a cgroup. Async-signal-safe.
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
    flags: u32,
) -> Result<(), Errno> {
    #[repr(C)]
    struct Attr {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    let attr = Attr {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type,
        attach_flags: flags,
    };
    call(PROG_ATTACH, &attr).map(|_| ())
}

fn descriptor<T>(command: libc::c_int, attr: &T) -> Result<OwnedFd, Errno> {
    let fd = call(command, attr)?;
    // SAFETY: the kernel has just made this descriptor for us: so the commands above.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(|_| Errno::EBADF)?) })
}

fn call<T>(command: libc::c_int, attr: &T) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr`, and what it points to, is live for the call, and its size is passed. The
    // kernel reads it, and writes to the log of a program alone, which is as long as is said.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    })
}
