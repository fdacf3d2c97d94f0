//! The processes that an init traces: it lets each go on at once, and knows which there are.
//!
//! All of them were attached to with `PTRACE_O_EXITKILL`, so the end of the tracer, whatever its
//! reason, is the end of all of them. A process begins with a stop, before its first instruction.
//!
//! Nothing in here allocates. Sources: ptrace(2), kernel/ptrace.c `exit_ptrace()`, kernel/signal.c.

use nix::errno::Errno;
use nix::unistd::Pid;

use super::results::Results;
use crate::mapping::Mapping;
use crate::{check, ptrace};

/// Numbers of processes are below this (`PID_MAX_LIMIT`, include/linux/threads.h).
const PID_MAX: usize = 4 << 20;
/// What `Tracees` needs: a bit for each number. Memory that is not touched costs nothing.
pub(super) const BYTES: usize = PID_MAX / 8;
const WORD_BITS: usize = 64;
/// Words for which one bit of `touched` stands.
const WORDS_A_BIT: usize = PID_MAX / WORD_BITS / TOUCHED_BITS;
const TOUCHED_BITS: usize = 128;

/// What is traced.
#[derive(Debug)]
pub(super) struct Tracees<'a> {
    /// A bit for each task that has been seen. It may be one that is gone: a thread that executes
    /// a program gets its leader's number, and nothing tells of its own. So each is asked for
    /// again before it is used.
    seen: &'a Mapping,
    /// Which parts of `seen` have any.
    touched: u128,
    /// Processor time of those that have ended, in nanoseconds.
    dead_cpu_ns: u64,
    results: &'a Results,
}

impl<'a> Tracees<'a> {
    /// None yet. `seen` is fresh, and has [`BYTES`].
    pub(super) fn new(seen: &'a Mapping, results: &'a Results) -> Self {
        Self {
            seen,
            touched: 0,
            dead_cpu_ns: 0,
            results,
        }
    }

    /// A word of the set. `None`: the mapping is too small for it.
    fn word(&mut self, at: usize) -> Option<&mut u64> {
        if (at + 1) * size_of::<u64>() > self.seen.length {
            return None;
        }
        // SAFETY: within the mapping.
        let word = unsafe { self.seen.at.cast::<u64>().add(at).as_ptr() };
        // SAFETY: live as long as the mapping, aligned, any bits are valid, and only the one tracer
        // uses it.
        Some(unsafe { &mut *word })
    }

    /// Adds one. Whether it is new.
    pub(super) fn add(&mut self, pid: libc::pid_t) -> bool {
        let number = usize::try_from(pid).unwrap_or(0);
        let (at, bit) = (number / WORD_BITS, 1 << (number % WORD_BITS));
        let Some(word) = self.word(at) else {
            return false;
        };
        let new = *word & bit == 0;
        *word |= bit;
        self.touched |= 1 << (at / WORDS_A_BIT);
        new
    }

    /// Takes one out. Whether it was there.
    pub(super) fn forget(&mut self, pid: libc::pid_t) -> bool {
        let number = usize::try_from(pid).unwrap_or(0);
        let bit = 1 << (number % WORD_BITS);
        self.word(number / WORD_BITS).is_some_and(|word| {
            let was = *word & bit != 0;
            *word &= !bit;
            was
        })
    }

    /// Lets a task go on that has stopped with this status. Returns the signal if it is to stay
    /// stopped by one.
    pub(super) fn stopped(&mut self, pid: libc::pid_t, status: libc::c_int) -> Option<libc::c_int> {
        let (event, signal) = (status >> 8, status & 0xff);
        let tracee = Pid::from_raw(pid);
        let stays = event == ptrace::EVENT_STOP && signal != libc::SIGTRAP;
        let answer = match event {
            // A signal is about to be delivered: it is, and keeps what else it carries.
            0 => ptrace::cont(tracee, signal),
            ptrace::EVENT_STOP if stays => ptrace::listen(tracee),
            // It is new, or goes on after a stop.
            ptrace::EVENT_STOP => {
                if self.add(pid) {
                    self.results.count_birth();
                }
                ptrace::cont(tracee, 0)
            }
            // It has made another.
            _ => ptrace::cont(tracee, 0),
        };
        self.results.count_stop();
        match answer {
            // `ESRCH`: it was killed in the stop.
            Ok(()) | Err(_) => stays.then_some(signal),
        }
    }

    /// Takes in that a task has ended, before it is reaped.
    pub(super) fn ending(&mut self, pid: libc::pid_t) {
        // An orphan is reaped a second time, as a child.
        if self.forget(pid) {
            self.dead_cpu_ns += cpu_ns(pid).unwrap_or(0);
        }
    }

    /// Sends a signal to every process.
    pub(super) fn send_all(&mut self, signal: libc::c_int) {
        self.each(|pid| {
            // SAFETY: integers. It is a child or tracee that only this process reaps, so its number
            // is nobody else's.
            unsafe { libc::kill(pid, signal) };
        });
    }

    /// Processor time of all that there are and were, in microseconds.
    pub(super) fn cpu_us(&mut self) -> u64 {
        let mut sum = self.dead_cpu_ns;
        self.each(|pid| sum += cpu_ns(pid).unwrap_or(0));
        sum / 1_000
    }

    /// Calls `with` for every process that is there.
    fn each(&mut self, mut with: impl FnMut(libc::pid_t)) {
        for part in 0..TOUCHED_BITS {
            if self.touched >> part & 1 == 0 {
                continue;
            }
            for at in part * WORDS_A_BIT..(part + 1) * WORDS_A_BIT {
                let mut left = self.word(at).map_or(0, |word| *word);
                while left != 0 {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    let Ok(pid) = libc::pid_t::try_from(at * WORD_BITS + bit) else {
                        continue;
                    };
                    if !is_ours(pid) {
                        self.forget(pid);
                    } else if leads(pid) {
                        with(pid);
                    }
                }
            }
        }
    }
}

/// Whether it is a child or a tracee. If so it stays one until it is reaped here.
fn is_ours(pid: libc::pid_t) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let id = libc::id_t::try_from(pid).unwrap_or(0);
    // SAFETY: all zeros is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable for the call.
    let ret = unsafe { libc::waitid(libc::P_PID, id, &mut info, flags) };
    check(libc::c_long::from(ret)) != Err(Errno::ECHILD)
}

/// Whether it is a process and no further thread of one.
fn leads(pid: libc::pid_t) -> bool {
    // SAFETY: integers; nothing is sent.
    let ret = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, 0) };
    check(ret).is_ok()
}

/// Processor time of a process, ended or not; `None` for a thread. Source: clock_getcpuclockid(3),
/// include/linux/posix-timers.h `MAKE_PROCESS_CPUCLOCK`.
fn cpu_ns(pid: libc::pid_t) -> Option<u64> {
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable for the call.
    let ret = unsafe { libc::clock_gettime((!pid << 3) | CPUCLOCK_SCHED, &mut time) };
    check(libc::c_long::from(ret)).ok()?;
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_child_is_forgotten() {
        let (seen, results) = (Mapping::anonymous(BYTES).unwrap(), Results::new().unwrap());
        let mut tracees = Tracees::new(&seen, &results);
        let stranger = 1;
        for pid in [stranger, 63, 64, 4_194_303] {
            tracees.add(pid);
        }
        let mut there = 0;
        tracees.each(|_| there += 1);
        assert_eq!(there, 0);
        assert!(!tracees.forget(stranger));
        tracees.add(libc::pid_t::try_from(PID_MAX).unwrap());
        assert!(!tracees.forget(libc::pid_t::MAX), "there is no room for it");
    }

    #[test]
    fn a_child_is_found_and_has_a_clock() {
        let (seen, results) = (Mapping::anonymous(BYTES).unwrap(), Results::new().unwrap());
        let mut tracees = Tracees::new(&seen, &results);
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tracees.add(libc::pid_t::try_from(child.id()).unwrap());
        let mut there = Vec::new();
        tracees.each(|pid| there.push(pid));
        assert_eq!(there.len(), 1);
        assert!(cpu_ns(there[0]).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        tracees.each(|pid| panic!("{pid}"));
    }
}
