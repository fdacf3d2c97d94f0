//! The guard as a program: no standard library, no C library, no allocation. `build.rs` compiles
//! it.
//!
//! What it does is in the modules, which the library compiles, too, so that they are checked and
//! tested with everything else. Here is what only a program has: the entry, a panic handler that is
//! never called, and the memory functions that the compiler may call.
#![no_std]
#![no_main]

#[path = "../../sched/attr.rs"]
mod attr;
#[path = "../../bare/mod.rs"]
mod bare;
#[path = "../../spawn/step.rs"]
mod step;
#[path = "../wire.rs"]
mod wire;

mod channel;
mod child;
mod ground;
mod jobs;
mod oom;
mod poll;
mod process;
mod prompt;
mod second;
mod serve;

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use bare::{call, raw, tree};

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start", "_start:", "xor %ebp, %ebp", "mov %rsp, %rdi", "and $-16, %rsp",
    "call {begin}", "ud2",
    begin = sym begin,
    options(att_syntax)
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "and sp, x0, #-16",
    "bl {begin}", "brk #1",
    begin = sym begin,
);

/// The one piece of lasting memory.
struct Once(UnsafeCell<MaybeUninit<serve::Memory>>);
// SAFETY: the program has one thread, and takes the memory once.
unsafe impl Sync for Once {}
static MEMORY: Once = Once(UnsafeCell::new(MaybeUninit::zeroed()));

/// Called by the entry with the stack as the kernel has made it: the number of arguments, then
/// their addresses.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the kernel puts it there.
    if unsafe { stack.read() } != 3 {
        process::exit(64);
    }
    let string = |place: usize| -> &'static CStr {
        // SAFETY: one of three arguments, which live as long as the process.
        unsafe { CStr::from_ptr(stack.add(place + 1).read() as *const core::ffi::c_char) }
    };
    let ground = ground::Ground {
        prefix: string(1),
        own: string(2),
    };
    // SAFETY: the only reference that is ever made, to integers and states whose zero is a value.
    let memory = unsafe { (*MEMORY.0.get()).assume_init_mut() };
    match serve::Guard::begin(memory, ground, true) {
        Ok(guard) => guard.serve(),
        Err(errno) => process::exit(errno.0),
    }
}

#[panic_handler]
fn never(_: &core::panic::PanicInfo<'_>) -> ! {
    process::exit(70)
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's duty.
    unsafe { forwards(to, from, count) };
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: the caller's duty; what is read is not overwritten before.
        unsafe { forwards(to, from, count) };
    } else {
        for at in (0..count).rev() {
            // SAFETY: the caller's duty. Volatile, so that this does not become a call of itself.
            unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
        }
    }
    to
}

/// # Safety
///
/// As `memmove`, and `to` is not behind `from` within `count`.
unsafe fn forwards(to: *mut u8, from: *const u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's duty; the direction flag is clear by the calling convention.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..count {
        // SAFETY: the caller's duty. Volatile, so that this does not become a call of itself.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    let [byte, ..] = byte.to_le_bytes();
    for at in 0..count {
        // SAFETY: the caller's duty. Volatile, so that this does not become a call of itself.
        unsafe { to.add(at).write_volatile(byte) };
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: the caller's duty. Volatile, so that this does not become a call of itself.
        let (a, b) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's duty.
    unsafe { memcmp(a, b, count) }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(from: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller's duty. Volatile, so that this does not become a call of itself.
    while unsafe { from.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
