//! Put the tree into a PID namespace of its own, with a minimal init, and wait for that init.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::spawn::CLONE_NEWPID;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Progress, Sources};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// `CLONE_NEWPID` with an init that reaps until it is alone; its pidfd is polled. When an init
/// ends, the kernel first kills all other processes of the namespace and waits for their end. So
/// this is the one detector for which "empty" is enforced, not observed.
#[derive(Debug)]
pub(super) struct PidnsInit;

static SPEC: DetectorSpec = DetectorSpec {
    id: "pidns-init",
    summary: "Starts the workload below a tiny init in a new PID namespace and polls the init's \
        pidfd.",
    scope: Scope::PidNamespace,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(5, 3),
    privilege: "CAP_SYS_ADMIN, or a new user namespace besides",
    escapes: "nothing that descends from the init: a PID namespace cannot be left. A process that \
        enters it from outside (setns) is inside it too, as far as its children go",
    early: "",
    late: "the init has to reap the last process and then to end itself: two wake-ups and a \
        namespace teardown",
    idle_cost: "a sleeping init (its memory)",
    overflow: "cannot: the descriptor stays readable",
    loses_on_removal: false,
    sources: &[
        "pid_namespaces(7)",
        "kernel/pid_namespace.c: zap_pid_ns_processes()",
    ],
    axes: &[],
};

impl Detector for PidnsInit {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| {
            probe::tried(
                "clone3(CLONE_NEWPID)",
                probe::passer_by(site, CLONE_NEWPID),
                |errno| match errno {
                    Errno::EPERM => {
                        Some("root, CAP_SYS_ADMIN, or permission to make user namespaces")
                    }
                    Errno::EINVAL => Some("a kernel with CONFIG_PID_NS"),
                    Errno::ENOSPC => Some("raise user.max_pid_namespaces"),
                    _ => None,
                },
            )
        })
    }

    fn arm(&self, _: &ProcessSet, spawn: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        spawn.clone_flags |= CLONE_NEWPID;
        spawn.init = true;
        Ok(Box::new(Watching::default()))
    }
}

#[derive(Debug, Default)]
struct Watching {
    init: Option<OwnedFd>,
    counters: Counters,
}

impl Watching {
    /// Sleeps until the init has ended, or `until`. The readiness is the state.
    fn state(&mut self, until: MonoNs) -> Result<Option<Verdict>, DetectError> {
        let Some(init) = &self.init else {
            return Ok(Some(Verdict::unknown("nothing was attached")));
        };
        let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        let Slept::Woken(woke) = sleep::on(&mut fds, until)? else {
            return Ok(None);
        };
        self.counters.wakeups += 1;
        self.counters.reads += 1;
        Ok(Some(match fds[0].revents() {
            Some(events) if events.contains(PollFlags::POLLIN) => Verdict::empty(woke),
            events => Verdict::unknown(format!("the pidfd of the init answers {events:?}")),
        }))
    }
}

impl Watch for Watching {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let own = child
            .pidfd
            .try_clone()
            .map_err(|e| SysError::io("dup", crate::Target::Pid(child.pid.as_raw()), &e))?;
        self.init = Some(own);
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        self.init
            .as_ref()
            .map_or_else(Sources::none, |init| Sources::none().readable(init))
    }

    fn check(&mut self, _: MonoNs) -> Result<Progress, DetectError> {
        self.state(MonoNs(0)).map(Progress::of)
    }

    /// One call both sleeps and looks.
    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        Ok(self.state(deadline)?.unwrap_or_else(Verdict::deadline))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.counters
    }
}
