//! Trace every process of the tree from its birth, and wait until no tracee is left.

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;

use super::common::probe;
use super::{BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict, Wake};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::alarm::Alarm;
use crate::sys::ptrace;
use crate::sys::time::now;
use crate::sys::wait::{Change, Whose, waitid};
use allgone::ProcessSet;
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, Gate, SpawnOptions};

/// `PTRACE_SEIZE` with the options that follow fork, vfork, clone and exec. The main process waits
/// before exec until it is seized.
#[derive(Debug)]
pub(super) struct PtraceTree;

static SPEC: DetectorSpec = DetectorSpec {
    id: "ptrace-tree",
    summary: "Seizes the main process with ptrace, follows every fork, and reaps until waitid(2) \
        says ECHILD.",
    scope: Scope::ReapedDescendants,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects {
        timer: true,
        signal_handler: true,
        reaps: Reaps::AnyChild,
        gates_spawn: true,
        ..Effects::NONE
    },
    since: KernelVersion(3, 4),
    privilege: "the right to trace the tree's processes: the same user, or CAP_SYS_PTRACE; Yama \
        may forbid it",
    escapes: "a child made with CLONE_UNTRACED; a process that is not forked by the tree",
    early: "when a process has escaped",
    late: "one wake-up, as waitpid; but the workload stops at every fork, exec and signal until \
        the tracer has run",
    idle_cost: "nothing; two to four context switches for each fork, exec or signal of the tree, \
        and no other process can debug it",
    overflow: "cannot: a tracee stays stopped until it has been read",
    loses_on_removal: false,
    sources: &[
        "ptrace(2)",
        "kernel/ptrace.c",
        "kernel/fork.c: ptrace_init_task()",
    ],
    axes: &[],
};

impl BlockingDetector for PtraceTree {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        // Nothing can be seized here; the error for a process that does not exist shows whether the
        // request is known and allowed.
        let nobody = nix::unistd::Pid::from_raw(i32::MAX);
        let answer = match ptrace::seize(nobody) {
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        };
        probe::tried("ptrace", answer, |errno| match errno {
            Errno::EPERM | Errno::ENOSYS => Some("a seccomp policy that allows ptrace"),
            Errno::EIO | Errno::EINVAL => Some("Linux 3.4 or later"),
            _ => None,
        })
    }

    fn arm(
        &self,
        _: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        Ok(Box::new(Tracing {
            gate: Some(spawn.gate()?),
            counters: Counters::default(),
        }))
    }
}

#[derive(Debug)]
struct Tracing {
    gate: Option<Gate>,
    counters: Counters,
}

impl BlockingWatch for Tracing {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let begun = now();
        ptrace::seize(child.pid).map_err(|e| SysError::pid("seize", child.pid.as_raw(), e))?;
        if let Some(gate) = self.gate.take() {
            gate.open()
                .map_err(|e| SysError::plain("open the gate", e))?;
        }
        self.counters.prepare_ns = now().0 - begun.0;
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        let _alarm = Alarm::at(deadline)?;
        let mut woke = now();
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
            match waitid(Whose::Any, flags) {
                Ok(Some(change)) => {
                    woke = now();
                    self.counters.wakeups += 1;
                    if change.ended() {
                        self.counters.reaped += 1;
                    } else {
                        self.counters.spurious += 1;
                        resume(change)?;
                    }
                    if woke >= deadline {
                        return Ok(Verdict::deadline());
                    }
                }
                Ok(None) => {}
                Err(Errno::ECHILD) => return Ok(Verdict::empty(woke)),
                Err(Errno::EINTR) if deadline.has_passed() => return Ok(Verdict::deadline()),
                Err(Errno::EINTR) => self.counters.spurious += 1,
                Err(e) => {
                    let why = SysError::plain("wait for any tracee", e);
                    return Ok(Verdict::unknown(why));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}

/// What to do with a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// Go on, with this signal delivered.
    Go(i32),
    /// Stay in the group stop.
    Stay,
}

fn reply(status: i32) -> Reply {
    let (signal, event) = (status & 0xff, status >> 8);
    match event {
        // A signal on its way to the tracee.
        0 => Reply::Go(signal),
        ptrace::EVENT_STOP if signal != nix::libc::SIGTRAP => Reply::Stay,
        // A fork, an exec, the first stop of a child: an event, not a signal.
        _ => Reply::Go(0),
    }
}

fn resume(change: Change) -> Result<(), SysError> {
    let done = match reply(change.status) {
        Reply::Go(signal) => ptrace::cont(change.pid, signal),
        Reply::Stay => ptrace::listen(change.pid),
    };
    match done {
        // It was killed in its stop; its end is still to be read.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(SysError::pid("resume", change.pid.as_raw(), e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{PTRACE_EVENT_FORK, SIGSTOP, SIGTERM, SIGTRAP};

    #[test]
    fn signals_are_passed_on_and_events_are_not() {
        assert_eq!(reply(SIGTERM), Reply::Go(SIGTERM));
        assert_eq!(reply(40), Reply::Go(40), "a real-time signal");
        assert_eq!(reply(SIGTRAP | PTRACE_EVENT_FORK << 8), Reply::Go(0));
        assert_eq!(
            reply(SIGTRAP | ptrace::EVENT_STOP << 8),
            Reply::Go(0),
            "a new tracee"
        );
        assert_eq!(reply(SIGSTOP | ptrace::EVENT_STOP << 8), Reply::Stay);
    }
}
