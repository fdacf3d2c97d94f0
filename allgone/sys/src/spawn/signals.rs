//! Signals across a fork: no handler of the caller's may run in the child.
//!
//! A handler that does run there acts on copies of the caller's memory and on the caller's own
//! pipes: it would report the child's signal as the caller's. So every signal is blocked before the
//! child exists, the child gives all handlers up, and only then unblocks. Sources: signal(7),
//! rt_sigprocmask(2), rt_sigaction(2); glibc does the same in posix_spawn(3).

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use crate::check;

/// Signals are numbered from 1 to this (`_NSIG` of every architecture but MIPS).
const LAST: libc::c_int = 64;
/// The kernel's `sigset_t`, one bit a signal. glibc's wrapper takes its own two signals out of a
/// set, so it is not used.
type Mask = u64;

/// Every signal of the calling thread is blocked until this is dropped.
#[derive(Debug)]
pub(crate) struct Blocked {
    before: Mask,
}

impl Blocked {
    /// Blocks them.
    pub(crate) fn all() -> Result<Self, Errno> {
        Ok(Self {
            before: set_mask(Mask::MAX)?,
        })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // It was this thread's mask before, so it is a valid one, and the call has no other error.
        match set_mask(self.before) {
            Ok(_) | Err(_) => {}
        }
    }
}

/// Gives every handled signal its default action, and `SIGPIPE` too (which Rust ignores); others
/// that are ignored stay so, as after any exec. Then unblocks all. Async-signal-safe; in a child in
/// which nothing has been unblocked since [`Blocked::all`].
pub(crate) fn reset() -> Result<(), Errno> {
    for signal in (1..=LAST).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        match handler(signal)? {
            libc::SIG_DFL => {}
            libc::SIG_IGN if signal != libc::SIGPIPE => {}
            _ => set_default(signal)?,
        }
    }
    set_mask(0).map(|_| ())
}

/// As [`reset`], in a child whose handlers the kernel has given up (`CLONE_CLEAR_SIGHAND`, Linux
/// 5.5): two system calls instead of sixty-odd.
pub(crate) fn reset_cleared() -> Result<(), Errno> {
    set_default(libc::SIGPIPE)?;
    set_mask(0).map(|_| ())
}

/// Blocks every signal, for good; returns the mask before. Errors: none on Linux.
pub fn block_all() -> Result<u64, Errno> {
    set_mask(Mask::MAX)
}

/// The set of every signal, for signalfd(2). What `SigSet::all` makes lacks those that the C
/// library keeps to itself: with glibc 32 and 33, with musl 34 too, which is others' `SIGRTMIN`.
pub fn every() -> SigSet {
    let every = [u8::MAX; size_of::<libc::sigset_t>()];
    // SAFETY: it is an array of integers as large, of which the kernel reads the first 64 bits.
    let every = unsafe { std::mem::transmute::<[u8; _], libc::sigset_t>(every) };
    // SAFETY: any bits are a set of signals to the kernel, and to the C library.
    unsafe { SigSet::from_sigset_t_unchecked(every) }
}

/// Ends this process by `signal`, as if that had been sent to it, without a core dump. If the
/// signal does not end it, it exits with 128 plus the number.
pub fn die_of(signal: i32) -> ! {
    // Whatever fails here, the exit below says the same in another way.
    // SAFETY: integers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    match set_default(signal) {
        Ok(()) | Err(_) => {}
    }
    let this = nix::unistd::Pid::this().as_raw();
    // SAFETY: integers; to this process.
    unsafe { libc::kill(this, signal) };
    // It is delivered on the way out of this call.
    match set_mask(!(1 << (signal - 1).clamp(0, LAST - 1))) {
        Ok(_) | Err(_) => {}
    }
    super::exit_now(128 + signal)
}

/// Gives `SIGPIPE`, which Rust ignores, its default action, and sets the mask. In a child without
/// handlers; async-signal-safe.
pub(super) fn give_back(mask: Mask) -> Result<(), Errno> {
    set_default(libc::SIGPIPE)?;
    set_mask(mask).map(|_| ())
}

/// The kernel's `struct sigaction`: its first word is the handler, and eight words are enough for
/// all of it.
type Action = [usize; 8];

/// What happens on `signal`: an address, `SIG_DFL` or `SIG_IGN`. rt_sigaction(2).
pub(super) fn handler(signal: libc::c_int) -> Result<libc::sighandler_t, Errno> {
    let mut old: Action = [0; 8];
    let none = std::ptr::null::<Action>();
    // SAFETY: nothing is set, and `old` has room for the kernel's structure. The C library's
    // wrapper would hide its own signals.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            none,
            std::ptr::from_mut(&mut old),
            size_of::<Mask>(),
        )
    };
    check(ret)?;
    Ok(old[0])
}

/// `SIG_DFL` for `signal`. rt_sigaction(2).
fn set_default(signal: libc::c_int) -> Result<(), Errno> {
    let default: Action = [libc::SIG_DFL; 8];
    let none = std::ptr::null_mut::<Action>();
    // SAFETY: zeros are SIG_DFL without flags and with an empty mask, in whatever order an
    // architecture has the fields.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::from_ref(&default),
            none,
            size_of::<Mask>(),
        )
    };
    check(ret).map(|_| ())
}

/// Sets the calling thread's mask; returns the one before. rt_sigprocmask(2).
fn set_mask(mask: Mask) -> Result<Mask, Errno> {
    let mut before: Mask = 0;
    // SAFETY: both sets are live and of the size that is passed.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&mask),
            std::ptr::from_mut(&mut before),
            size_of::<Mask>(),
        )
    };
    check(ret)?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn a_mask_comes_back_as_it_was() {
        SigSet::from_iter([Signal::SIGUSR2]).thread_block().unwrap();
        let blocked = Blocked::all().unwrap();
        assert_eq!(
            set_mask(Mask::MAX).unwrap() | 1 << 8 | 1 << 18,
            Mask::MAX,
            "all but SIGKILL and SIGSTOP"
        );
        drop(blocked);
        assert_eq!(
            SigSet::thread_get_mask().unwrap(),
            SigSet::from_iter([Signal::SIGUSR2])
        );
        SigSet::from_iter([Signal::SIGUSR2])
            .thread_unblock()
            .unwrap();
    }
}
