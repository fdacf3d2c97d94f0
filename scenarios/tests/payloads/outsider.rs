//! The process outside of the tree that does something when the tree asks for it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use allgone::sys::ledger::Ledger;
use harness::trial::Beside;

/// One that waits to be asked.
#[derive(Debug)]
pub(crate) struct Outsider {
    waiting: JoinHandle<Option<Started>>,
    over: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
}

impl Outsider {
    /// For a tree that asks for `beside`, whose launcher is in the cgroup `program`.
    pub(crate) fn wait(
        beside: Beside,
        ledger: &Arc<Ledger>,
        program: PathBuf,
        user: Option<u32>,
    ) -> Option<Self> {
        if !takes_part(beside) {
            return None;
        }
        let over = Arc::new(AtomicBool::new(false));
        let (asked, cancelled) = (Arc::clone(ledger), Arc::clone(&over));
        let waiting = std::thread::spawn(move || {
            asked.wait_asked();
            if cancelled.load(Ordering::SeqCst) {
                return None;
            }
            let started = start(beside, &program, user);
            asked.answer();
            Some(started)
        });
        Some(Self {
            waiting,
            over,
            ledger: Arc::clone(ledger),
        })
    }

    /// After the run: what became of what it started. It ends it. `None`: it was not asked.
    pub(crate) fn end(self) -> Option<Ended> {
        self.over.store(true, Ordering::SeqCst);
        // As the tree would, if it has not.
        self.ledger.wait_asked();
        let Started { mut child, joined } = self.waiting.join().unwrap()?;
        let lives = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        let pid = child.id();
        Some(Ended { pid, lives, joined })
    }
}

/// Whether a payload has one. That of a holder is not played.
pub(crate) fn takes_part(beside: Beside) -> bool {
    match beside {
        Beside::Broker | Beside::Joiner => true,
        Beside::Nobody | Beside::ReusedPid | Beside::Holder => false,
    }
}

/// What it has started.
#[derive(Debug)]
struct Started {
    child: Child,
    joined: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) lives: bool,
    /// Whether it was moved into the cgroup of the run: on a busy machine that may be over, and its
    /// cgroup gone, before the process that is to join it has been made.
    pub(crate) joined: bool,
}

/// Starts what lives on, and moves it where it belongs.
fn start(beside: Beside, program: &Path, user: Option<u32>) -> Started {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null()).current_dir("/");
    if let Some(uid) = user {
        command.uid(uid).gid(uid);
    }
    let child = command.spawn().unwrap();
    let moved = |place: &Path| fs::write(place.join("cgroup.procs"), child.id().to_string());
    let joined = beside != Beside::Broker && {
        let made = fs::read_dir(program).unwrap().flatten().find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("allgone-")
        });
        made.is_some_and(|entry| moved(&entry.path()).is_ok())
    };
    if beside != Beside::Broker && !joined {
        // The one that the launcher is in.
        moved(program).unwrap();
    }
    Started { child, joined }
}
