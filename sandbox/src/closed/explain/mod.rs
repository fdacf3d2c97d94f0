//! `--explain`: which file, address or call was refused, by which lock, and which option would
//! allow it. For reports only: nothing is decided by it.
//!
//! The launcher traces init from before it makes main, and so all that main starts, and looks at
//! each system call's result. That needs no privilege, and sees results: a seccomp notification
//! would see calls alone. Whatever it is told about the arguments may have been changed by the
//! program since the kernel read them.
//!
//! Sources: ptrace(2) `PTRACE_SEIZE`, `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).

mod advice;
mod calls;
mod subject;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use allgone::sys::ptrace::{self, CallStop};
use allgone::sys::spawn::launch::{Need, Setup};
use allgone::sys::wait::{Change, Whose, waitid};
use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

pub(crate) use advice::{Advice, World};

/// How many different things are told of.
const MOST: usize = 1_000;
/// How many stops are taken in before other things are looked at.
const BATCH: usize = 256;

/// A way for the launcher to trace init before that goes on.
#[derive(Debug)]
pub(crate) struct Gate {
    gate: OwnedFd,
    opener: OwnedFd,
}

impl Gate {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (gate, opener) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        Ok(Self { gate, opener })
    }

    /// What init does first.
    pub(crate) fn step(&self) -> (Setup<'_>, Need) {
        let (gate, opener) = (self.gate.as_fd(), self.opener.as_fd());
        (Setup::Await { gate, opener }, Need::Required)
    }
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Denial {
    /// The system call.
    pub(crate) call: &'static str,
    /// The file or address, if it is about one.
    pub(crate) subject: Option<String>,
    /// The kernel's answer.
    pub(crate) errno: i32,
    /// What of that is known.
    pub(crate) advice: Advice,
}

/// What traces.
#[derive(Debug)]
pub(crate) struct Tracer<'a> {
    init: Pid,
    world: World<'a>,
    /// Calls that have begun, by task.
    begun: HashMap<Pid, (u64, [u64; 6])>,
    /// Whether main has become the program: what it does before is the launcher's.
    executed: bool,
    denials: BTreeMap<Denial, u64>,
    /// How many could not be kept.
    further: u64,
}

impl<'a> Tracer<'a> {
    /// Traces `init`, and lets it pass. Errors: `EPERM` Yama or another tracer.
    pub(crate) fn begin(gate: &Gate, init: Pid, world: World<'a>) -> Result<Self, Errno> {
        ptrace::seize_for_calls(init)?;
        nix::unistd::write(&gate.opener, &[1])?;
        Ok(Self {
            init,
            world,
            begun: HashMap::new(),
            executed: false,
            denials: BTreeMap::new(),
            further: 0,
        })
    }

    /// Takes in what has stopped, and lets it go on. Whether there may be more.
    pub(crate) fn take_in(&mut self) -> bool {
        let flags = WaitPidFlag::WEXITED
            | WaitPidFlag::WSTOPPED
            | WaitPidFlag::WNOHANG
            | WaitPidFlag::__WALL;
        for _ in 0..BATCH {
            let Ok(Some(seen)) = waitid(Whose::Any, flags | WaitPidFlag::WNOWAIT) else {
                return false;
            };
            // Init's end is taken in where it is waited for.
            if seen.pid == self.init && seen.ended() {
                return false;
            }
            if let Ok(Some(change)) = waitid(Whose::Pid(seen.pid), flags) {
                self.changed(change);
            }
        }
        true
    }

    fn changed(&mut self, change: Change) {
        let pid = change.pid;
        if change.ended() {
            self.begun.remove(&pid);
            return;
        }
        if change.code != libc::CLD_TRAPPED {
            return;
        }
        let (event, signal) = (change.status >> 8, change.status & 0xff);
        let stays = event == ptrace::EVENT_STOP && signal != libc::SIGTRAP;
        let deliver = match event {
            0 if signal == ptrace::CALL_STOP => {
                self.at_call(pid);
                0
            }
            0 => signal,
            _ => 0,
        };
        let answer = if stays {
            ptrace::listen(pid)
        } else if pid == self.init {
            ptrace::cont(pid, deliver)
        } else {
            ptrace::cont_to_call(pid, deliver)
        };
        match answer {
            // `ESRCH`: it was killed in the stop.
            Ok(()) | Err(_) => {}
        }
    }

    fn at_call(&mut self, pid: Pid) {
        match ptrace::call_stop(pid) {
            Ok(CallStop::Entry { number, args }) => {
                self.begun.insert(pid, (number, args));
            }
            Ok(CallStop::Exit { value }) => {
                let begun = self.begun.remove(&pid);
                let Some((number, args)) = begun.filter(|_| self.executed) else {
                    let execve = u64::try_from(libc::SYS_execve).ok();
                    let is_exec = begun.is_some_and(|(number, _)| Some(number) == execve);
                    self.executed |= is_exec && value == 0;
                    return;
                };
                if let Some(errno) = failed(value) {
                    self.refused(pid, number, args, errno);
                }
            }
            Ok(CallStop::None) | Err(_) => {}
        }
    }

    fn refused(&mut self, pid: Pid, number: u64, args: [u64; 6], errno: i32) {
        let Some(denial) = self.world.denial(pid, number, args, errno) else {
            return;
        };
        if let Some(count) = self.denials.get_mut(&denial) {
            *count += 1;
        } else if self.denials.len() < MOST {
            self.denials.insert(denial, 1);
        } else {
            self.further += 1;
        }
    }

    /// What was refused, with how often.
    pub(crate) fn denials(self) -> Denials {
        Denials {
            all: self.denials.into_iter().collect(),
            further: self.further,
        }
    }
}

/// What was refused in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials {
    /// Each, with how often.
    pub(crate) all: Vec<(Denial, u64)>,
    /// How many are not among them.
    pub(crate) further: u64,
}

impl Denials {
    /// In lines for the user.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(denial, count): &(Denial, u64)| {
            let subject = denial.subject.as_ref();
            let subject = subject.map_or_else(String::new, |subject| format!(" {subject:?}"));
            let errno = Errno::from_raw(denial.errno);
            let option = match &denial.advice.option {
                Some(option) => format!("{option:?} would allow it"),
                None => "no option allows it".to_owned(),
            };
            let (call, lock) = (denial.call, denial.advice.lock);
            format!("refused: {call}{subject}: {errno:?}: {lock}; {option} ({count} times)")
        };
        let mut lines: Vec<_> = self.all.iter().map(line).collect();
        if self.further > 0 {
            lines.push(format!("refused: {} more", self.further));
        }
        lines
    }
}

/// The error of a call that returned this.
fn failed(value: i64) -> Option<i32> {
    let errno = i32::try_from(value.checked_neg()?).ok()?;
    (1..4096).contains(&errno).then_some(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small_negative_numbers() {
        assert_eq!(failed(-1), Some(1));
        assert_eq!(failed(-4095), Some(4095));
        for value in [0, 5, -4096, i64::MIN, i64::MAX] {
            assert_eq!(failed(value), None);
        }
    }
}
