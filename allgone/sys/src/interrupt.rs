//! The handling of signals while they are not read from a descriptor: everything that was made is
//! removed, and the process ends.
//!
//! The handler runs in the middle of whatever the process was doing, so it only makes system calls:
//! it tells the guards to remove everything, waits for them, prints a message, and exits.
//!
//! Source: signal-safety(7).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;

use crate::spawn::exit_now;
use crate::time::now;
use crate::{MonoNs, check};

/// The signals that ask a program to end.
pub const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// How long the guards may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process that the handler is for: a copy of it that was forked without exec inherits the
/// handler.
static OWNER: AtomicI32 = AtomicI32::new(0);
static END: AtomicI32 = AtomicI32::new(-1);
static GUARDS: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];
static CODE: AtomicI32 = AtomicI32::new(1);
static WORDS: AtomicPtr<Words> = AtomicPtr::new(std::ptr::null_mut());

/// What is written to standard error before the exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// All has been removed.
    pub removed: &'static str,
    /// Not all has been.
    pub left: &'static str,
    /// As `removed`, if the reason was the end of a guard and not a signal.
    pub guard: &'static str,
}

/// The three signals as they were handled before. Dropping it puts that back.
#[derive(Debug)]
pub struct Handled {
    before: [Option<SigAction>; 3],
}

impl Handled {
    /// Handles those of [`SIGNALS`] that are not ignored: `end` (an eventfd) is written to, both
    /// `guards` (pidfds of children) are waited for and reaped, and the process exits with `code`.
    /// If both guards have been killed it does not exit: nothing would be removed then.
    ///
    /// Errors: as sigaction(2), which has none for these signals.
    pub fn install(
        end: BorrowedFd<'_>,
        guards: [BorrowedFd<'_>; 2],
        code: u8,
        words: &'static Words,
    ) -> Result<Self, Errno> {
        END.store(end.as_raw_fd(), Ordering::Relaxed);
        for (slot, guard) in GUARDS.iter().zip(guards) {
            slot.store(guard.as_raw_fd(), Ordering::Relaxed);
        }
        CODE.store(i32::from(code), Ordering::Relaxed);
        WORDS.store(std::ptr::from_ref(words).cast_mut(), Ordering::Relaxed);
        OWNER.store(nix::unistd::getpid().as_raw(), Ordering::Release);
        let mut handled = Self { before: [None; 3] };
        let action = SigAction::new(
            SigHandler::Handler(handler),
            SaFlags::SA_RESTART,
            SigSet::from_iter(SIGNALS),
        );
        for (signal, before) in SIGNALS.into_iter().zip(&mut handled.before) {
            // SAFETY: the handler makes only system calls that signal-safety(7) lists or that take
            // no lock in user space.
            let old = unsafe { sigaction(signal, &action) }?;
            if matches!(old.handler(), SigHandler::SigIgn) {
                // A signal that was ignored at the start (nohup) is meant to stay ignored. SAFETY:
                // puts back what was there a moment ago.
                unsafe { sigaction(signal, &old) }?;
            } else {
                *before = Some(old);
            }
        }
        Ok(handled)
    }

    /// The signals that are handled.
    pub fn signals(&self) -> impl Iterator<Item = Signal> + '_ {
        SIGNALS
            .into_iter()
            .zip(&self.before)
            .filter_map(|(signal, before)| before.map(|_| signal))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        for (signal, before) in SIGNALS.into_iter().zip(&self.before) {
            if let Some(before) = before {
                // SAFETY: puts back what was there before. It cannot fail: it was valid then.
                match unsafe { sigaction(signal, before) } {
                    Ok(_) | Err(_) => {}
                }
            }
        }
        OWNER.store(0, Ordering::Release);
    }
}

/// Puts those of [`SIGNALS`] back to their defaults that are ignored: a shell without job control
/// starts what is behind `&` with SIGINT ignored, and all that is started next inherits that. For
/// programs with children that are to be interrupted, whatever started them.
///
/// Errors: as sigaction(2), which has none for these signals.
pub fn heed() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in SIGNALS {
        // SAFETY: the default action runs no code of this process.
        let before = unsafe { sigaction(signal, &default) }?;
        if !matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: puts back what was there a moment ago.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

extern "C" fn handler(signal: libc::c_int) {
    // SAFETY: getpid takes nothing.
    if unsafe { libc::getpid() } != OWNER.load(Ordering::Acquire) {
        exit_now(128 + signal);
    }
    let errno = Errno::last_raw();
    let alone = GUARDS.iter().any(|guard| ended(guard, MonoNs(0)).is_some());
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight live bytes and a descriptor that its owner keeps open while the handler is
    // installed.
    unsafe { libc::write(END.load(Ordering::Relaxed), one.as_ptr().cast(), one.len()) };
    let deadline = now() + PATIENCE;
    // Each of them removes everything, so one report is enough.
    let guards = [&GUARDS[0], &GUARDS[1]].map(|guard| ended(guard, deadline));
    if guards == [Some(KILLED); 2] {
        // No guard is left to remove anything: the process goes on, and removes it when it notices
        // that its guards are gone.
        Errno::set_raw(errno);
        return;
    }
    let removed = guards.contains(&Some(0)) && end_children(deadline);
    // SAFETY: the pointer is null or was made from a reference to a static.
    if let Some(words) = unsafe { WORDS.load(Ordering::Relaxed).as_ref() } {
        let text = match (removed, alone) {
            (true, false) => words.removed,
            (true, true) => words.guard,
            (false, _) => words.left,
        };
        // SAFETY: a live string. If standard error is closed, the message is lost.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    }
    exit_now(CODE.load(Ordering::Relaxed))
}

/// Ends and reaps the children that are left: probes start some in no cgroup of the run. False: one
/// is still there at `deadline`.
fn end_children(deadline: MonoNs) -> bool {
    loop {
        // SAFETY: null asks for no status.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } {
            0 if deadline.has_passed() => return false,
            0 => kill_children(),
            pid if pid > 0 => {}
            // ECHILD: there is none.
            _ => return true,
        }
    }
}

/// Sends SIGKILL to each child, and waits a millisecond for them.
fn kill_children() {
    let children = nix::fcntl::open(
        c"/proc/thread-self/children",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    let mut text = [0u8; 1024];
    let read = children.map_or(0, |file| nix::unistd::read(&file, &mut text).unwrap_or(0));
    let mut pid = 0i32;
    for byte in &text[..read] {
        if byte.is_ascii_digit() {
            pid = pid
                .saturating_mul(10)
                .saturating_add(i32::from(byte - b'0'));
        } else if pid > 0 {
            // SAFETY: a child that nothing else reaps, so the pid is its own. It may have ended.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            pid = 0;
        }
    }
    // SAFETY: no descriptors. There is no single descriptor that reports the end of all children.
    unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
}

/// The value for the exit code of a guard that was killed.
const KILLED: i32 = -1;

/// Waits for the end of a guard. Its exit code, or [`KILLED`]. `None`: not until `deadline`.
fn ended(guard: &AtomicI32, deadline: MonoNs) -> Option<i32> {
    let fd = guard.load(Ordering::Relaxed);
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        let left = i32::try_from(deadline.remaining().as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one live pollfd.
        let ready = unsafe { libc::poll(&mut poll, 1, left) };
        match check(libc::c_long::from(ready)) {
            Ok(0) => return None,
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(_) => return Some(KILLED),
        }
    }
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = libc::id_t::try_from(fd).unwrap_or_default();
    // SAFETY: one live siginfo_t to fill. It stays a zombie, so the next call gets the same answer.
    let waited = unsafe {
        libc::waitid(
            libc::P_PIDFD,
            id,
            &mut info,
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
        )
    };
    if waited != 0 || info.si_code != libc::CLD_EXITED {
        return Some(KILLED);
    }
    // SAFETY: the kernel has filled in a SIGCHLD.
    Some(unsafe { info.si_status() })
}
