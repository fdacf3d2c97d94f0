//! The command under a tracer, stopped at each of its system calls.

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls;
use super::machine::{Place, binary};
use super::refuse::ARGS;

/// A call that is about to be made.
pub(crate) struct Entry {
    /// Counted from `main` on.
    pub(crate) k: u64,
    pub(crate) number: i64,
    pub(crate) args: [u64; 3],
}

/// The command, stopped at each of its system calls.
pub(crate) struct Tracee {
    pub(crate) pid: Pid,
    /// Rust's runtime makes a signal stack before `main`: one call reads the old one, one sets its
    /// own.
    pub(crate) signal_stacks: u32,
    pub(crate) k: u64,
    pub(crate) pending: Option<Signal>,
    pub(crate) status: Option<WaitStatus>,
}

impl Tracee {
    pub(crate) fn start(place: &Place) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = place.command(&program.to_string_lossy())?;
        let child = command.arg("--traced").arg(binary()).args(ARGS).spawn();
        let child = child.map_err(|e| format!("could not start the command: {e}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?);
        match wait(pid)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            other => return Err(format!("it was to stop at its exec: {other:?}")),
        }
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(pid, options).map_err(|e| format!("PTRACE_SETOPTIONS: {e}"))?;
        Ok(Self {
            pid,
            signal_stacks: 0,
            k: 0,
            pending: None,
            status: None,
        })
    }

    /// Goes on until the next stop at a system call. False: it has ended.
    pub(crate) fn stop(&mut self) -> Result<bool, String> {
        loop {
            match ptrace::syscall(self.pid, self.pending.take()) {
                // It was killed while it was stopped.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(format!("PTRACE_SYSCALL: {e}")),
            }
            match wait(self.pid)? {
                WaitStatus::PtraceSyscall(_) => return Ok(true),
                WaitStatus::Stopped(_, signal) => self.pending = Some(signal),
                status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                    self.status = Some(status);
                    return Ok(false);
                }
                _ => {}
            }
        }
    }

    /// The next call after `main` has begun, at its entry. Nothing: it has ended.
    pub(crate) fn next_call(&mut self) -> Result<Option<Entry>, String> {
        while self.stop()? {
            let info = ptrace::syscall_info(self.pid)
                .map_err(|e| format!("PTRACE_GET_SYSCALL_INFO: {e}"))?;
            if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
                continue;
            }
            let registers =
                ptrace::getregs(self.pid).map_err(|e| format!("PTRACE_GETREGS: {e}"))?;
            let number = registers.orig_rax.cast_signed();
            if self.signal_stacks >= 2 {
                self.k += 1;
                return Ok(Some(Entry {
                    k: self.k,
                    number,
                    args: [registers.rdi, registers.rsi, registers.rdx],
                }));
            }
            self.signal_stacks += u32::from(number == libc::SYS_sigaltstack);
        }
        Ok(None)
    }

    pub(crate) fn errors(&self, entry: &Entry) -> Option<(&'static str, &'static [Errno])> {
        let nonblocking = || {
            let info =
                std::fs::read_to_string(format!("/proc/{}/fdinfo/{}", self.pid, entry.args[0]))
                    .unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
            flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
        };
        calls::errors(entry.number, entry.args, nonblocking)
    }

    /// Makes the present call fail (the process is stopped at its entry), and detaches.
    pub(crate) fn fail(&mut self, errno: Errno) -> Result<(), String> {
        let mut registers =
            ptrace::getregs(self.pid).map_err(|e| format!("PTRACE_GETREGS: {e}"))?;
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers).map_err(|e| format!("PTRACE_SETREGS: {e}"))?;
        if !self.stop()? {
            return Ok(());
        }
        let mut registers =
            ptrace::getregs(self.pid).map_err(|e| format!("PTRACE_GETREGS: {e}"))?;
        registers.rax = i64::from(-(errno as i32)).cast_unsigned();
        ptrace::setregs(self.pid, registers).map_err(|e| format!("PTRACE_SETREGS: {e}"))?;
        ptrace::detach(self.pid, self.pending.take()).map_err(|e| format!("PTRACE_DETACH: {e}"))
    }
}

fn wait(pid: Pid) -> Result<WaitStatus, String> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            other => return other.map_err(|e| format!("waitpid: {e}")),
        }
    }
}
