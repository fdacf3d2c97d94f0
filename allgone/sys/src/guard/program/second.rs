//! The guard's second: a copy of it that waits for two things, in one blocking call.
//!
//! - The guard dies: a signal comes, and its handler clears the ground.
//! - The host's lock is gone: the host has died, or has become another program while a fork of it
//!   holds a copy of the socket. The second tells the guard, and stays: it acts if the guard is
//!   killed while it clears the ground.
//!
//! Sources: fcntl(2) "advisory record locking", prctl(2) `PR_SET_PDEATHSIG`.

use core::sync::atomic::{AtomicPtr, Ordering};

use super::call;
use super::ground::Ground;
use super::poll::Poll;
use super::process::{self, Disposition, Ended};
use super::raw::Errno;
use super::serve::{Host, clear};
use super::wire::born;

/// `SIGUSR1`, for the guard's death.
const ORPHANED: i32 = 10;
/// `SIGUSR2`, to the guard: the host is gone. Only a hint, for others may send it.
pub(crate) const HOST_GONE: i32 = 12;

/// The second, from the guard's side. Pid 0: there is none.
#[derive(Default)]
pub(crate) struct Second(i32);

/// What the handler needs: the strings of the ground, which live as long as the process.
static PREFIX: AtomicPtr<core::ffi::c_char> = AtomicPtr::new(core::ptr::null_mut());
static OWN: AtomicPtr<core::ffi::c_char> = AtomicPtr::new(core::ptr::null_mut());

impl Second {
    /// Forks it.
    pub(crate) fn start(ground: Ground) -> Result<Self, Errno> {
        PREFIX.store(ground.prefix.as_ptr().cast_mut(), Ordering::Relaxed);
        OWN.store(ground.own.as_ptr().cast_mut(), Ordering::Relaxed);
        let guard = process::own_pid();
        match process::fork()? {
            (0, _) => wait(guard),
            (pid, pidfd) => {
                call::close(pidfd);
                Ok(Self(pid))
            }
        }
    }

    /// Whether it is the one that has ended: somebody has killed it. Its number is not its own any
    /// more.
    pub(crate) fn has_died(&mut self, ended: &Ended) -> bool {
        let died = ended.pid == self.0;
        if died {
            self.0 = 0;
        }
        died
    }

    /// Ends it, and waits until it has left its cgroup, which is the guard's.
    pub(crate) fn dismiss(&mut self) {
        const SIGKILL: i32 = 9;
        // It is not reaped before, so the number is its own.
        if self.0 > 0 && process::kill(self.0, SIGKILL).is_ok() {
            process::wait_for(self.0);
        }
        self.0 = 0;
    }
}

/// The second's life.
fn wait(guard: i32) -> ! {
    const PR_SET_PDEATHSIG: usize = 1;
    process::set_name(c"allgone-second");
    // With a copy of the guard's end it would keep the host from seeing that the guard has closed
    // it, and jobs' channels likewise.
    call::close(born::SOCKET);
    match call::close_range(born::FREE.unsigned_abs(), u32::MAX) {
        Ok(()) | Err(_) => {}
    }
    let ready = process::on_signal(ORPHANED, &Disposition::Never(orphaned))
        .and_then(|()| process::prctl(PR_SET_PDEATHSIG, ORPHANED.unsigned_abs() as usize));
    if ready.is_err() {
        process::exit(1);
    }
    // From here on the signal comes, so this cannot miss it.
    if process::parent() != guard {
        orphaned(ORPHANED);
    }
    let only = !(1u64 << (ORPHANED - 1));
    if process::signal_mask(only).is_err() {
        process::exit(1);
    }
    // Fails if there is no such file, or no memory for locks.
    if call::wait_for_lock(born::LOCK).is_ok() {
        // It is this process's parent, or its death is on its way here.
        match process::kill(guard, HOST_GONE) {
            Ok(()) | Err(_) => {}
        }
    }
    // The guard's death is still for this process.
    loop {
        process::pause();
    }
}

/// Handler: the guard is dead. Never returns, so whatever it has interrupted does not matter.
extern "C" fn orphaned(_: i32) -> ! {
    let string = |from: &AtomicPtr<core::ffi::c_char>| {
        let at = from.load(Ordering::Relaxed);
        // SAFETY: an argument of this program, or null.
        (!at.is_null()).then(|| unsafe { core::ffi::CStr::from_ptr(at) })
    };
    match (string(&PREFIX), string(&OWN), Poll::new()) {
        (Some(prefix), Some(own), Ok(poll)) => {
            clear(Ground { prefix, own }, poll, None, Host::IsGone)
        }
        _ => process::exit(1),
    }
}
