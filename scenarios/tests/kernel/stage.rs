//! A place where a test plays a script with real processes, none of which survive it.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use harness::MonoNs;
use harness::sys::ledger::{Entry, Ledger};
use harness::sys::spawn;
use harness::sys::{pidfd, time};
use harness::trial::Workload;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long any tree of a test may take, and how long the rest of it may take to die.
const DEADLINE: Duration = Duration::from_secs(20);

/// A tree of processes in which every end is seen: orphans come to this process, which is their
/// subreaper.
///
/// There can be only one at a time. What is left when it is dropped is killed.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The ledger of the actors.
    pub(crate) ledger: Ledger,
    /// The main process.
    pub(crate) main: Pid,
    children: SignalFd,
}

/// How the processes of a tree ended, in the order of their ends as the kernel reports it.
pub(crate) type Ends = Vec<WaitStatus>;

impl Tree {
    /// Plays `workload`, born in `cgroup` if one is given.
    pub(crate) fn play(workload: &Workload, cgroup: Option<BorrowedFd<'_>>) -> Self {
        Self::start(workload, cgroup, Some(Ledger::create().unwrap()))
    }

    /// Plays it without a ledger on its descriptor.
    pub(crate) fn play_without_ledger(workload: &Workload) -> Self {
        Self::start(workload, None, None)
    }

    fn start(workload: &Workload, cgroup: Option<BorrowedFd<'_>>, ledger: Option<Ledger>) -> Self {
        set_child_subreaper(true).unwrap();
        let only_children = SigSet::from(Signal::SIGCHLD);
        only_children.thread_block().unwrap();
        let children = SignalFd::with_flags(
            &only_children,
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )
        .unwrap();
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        let mut inherit = vec![
            (null.as_fd(), 0),
            (null.as_fd(), 1),
            (null.as_fd(), 2),
            (workload.input.as_fd(), Workload::INPUT_FD),
        ];
        if let Some(ledger) = &ledger {
            inherit.push((ledger.memfd().unwrap(), Workload::LEDGER_FD));
        }
        let spawned = spawn::spawn(&spawn::Plan {
            envp: &workload.envp,
            cgroup,
            inherit: &inherit,
            ..spawn::Plan::new(workload.exe.as_fd(), &workload.argv)
        })
        .unwrap();
        let ledger = ledger.unwrap_or_else(|| Ledger::create().unwrap());
        ledger.let_go();
        Self {
            ledger,
            main: spawned.pid,
            children,
        }
    }

    /// Waits until every process has ended and been reaped.
    pub(crate) fn ends(&mut self) -> Ends {
        let mut ends = Vec::new();
        assert!(
            self.reap_until(time::now() + DEADLINE, &mut ends),
            "processes live on after {DEADLINE:?}: {:?}",
            self.ledger.sums()
        );
        ends
    }

    /// Kills all processes, and waits until every one has been reaped. Again and again, because one
    /// that was forked before "ready" may enter itself in the ledger after it.
    pub(crate) fn killed(&mut self) -> Ends {
        let deadline = time::now() + DEADLINE;
        let mut ends = Vec::new();
        loop {
            self.kill(&ends);
            if self.reap_until(time::now() + Duration::from_millis(100), &mut ends) {
                return ends;
            }
            let sums = self.ledger.sums();
            assert!(!deadline.has_passed(), "processes live on: {sums:?}");
        }
    }

    /// Waits until "ready" is said. Processes that end before that are reaped later.
    pub(crate) fn wait_ready(&self) {
        assert!(
            self.ledger.wait_ready(time::now() + DEADLINE),
            "never ready: {:?}",
            self.ledger.sums()
        );
    }

    /// Kills every process in the ledger without an exit stamp that is not among the ends. Their
    /// pids cannot have been reused: this process reaps them.
    fn kill(&self, ends: &[WaitStatus]) {
        let reaped = |pid| ends.iter().any(|end| end.pid() == Some(Pid::from_raw(pid)));
        let living = |entry: &Entry| entry.exit.is_none() && !reaped(entry.pid);
        for entry in self.ledger.entries().filter(living) {
            match pidfd::open(Pid::from_raw(entry.pid)) {
                Ok(fd) => assert!(matches!(
                    pidfd::send_signal(fd.as_fd(), Some(Signal::SIGKILL)),
                    Ok(()) | Err(Errno::ESRCH)
                )),
                Err(errno) => assert_eq!(errno, Errno::ESRCH),
            }
        }
    }

    /// Whether all have been reaped by then.
    fn reap_until(&mut self, deadline: MonoNs, ends: &mut Ends) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Err(Errno::ECHILD) => return true,
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::StillAlive) => {
                    if deadline.has_passed() {
                        return false;
                    }
                    let left = u16::try_from(deadline.remaining().as_millis()).unwrap_or(u16::MAX);
                    poll(
                        &mut [PollFd::new(self.children.as_fd(), PollFlags::POLLIN)],
                        PollTimeout::from(left),
                    )
                    .unwrap();
                    while self.children.read_signal().unwrap().is_some() {}
                }
                other => ends.push(other.unwrap()),
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A test that passed has left no process; one that fails must not leave its tree behind,
        // whatever is in the ledger. A process that is not a child yet becomes one when its parent
        // dies.
        for _ in 0..100 {
            for pid in children() {
                match nix::sys::signal::kill(pid, Signal::SIGKILL) {
                    Ok(()) | Err(_) => {}
                }
            }
            if self.reap_until(time::now() + Duration::from_millis(100), &mut Vec::new()) {
                return;
            }
        }
    }
}

/// The children of this process: proc_tid_children(5).
fn children() -> Vec<Pid> {
    let own = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    own.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// This executable under another name.
pub(crate) fn renamed(name: &CStr) -> Workload {
    let mut workload = scenarios::workload(&scenarios::Script {
        blocks: vec![Vec::new()],
    })
    .unwrap();
    workload.argv = vec![name.to_owned()];
    workload
}
