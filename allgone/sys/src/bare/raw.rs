//! A system call without a C library, and the numbers of those that the guard makes.
//!
//! Sources: syscall(2); arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h.

use core::arch::asm;

/// The kernel's answer when a call fails: a number from errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const PERM: Self = Self(1);
    pub(crate) const NOENT: Self = Self(2);
    pub(crate) const TOO_BIG: Self = Self(7);
    pub(crate) const ACCES: Self = Self(13);
    pub(crate) const BUSY: Self = Self(16);
    pub(crate) const NOTDIR: Self = Self(20);
    pub(crate) const INVAL: Self = Self(22);
    pub(crate) const MFILE: Self = Self(24);
    pub(crate) const NOSYS: Self = Self(38);
    pub(crate) const NOTEMPTY: Self = Self(39);
    pub(crate) const AGAIN: Self = Self(11);
    pub(crate) const BADMSG: Self = Self(74);
    pub(crate) const NODEV: Self = Self(19);
    pub(crate) const INTR: Self = Self(4);
}

/// Makes system call `number`.
///
/// # Safety
///
/// Whatever the call does to memory has to be sound: pointers among the arguments are valid for it.
pub(crate) unsafe fn syscall(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    let ret: isize;
    let [a, b, c, d, e, f] = args;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention: it preserves all registers but these. The rest is the
    // caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => ret,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    answer(ret)
}

/// What a system call has returned. Errors are -4095 to -1; addresses are never negative on these
/// machines.
pub(crate) fn answer(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| Errno(i32::try_from(-ret).unwrap_or(0)))
}

macro_rules! numbers {
    ($($name:ident $x86_64:literal $aarch64:literal)*) => { $(
        #[cfg(target_arch = "x86_64")]
        pub(crate) const $name: usize = $x86_64;
        #[cfg(target_arch = "aarch64")]
        pub(crate) const $name: usize = $aarch64;
    )* };
}

/// The numbers.
pub(crate) mod number {
    numbers! {
        READ 0 63
        WRITE 1 64
        CLOSE 3 57
        MMAP 9 222
        RT_SIGACTION 13 134
        RT_SIGPROCMASK 14 135
        PREAD64 17 67
        GETPID 39 172
        SENDMSG 46 211
        RECVMSG 47 212
        CLONE 56 220
        EXECVE 59 221
        KILL 62 129
        FCNTL 72 25
        CHDIR 80 49
        FCHDIR 81 50
        UMASK 95 166
        SETPGID 109 154
        GETPPID 110 173
        SETSID 112 157
        SETGROUPS 116 159
        SETRESUID 117 147
        SETRESGID 119 149
        GETRESUID 118 148
        GETRESGID 120 150
        CAPSET 126 91
        PRCTL 157 167
        GETDENTS64 217 61
        CLOCK_GETTIME 228 113
        EXIT_GROUP 231 94
        EPOLL_CTL 233 21
        WAITID 247 95
        OPENAT 257 56
        UNLINKAT 263 35
        MKDIRAT 258 34
        PPOLL 271 73
        EPOLL_PWAIT 281 22
        SIGNALFD4 289 74
        EPOLL_CREATE1 291 20
        DUP3 292 24
        PRLIMIT64 302 261
        SCHED_SETATTR 314 274
        SCHED_GETATTR 315 275
        EXECVEAT 322 281
        STATX 332 291
        PIDFD_SEND_SIGNAL 424 424
        PIDFD_OPEN 434 434
        CLONE3 435 435
        CLOSE_RANGE 436 436
    }
}
