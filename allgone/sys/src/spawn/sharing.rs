//! A new process that shares the caller's memory, on the caller's stack: nothing of a host is
//! copied, however large it is.
//!
//! Sources: clone(2), clone3(2), vfork(2).

use core::arch::asm;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::signals::Blocked;
use crate::bare::raw::{self, number};

pub(crate) const CLONE_VM: usize = 0x100;
const CLONE_FILES: usize = 0x400;
pub(crate) const CLONE_PIDFD: usize = 0x1000;
pub(crate) const CLONE_VFORK: usize = 0x4000;

/// Has a go-between run `run` while this thread waits, with every signal blocked, and reaps it. It
/// shares memory and descriptors. Errors: the call that failed.
///
/// # Safety
///
/// `run` makes async-signal-safe calls alone. It has `shared` for itself for as long as this takes,
/// and so has whatever it makes with `CLONE_VM | CLONE_VFORK`.
pub(crate) unsafe fn through_a_go_between<T>(
    run: extern "C" fn(*mut T) -> !,
    shared: &mut T,
) -> Result<(), (&'static str, Errno)> {
    let blocked = Blocked::all().map_err(|errno| ("rt_sigprocmask", errno))?;
    let flags = CLONE_VM | CLONE_VFORK | CLONE_FILES;
    // SAFETY: as the caller promises; this thread waits until the go-between has ended.
    let made = unsafe { clone_sharing(number::CLONE, [flags, 0, 0, 0, 0], run, shared) };
    drop(blocked);
    reap(made.map_err(|raw::Errno(errno)| ("clone", Errno::from_raw(errno)))?);
    Ok(())
}

/// Reaps the go-between, which has ended. A wait elsewhere for all kinds of children (`__WALL`) may
/// have come first.
fn reap(pid: usize) {
    let Ok(pid) = i32::try_from(pid) else { return };
    let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::__WALL;
    while crate::wait::waitid(crate::wait::Whose::Pid(Pid::from_raw(pid)), flags)
        == Err(Errno::EINTR)
    {}
}

/// Makes system call `number`, a clone, with which a new process may share the caller's memory, and
/// runs `run` in it, on the caller's stack, below what the caller uses.
///
/// # Safety
///
/// Either the flags have `CLONE_VFORK`, so that the caller stays where it is until the new process
/// has executed or ended, or they do not have `CLONE_VM`, so that its memory is a copy. `run` makes
/// async-signal-safe calls alone.
pub(crate) unsafe fn clone_sharing<T>(
    number: usize,
    args: [usize; 5],
    run: extern "C" fn(*mut T) -> !,
    shared: *mut T,
) -> Result<usize, raw::Errno> {
    let ret: isize;
    let [a, b, c, d, e] = args;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the parent sees a system call. The child calls a function that does not return, on an
    // aligned stack; what it pushes is below all that the parent's frames use (no red zone is used
    // around this block, which may use the stack).
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "and rsp, -16",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") number => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r12") shared, in("r13") run,
            out("rcx") _, out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; the stack is aligned as it is.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") number,
            inlateout("x0") a => ret,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x20") shared, in("x21") run,
            out("x30") _,
        );
    }
    raw::answer(ret)
}
