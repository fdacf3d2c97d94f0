//! The process that starts the launcher, and looks at what is left when that has ended.
//!
//! It is a subreaper: whatever a launcher leaves becomes its child, in whatever cgroup, session or
//! namespace, by whatever name, of whatever user. And it reads the cgroups of the run, in which a
//! process may be that has never been a descendant.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::sys::ledger::Ledger;
use allgone::sys::time::{now, sleep_until};
use allgone::sys::wait::{Whose, waitid};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::host::Host;

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) uid: Option<u32>,
    /// `cgroup.procs` of its own cgroup and of the launcher's.
    pub(crate) keeper: PathBuf,
    pub(crate) program: PathBuf,
    /// Where both enter their limits.
    pub(crate) v1_tasks: Vec<PathBuf>,
    /// The working directory of the launcher.
    pub(crate) directory: PathBuf,
    /// Where `allgone` and `actor` are.
    pub(crate) tools: PathBuf,
    pub(crate) args: Vec<String>,
    /// Standard error of the launcher.
    pub(crate) errors: PathBuf,
    /// Where the answer is written.
    pub(crate) answer: PathBuf,
    /// If it kills the launcher when the tree is complete, in how many milliseconds that is done at
    /// the latest: some never are. The ledger is its standard input.
    pub(crate) kills: Option<u64>,
    /// How long what is left may take to end: nothing, if the launcher ended by itself.
    pub(crate) patience_ms: u64,
    /// An empty directory and the launcher's report, if nothing of the host may change but that.
    pub(crate) host: Option<(PathBuf, PathBuf)>,
}

/// What it has found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// As a shell says it.
    pub(crate) code: i32,
    /// Processes that were alive when the launcher had ended, and for longer than they may be.
    pub(crate) left: Vec<String>,
    /// How long that took to end.
    pub(crate) took_ms: u64,
    /// Mounts that were not there before.
    pub(crate) mounts: Vec<String>,
    /// What was done to the host's files, if it was looked at.
    pub(crate) changes: Vec<String>,
}

/// The whole program: its one argument is the order.
pub(crate) fn main() -> ExitCode {
    let order = std::env::args().nth(1).unwrap_or_default();
    let order: Order = serde_json::from_str(&order).expect("an order");
    let mut file = File::create(&order.answer).expect("a directory of the test's own");
    match keep(&order) {
        Ok(found) => {
            let answer = serde_json::to_vec(&found).expect("strings and numbers");
            file.write_all(&answer).expect("room for the answer");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("keeper: {why}");
            ExitCode::FAILURE
        }
    }
}

fn keep(order: &Order) -> Result<Found, String> {
    let said = |what: &'static str| move |e: nix::Error| format!("{what}: {e}");
    prctl::set_child_subreaper(true).map_err(said("subreaper"))?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(said("unshare"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(said("mount"))?;
    let errors = File::create(&order.errors).map_err(|e| e.to_string())?;
    let host = order.host.as_ref();
    let host = host
        .map(|(dir, report)| Host::enter(dir, report))
        .transpose()?;
    let mounts = mounts();
    let enter = |file: &Path| fs::write(file, "0").map_err(|e| format!("{file:?}: {e}"));
    for tasks in &order.v1_tasks {
        enter(tasks)?;
    }
    // The launcher is born where this process is, and begins when this one has left.
    enter(&order.program)?;
    let (gate, key) = UnixStream::pair().map_err(|e| e.to_string())?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "read -r go <&1; exec \"$0\" \"$@\" >/dev/null"])
        .arg(order.tools.join("allgone"))
        .args(&order.args)
        .env_clear()
        .env("PATH", &order.tools)
        .current_dir(&order.directory)
        .stdout(OwnedFd::from(gate))
        .stderr(errors);
    if let Some(uid) = order.uid {
        command.uid(uid).gid(uid);
    }
    let mut launcher = command.spawn().map_err(|e| format!("start: {e}"))?;
    drop(command);
    enter(&order.keeper)?;
    (&key).write_all(b"\n").map_err(|e| format!("begin: {e}"))?;
    drop(key);
    if let Some(at_the_latest) = order.kills {
        let ledger = Ledger::open(std::io::stdin().as_fd()).map_err(said("ledger"))?;
        ledger.wait_ready(now() + Duration::from_millis(at_the_latest));
        launcher.kill().map_err(|e| format!("kill: {e}"))?;
    }
    let status = launcher.wait().map_err(|e| format!("wait: {e}"))?;
    let ended = now();
    let patience = ended + Duration::from_millis(order.patience_ms);
    let mut left = left(order)?;
    while !left.is_empty() && !patience.has_passed() {
        sleep_until(now() + Duration::from_millis(2)).map_err(said("sleep"))?;
        left = self::left(order)?;
    }
    let took = now().since(ended);
    let code = status.code();
    let found = Found {
        code: code.unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        left,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        mounts: self::mounts().difference(&mounts).cloned().collect(),
        changes: host.as_ref().map_or(Ok(Vec::new()), Host::changes)?,
    };
    end_all()?;
    Ok(found)
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Who is alive.
fn left(order: &Order) -> Result<Vec<String>, String> {
    reap();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut pids = BTreeSet::new();
    let mut heads = vec![own];
    while let Some(head) = heads.pop() {
        for child in children(head) {
            if pids.insert(child) {
                heads.push(child);
            }
        }
    }
    let program = order.program.parent().ok_or("no cgroup")?;
    let members = Cgroup::open(program).and_then(|cgroup| cgroup.procs_recursive());
    pids.extend(members.map_err(|e| e.to_string())?.pids);
    for tasks in &order.v1_tasks {
        let text = fs::read_to_string(tasks).map_err(|e| e.to_string())?;
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    pids.remove(&own);
    Ok(pids.into_iter().filter_map(alive).collect())
}

/// A process in words, if it has not ended.
pub(crate) fn alive(pid: i32) -> Option<String> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    let state = state?.trim();
    let cgroups = String::from_utf8_lossy(&read("cgroup")).into_owned();
    let v2 = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    let (comm, v2) = (read("comm"), v2.unwrap_or_default());
    let comm = comm.trim_ascii_end().escape_ascii();
    (!state.starts_with(['Z', 'X'])).then(|| format!("{pid} {comm} ({state}) in {v2}"))
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        numbers.collect::<Vec<_>>()
    };
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(of_task)
        .collect()
}

/// Takes in all children that have ended.
fn reap() {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    while let Ok(Some(_)) = waitid(Whose::Any, flags) {}
}

/// Ends what is left.
fn end_all() -> Result<(), String> {
    let deadline = now() + Duration::from_secs(60);
    loop {
        reap();
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let left = children(own);
        if left.is_empty() {
            return Ok(());
        }
        if deadline.has_passed() {
            return Err(format!("could not end {left:?}"));
        }
        for pid in left {
            // A child keeps its number until it is reaped here.
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(_) => {}
            }
        }
        match sleep_until(now() + Duration::from_millis(1)) {
            Ok(()) | Err(_) => {}
        }
    }
}
