//! `ptrace-exitkill`: trace the workload from its first instruction with `PTRACE_O_EXITKILL`; kill
//! the tracer, and the kernel kills its tracees.
//!
//! Every fork is traced from birth, wherever its parent goes. The tracer is a process of its own,
//! because its exit is what kills.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::SIGTRAP;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{Options, seize};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::error::{SysError, retry_eintr};
use crate::expect::{Reach, Scope, Sweep};
use crate::sys::fork::{Worker, worker};
use crate::sys::wait::{Whose, waitid};
use crate::sys::{pidfd, ptrace};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_pidfd;
use allgone::spawn::{Child, Gate, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct PtraceExitkill;

static SPEC: KillSpec = KillSpec {
    id: "ptrace-exitkill",
    summary: "trace every process of the tree with PTRACE_O_EXITKILL, then SIGKILL the tracer",
    reach: Reach {
        scope: Scope::ReapedDescendants,
        sweep: Sweep::Atomic,
    },
    claims_sound: false,
    may_hit: &[],
    effects: Effects {
        single_thread: true,
        gates_spawn: true,
        ..Effects::descriptors(1).and_processes(1)
    },
    since: KernelVersion(3, 8),
    privilege: "CAP_SYS_PTRACE for another user's processes",
    faults: "clone(CLONE_UNTRACED) escapes; every fork, exec and signal stops for the tracer, so \
        the workload runs at a fraction of its speed; no other process can trace it",
    sources: &[
        "ptrace(2): PTRACE_O_EXITKILL",
        "kernel/ptrace.c: exit_ptrace()",
        "kernel/fork.c: CLONE_UNTRACED",
    ],
    axes: &[],
};

/// How long seizing the main process may take.
const SEIZING: Duration = Duration::from_secs(5);

impl BlockingStrategy for PtraceExitkill {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
            Ok(scope) if scope.trim() == "3" => Ok(Support::missing(
                "kernel.yama.ptrace_scope is 3: no process may trace",
                "boot with another value of kernel.yama.ptrace_scope",
            )),
            Ok(scope) if scope.trim() == "2" && host.euid != 0 => Ok(Support::missing(
                "kernel.yama.ptrace_scope is 2: only root may trace",
                "run as root",
            )),
            _ => Ok(Support::Available),
        }
    }

    fn prepare(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(Box::new(Ready {
            set: set.clone(),
            gate: Some(spawn.gate()?),
            tracer: None,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    set: ProcessSet,
    gate: Option<Gate>,
    tracer: Option<Worker>,
}

impl BlockingKiller for Ready {
    /// Starts the tracer while the workload still waits at its gate, and opens the gate once it is
    /// traced.
    fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        let failed = |e| SysError::plain("start the tracer", e);
        let (hear, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let tell = std::cell::Cell::new(Some(tell));
        let tracer = worker(0, self.set.helpers().map(|helpers| helpers.as_fd()), || {
            tell.take()
                .map_or(1, |tell| trace(child.pid, File::from(tell)))
        })
        .map_err(failed)?;
        drop(tell);
        self.tracer = Some(tracer);
        let timeout = PollTimeout::try_from(SEIZING).unwrap_or(PollTimeout::MAX);
        let mut answer = [0; 4];
        match retry_eintr(|| poll(&mut [PollFd::new(hear.as_fd(), PollFlags::POLLIN)], timeout))
            .map_err(failed)?
        {
            0 => return Err(failed(Errno::ETIMEDOUT).into()),
            _ => File::from(hear)
                .read_exact(&mut answer)
                .map_err(|e| SysError::io("read from the tracer", crate::Target::Nothing, &e))?,
        }
        match i32::from_ne_bytes(answer) {
            0 => {}
            errno => {
                return Err(SysError::pid(
                    "PTRACE_SEIZE",
                    child.pid.as_raw(),
                    Errno::from_raw(errno),
                )
                .into());
            }
        }
        if let Some(gate) = self.gate.take() {
            gate.open()
                .map_err(|e| SysError::plain("open the gate", e))?;
        }
        Ok(())
    }

    fn kill(&mut self, _: &Child, _: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        report.indirect = true;
        report.passes = 1;
        if let Some(tracer) = &self.tracer {
            let pid = tracer.pid.as_raw();
            // Gone already: all its tracees have ended, or have been killed by its end.
            match by_pidfd(&mut report, &tracer.pidfd, pid, Signal::SIGKILL) {
                Ok(()) | Err(_) => {}
            }
            // It has killed all tracees by the time it is a zombie.
            retry_eintr(|| waitid(Whose::Pidfd(tracer.pidfd.as_fd()), WaitPidFlag::WEXITED))
                .map_err(|e| SysError::pid("waitid", pid, e))?;
        }
        self.tracer = None;
        Ok(report.issued())
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer {
            match pidfd::send_signal(tracer.pidfd.as_fd(), Some(Signal::SIGKILL)) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// The tracer's main function: seize, report that, and let each tracee run on after every stop,
/// until none is left. Returns its exit code.
fn trace(main: Pid, mut tell: File) -> i32 {
    let options = Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE;
    let answer = seize(main, options).map_or_else(|errno| errno as i32, |()| 0);
    if tell.write_all(&answer.to_ne_bytes()).is_err() || answer != 0 {
        return 1;
    }
    loop {
        match waitid(
            Whose::Any,
            WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL,
        ) {
            Ok(Some(change)) if !change.ended() => {
                let done = match reply(change.status) {
                    Reply::Go(signal) => ptrace::cont(change.pid, signal),
                    Reply::Stay => ptrace::listen(change.pid),
                };
                match done {
                    // ESRCH: it was killed meanwhile.
                    Ok(()) | Err(_) => {}
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 0,
        }
    }
}

/// What to do with a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// Go on, with this signal delivered.
    Go(i32),
    /// Stay in the group stop: the workload stops as it would without a tracer.
    Stay,
}

fn reply(status: i32) -> Reply {
    let (signal, event) = (status & 0xff, status >> 8);
    match event {
        0 => Reply::Go(signal),
        ptrace::EVENT_STOP if signal != SIGTRAP => Reply::Stay,
        // An event of ptrace itself, or the first stop of a new tracee.
        _ => Reply::Go(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_passed_on_and_a_group_stop_is_kept() {
        let (term, stop) = (Signal::SIGTERM as i32, Signal::SIGSTOP as i32);
        assert_eq!(reply(term), Reply::Go(term));
        assert_eq!(reply(64), Reply::Go(64));
        assert_eq!(reply(SIGTRAP | 1 << 8), Reply::Go(0), "PTRACE_EVENT_FORK");
        assert_eq!(reply(SIGTRAP | ptrace::EVENT_STOP << 8), Reply::Go(0));
        assert_eq!(reply(stop | ptrace::EVENT_STOP << 8), Reply::Stay);
    }
}
