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
    waiting: JoinHandle<Option<Child>>,
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
        let user = match beside {
            Beside::Broker | Beside::Joiner => user,
            // The last one is not of a payload that is played.
            Beside::Nobody | Beside::ReusedPid | Beside::Holder => return None,
        };
        let over = Arc::new(AtomicBool::new(false));
        let (asked, cancelled) = (Arc::clone(ledger), Arc::clone(&over));
        let waiting = std::thread::spawn(move || {
            asked.wait_asked();
            if cancelled.load(Ordering::SeqCst) {
                return None;
            }
            let child = start(beside, &program, user);
            asked.answer();
            Some(child)
        });
        Some(Self {
            waiting,
            over,
            ledger: Arc::clone(ledger),
        })
    }

    /// After the run: the number of what it started, and whether that is alive. It ends it. `None`:
    /// it was not asked.
    pub(crate) fn end(self) -> Option<(u32, bool)> {
        self.over.store(true, Ordering::SeqCst);
        // As the tree would, if it has not.
        self.ledger.wait_asked();
        let mut child = self.waiting.join().unwrap()?;
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        Some((child.id(), alive))
    }
}

/// Starts what lives on, and moves it where it belongs.
fn start(beside: Beside, program: &Path, user: Option<u32>) -> Child {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null()).current_dir("/");
    if let Some(uid) = user {
        command.uid(uid).gid(uid);
    }
    let child = command.spawn().unwrap();
    if beside != Beside::Broker {
        // The cgroup that the launcher has made, or else the one that it is in.
        let made = fs::read_dir(program).unwrap().flatten().find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("allgone-")
        });
        let place = made.map_or_else(|| program.to_owned(), |entry| entry.path());
        fs::write(place.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child
}
