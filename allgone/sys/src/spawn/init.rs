//! The init of a launched program: PID 1 of its PID namespace, or the tracer of all that it starts;
//! forked without exec.
//!
//! It reaps, keeps the deadline, ends everything when the launcher is gone, and in the end takes
//! the cgroups away (`finish.rs`). It allocates nothing, takes no lock, formats nothing and cannot
//! unwind. All signals are blocked in it; SIGKILL and SIGSTOP from inside the namespace never reach
//! it.
//!
//! It is outside of the program's cgroup: what freezes, throttles or kills that does not reach it.
//! Its end kills whatever is left. In a namespace it is complete only when all of that has been
//! reaped (`zap_pid_ns_processes()`, kernel/pid_namespace.c): so for the launcher it is the proof.
//! What a tracer leaves becomes the launcher's to reap.
//!
//! Sources: pid_namespaces(7), ptrace(2), waitid(2), signalfd(2), ppoll(2).

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, RawFd};

use super::changes::{Next, change, ended};
use super::launch::Memory;
use super::orders::{MESSAGE_BYTES, Message, Orders};
use super::results::{Cause, Results};
use super::setup::File;
use super::tracees::Tracees;
use crate::sched::{SHORTEST_SLICE_NS, set_slice_ns};
use crate::time::{MonoNs, now};

/// How often processor time is looked at when little of it is left, in nanoseconds.
const CPU_LOOK_NS: u64 = 5_000_000;
/// How many changes of children are taken in before the deadline is looked at again: those that
/// fork and fork make more of them without end.
const BATCH: u32 = 256;

/// What it works with.
#[derive(Debug)]
pub(super) struct Init<'a> {
    pub(super) orders: Orders,
    /// To the launcher; the other end is closed when that is gone.
    pub(super) socket: RawFd,
    /// An eventfd that wakes the launcher.
    pub(super) bell: RawFd,
    /// A signalfd with SIGCHLD in its set.
    pub(super) signals: RawFd,
    /// `cpu.stat`, or -1.
    pub(super) cpu_stat: RawFd,
    /// Directory and name of the cgroup to remove in the end.
    pub(super) cgroup: Option<(BorrowedFd<'a>, &'a CStr)>,
    /// Further ones.
    pub(super) groups: &'a [(BorrowedFd<'a>, &'a CStr)],
    /// What is read in the end, before the cgroups are removed.
    pub(super) memory: Option<Memory<'a>>,
    /// What is written before everything is killed.
    pub(super) lifts: &'a [File<'a>],
    pub(super) main: libc::pid_t,
    pub(super) results: &'a Results,
    pub(super) reach: Reach<'a>,
}

/// Which processes it ends, and how.
#[derive(Debug)]
pub(super) enum Reach<'a> {
    /// All of its PID namespace: with its own end; and what others have moved into its cgroup: by
    /// writing this.
    Namespace(Option<File<'a>>),
    /// What it traces: with its own end.
    Tracees(Tracees<'a>),
    /// A cgroup: by writing this.
    Cgroup(File<'a>),
}

impl Init<'_> {
    /// Runs until everything is over, and ends this process.
    pub(super) fn run(mut self) -> ! {
        be_prompt(&self.reach);
        if self.orders.tell_birth {
            self.tell(Message::Born(self.main));
        }
        loop {
            let found = self.reap();
            match found {
                Found::Alone => self.finish(),
                Found::Over => self.kill(),
                Found::Nothing | Found::More => {}
            }
            if let Some(cause) = self.due() {
                self.end(cause);
            }
            self.wait(found);
        }
    }

    /// Takes in what has changed.
    fn reap(&mut self) -> Found {
        let had_main = self.main > 0;
        let found = self.reap_batch();
        // Not if nobody is left: that is told by the end of this process.
        if had_main && self.main < 0 && !matches!(found, Found::Over | Found::Alone) {
            self.tell(Message::MainEnded);
        }
        found
    }

    fn reap_batch(&mut self) -> Found {
        for _ in 0..BATCH {
            let (pid, code, status) = match self.next_change() {
                Next::Change(pid, code, status) => (pid, code, status),
                Next::None => return Found::Nothing,
                Next::Alone => {
                    self.results.set_alone();
                    return Found::Alone;
                }
            };
            let stop = match (code, &mut self.reach) {
                (libc::CLD_TRAPPED, Reach::Tracees(tracees)) => tracees.stopped(pid, status),
                (libc::CLD_STOPPED, _) => Some(status),
                _ => None,
            };
            if pid != self.main {
                continue;
            }
            if let Some(signal) = stop {
                self.tell(Message::Stopped(signal));
            }
            if ended(code) {
                self.results.set_main_end(code, status);
                self.main = -1;
                if self.orders.main_only {
                    self.results.set_cause(Cause::MainEnded);
                    return Found::Over;
                }
            }
        }
        Found::More
    }

    fn next_change(&mut self) -> Next {
        let flags = libc::WNOHANG | libc::WSTOPPED;
        let Reach::Tracees(tracees) = &mut self.reach else {
            return change(libc::P_ALL, 0, flags);
        };
        if self.orders.cpu_limit_us.is_none() {
            let next = change(libc::P_ALL, 0, flags);
            if let Next::Change(pid, code, _) = next
                && ended(code)
            {
                tracees.forget(pid);
            }
            return next;
        }
        // A process has its clock until it is reaped.
        let next = change(libc::P_ALL, 0, flags | libc::WNOWAIT);
        let Next::Change(pid, code, _) = next else {
            return next;
        };
        if ended(code) {
            tracees.ending(pid);
        }
        // It is still as it was, for nothing else takes it in; unless it was killed in a stop, and
        // then this is its end.
        match change(libc::P_PID, pid, flags) {
            Next::Change(pid, again, status) => {
                if ended(again) && !ended(code) {
                    tracees.ending(pid);
                }
                Next::Change(pid, again, status)
            }
            // Killed in a stop, and not yet at its end.
            Next::None | Next::Alone => Next::Change(pid, 0, 0),
        }
    }

    /// Whether it has to be ended now, and why.
    fn due(&mut self) -> Option<Cause> {
        if let Some(limit) = self.orders.cpu_limit_us
            && self.cpu_used_us().is_some_and(|used| used >= limit)
        {
            self.orders.cpu_limit_us = None;
            return Some(Cause::CpuTime);
        }
        self.orders
            .deadline
            .is_some_and(|at| now() >= at)
            .then_some(Cause::Timeout)
    }

    /// Ends everything: with a signal first if there is a grace and it has not begun.
    fn end(&mut self, cause: Cause) {
        self.results.set_cause(cause);
        let Some(grace) = self.orders.grace_ns.take() else {
            self.results.set_killed();
            self.kill()
        };
        self.send_all(self.orders.signal);
        self.send_all(libc::SIGCONT);
        self.orders.deadline = Some(MonoNs(now().0.saturating_add(grace)));
        self.orders.cpu_limit_us = None;
    }

    /// Sleeps until something happens, and takes in what the launcher said.
    fn wait(&mut self, found: Found) {
        let events = |fd, events| libc::pollfd {
            fd,
            events,
            revents: 0,
        };
        let mut fds = [
            events(self.socket, libc::POLLIN),
            events(self.signals, libc::POLLIN),
            // A hang-up is always told.
            events(self.orders.lease.unwrap_or(-1), 0),
        ];
        let timeout = match found {
            // What it says has been taken in before.
            Found::More => Some(timespec(0)),
            _ => self.timeout(),
        };
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the array is writable and as long as it says; the timeout is live or null.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 3, timeout, std::ptr::null()) };
        if ready <= 0 {
            return;
        }
        let [socket, signals, lease] = fds;
        if signals.revents != 0 {
            let mut room = [0u8; 128 * 4];
            // SAFETY: the buffer is writable and as long as it says. It never sleeps, and what it
            // says is only that there is something to reap.
            unsafe { libc::read(self.signals, room.as_mut_ptr().cast(), room.len()) };
        }
        if lease.revents != 0 {
            self.orders.lease = None;
            self.end(Cause::Lease);
        }
        if socket.revents != 0 {
            self.hear(socket.revents & libc::POLLIN != 0);
        }
    }

    fn hear(&mut self, readable: bool) {
        let mut bytes = [0u8; MESSAGE_BYTES];
        let read = if readable {
            // SAFETY: the buffer is writable and as long as it says.
            unsafe { libc::read(self.socket, bytes.as_mut_ptr().cast(), bytes.len()) }
        } else {
            0
        };
        if read == 0 {
            self.results.set_cause(Cause::LauncherGone);
            self.kill();
        }
        match Message::parse(bytes) {
            Some(Message::Signal(signal)) if self.main > 0 => send(self.main, signal),
            Some(Message::Signal(signal)) => self.send_all(signal),
            Some(Message::End) => self.end(Cause::Asked),
            _ => {}
        }
    }

    /// Until the next thing that is due by time.
    fn timeout(&mut self) -> Option<libc::timespec> {
        let due = self.orders.deadline.map(|at| at.0.saturating_sub(now().0));
        let look = self.orders.cpu_limit_us.and_then(|limit| {
            let left = limit.saturating_sub(self.cpu_used_us()?);
            // As many processors as there may be use it up that much sooner.
            let processors = self.orders.processors.max(1);
            Some((left.saturating_mul(1000) / processors).max(CPU_LOOK_NS))
        });
        let next = match (due, look) {
            (Some(due), Some(look)) => due.min(look),
            (due, look) => due.or(look)?,
        };
        Some(timespec(next))
    }

    fn cpu_used_us(&mut self) -> Option<u64> {
        match &mut self.reach {
            Reach::Tracees(tracees) => Some(tracees.cpu_us()),
            Reach::Namespace(_) | Reach::Cgroup(_) => cpu_used_us(self.cpu_stat),
        }
    }

    /// To every process but this one; of a cgroup, whose members' numbers could be others' by the
    /// time that they are used, to main alone. That nobody is left is no error.
    fn send_all(&mut self, signal: i32) {
        match &mut self.reach {
            Reach::Tracees(tracees) => tracees.send_all(signal),
            Reach::Namespace(_) => send(-1, signal),
            Reach::Cgroup(_) if self.main > 0 => send(self.main, signal),
            Reach::Cgroup(_) => {}
        }
    }

    /// Tells the launcher. If it does not read, or is gone, that is found elsewhere.
    fn tell(&self, message: Message) {
        let bytes = message.bytes();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the bytes are live for the call.
        unsafe { libc::send(self.socket, bytes.as_ptr().cast(), bytes.len(), flags) };
        let one = 1u64.to_ne_bytes();
        // SAFETY: as above. It never sleeps.
        unsafe { libc::write(self.bell, one.as_ptr().cast(), one.len()) };
    }
}

pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / 1_000_000_000).try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// Whatever the program does to keep the processors busy, init runs soon after what wakes it: in
/// short slices, and in a session of its own, which is an autogroup of its own where the kernel has
/// those (sched(7)): as large a share of the processor as a whole session's, however many of them
/// the program makes.
///
/// Without both, on two processors that two dozen copies of a fork bomb and an emulator kept busy,
/// an init has run 1.28 s after the launcher's death had woken it (Linux 6.18.44). Slices are of
/// Linux 6.12. A higher priority is not taken: how much an init has to do is up to the program,
/// which could keep others from the processor by it.
fn be_prompt(reach: &Reach<'_>) {
    match set_slice_ns(SHORTEST_SLICE_NS) {
        Ok(()) | Err(_) => {}
    }
    // A tracer has one already. PID 1 does without: it costs 8 us, 1 % of a run that does nothing.
    if let Reach::Cgroup(_) = reach {
        // SAFETY: no arguments.
        unsafe { libc::setsid() };
    }
}

/// What a look at the children has found.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// It is over: nobody is left.
    Alone,
    /// It is over: what is left is ended.
    Over,
    /// Nothing more for now.
    Nothing,
    /// There may be more.
    More,
}

pub(super) fn send(pid: libc::pid_t, signal: i32) {
    // SAFETY: integers. A process that is gone is no error; a child that has ended keeps its number
    // until it is reaped here.
    unsafe { libc::kill(pid, signal) };
}

/// `usage_usec` of an open `cpu.stat`. Source: Documentation/admin-guide/cgroup-v2.rst.
fn cpu_used_us(file: RawFd) -> Option<u64> {
    let mut room = [0u8; 256];
    // SAFETY: the buffer is writable and as long as it says.
    let read = unsafe { libc::pread(file, room.as_mut_ptr().cast(), room.len(), 0) };
    usage_usec(room.get(..usize::try_from(read).ok()?)?)
}

fn usage_usec(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"usage_usec ")?;
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|byte| u64::from(byte - b'0'))
        .try_fold(0u64, |number, digit| {
            number.checked_mul(10)?.checked_add(digit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read() {
        assert_eq!(usage_usec(b"usage_usec 1234\nuser_usec 5\n"), Some(1234));
        assert_eq!(usage_usec(b"user_usec 5\n"), None);
    }
}
