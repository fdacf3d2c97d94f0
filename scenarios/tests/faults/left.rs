//! What a command has left: processes, cgroups, hierarchies, mounts, System V objects, files.
//! Nothing here uses the code under test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Users that actors and killers become: below the dynamic users of systemd, above the usual
/// accounts.
const ACTOR_UIDS: std::ops::Range<u32> = 60_931..61_131;
/// Directories where every user may write.
const PUBLIC: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"];
/// What a run records.
const RECORDS: [&str; 8] = [
    "plan.json",
    "environment.json",
    "trials.jsonl",
    "scale.jsonl",
    "noise.jsonl",
    "sittings.json",
    "summary.json",
    "summary.txt",
];

/// The shared state of the machine before the command was started.
#[derive(Debug)]
pub(crate) struct Before {
    cgroups: BTreeSet<PathBuf>,
    hierarchies: BTreeSet<String>,
    mounts: BTreeSet<String>,
    ipc: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl Before {
    /// Looks.
    pub(crate) fn look() -> Self {
        Self {
            cgroups: cgroups().into_iter().collect(),
            hierarchies: hierarchies().into_iter().collect(),
            mounts: mounts(),
            ipc: ipc(),
            files: files(),
        }
    }

    /// What is there of the command that ran as `pid` in `dir`, and was not there before. One line
    /// each.
    ///
    /// Other runs go on beside this one, so cgroups and hierarchies count by their name. Mounts and
    /// System V objects are those of the namespaces that this process shares with the command
    /// alone.
    pub(crate) fn left(&self, pid: Pid, dir: &Path) -> Vec<String> {
        let mut left: Vec<String> = descendants().iter().map(|pid| describe(*pid)).collect();
        let cgroups = cgroups()
            .into_iter()
            .filter(|path| !self.cgroups.contains(path));
        left.extend(
            cgroups
                .filter(|path| {
                    path.file_name()
                        .is_some_and(|name| is_of(&name.to_string_lossy(), pid))
                })
                .map(|path| format!("cgroup {}", path.display())),
        );
        let hierarchies = hierarchies()
            .into_iter()
            .filter(|name| !self.hierarchies.contains(name));
        left.extend(
            hierarchies
                .filter(|name| is_of(name, pid))
                .map(|name| format!("hierarchy name={name}")),
        );
        left.extend(
            mounts()
                .difference(&self.mounts)
                .map(|line| format!("mount {line}")),
        );
        left.extend(
            ipc()
                .difference(&self.ipc)
                .map(|line| format!("System V object {line}")),
        );
        left.extend(
            files()
                .difference(&self.files)
                .map(|path| format!("file {}", path.display())),
        );
        for (below, records) in [("tmp", false), ("work", false), ("state", true)] {
            strangers(&dir.join(below), records, &mut left);
        }
        left
    }
}

/// Whether an object of this name is that of a run of `pid`.
fn is_of(name: &str, pid: Pid) -> bool {
    name.starts_with(&format!("scenario-{pid}-"))
        || name.starts_with(&format!("scenario-probe.{pid}."))
}

/// All descendants of this process that have not ended. Processes that have ended are reaped,
/// except a child that is kept for a later wait.
///
/// Source: proc_tid_children(5). This process is a subreaper, so no descendant is lost.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut parents = vec![Pid::this()];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            parents.push(child);
            if lives(child) {
                found.push(child);
            }
        }
    }
    found
}

/// A zombie lives on in its other threads.
fn lives(pid: Pid) -> bool {
    match state(pid) {
        None | Some('X') => false,
        Some('Z') => fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 1),
        Some(_) => true,
    }
}

/// Children of the first thread of `pid`; none if it has gone.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = text
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}

/// The letter of its state; nothing if it has gone.
pub(crate) fn state(pid: Pid) -> Option<char> {
    stat(pid).and_then(|fields| fields.first()?.chars().next())
}

/// Fields of `/proc/PID/stat` from the state on. The name before it may hold anything, so they are
/// counted after the last parenthesis.
pub(crate) fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (_, after) = text.rsplit_once(')')?;
    Some(after.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Its cgroup of version 2.
pub(crate) fn cgroup(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

fn describe(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let (state, cgroup) = (state(pid).unwrap_or('?'), cgroup(pid).unwrap_or_default());
    format!("process {pid} ({}) {state} in {cgroup}", name.trim())
}

/// Reaps all children that have ended, and returns how `of` ended if it was among them.
pub(crate) fn reap(of: Pid) -> Option<WaitStatus> {
    let mut status = None;
    loop {
        match waitid(
            Id::All,
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL,
        ) {
            Ok(ended @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                if ended.pid() == Some(of) {
                    status = Some(ended);
                }
            }
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return status,
        }
    }
}

/// Mount points of the cgroup hierarchies.
fn hierarchy_roots() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_cgroups = text.lines().filter(|line| line.contains(" - cgroup"));
    let points = of_cgroups.filter_map(|line| line.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}

/// Cgroups of runs, in every hierarchy that is mounted.
fn cgroups() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        // A directory may disappear while it is read: it belongs to another run.
        for entry in fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if entry.file_name().to_string_lossy().starts_with("scenario-") {
                    found.push(path);
                } else {
                    walk(&path, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    for root in hierarchy_roots() {
        walk(&root, &mut found);
    }
    found
}

fn hierarchies() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split(':').nth(1));
    fields
        .filter_map(|field| field.strip_prefix("name="))
        .map(str::to_owned)
        .collect()
}

/// Mount point and file system of each mount: numbers and options change by themselves.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            Some(format!("{} {}", mount.split(' ').nth(4)?, file_system))
        })
        .collect()
}

fn ipc() -> BTreeSet<String> {
    ["shm", "sem", "msg"]
        .iter()
        .flat_map(|kind| {
            let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            let lines: Vec<String> = text
                .lines()
                .skip(1)
                .map(|line| format!("{kind} {line}"))
                .collect();
            lines
        })
        .collect()
}

/// Files of the actors' users in directories where every user may write.
fn files() -> BTreeSet<PathBuf> {
    let entries = PUBLIC
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten());
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|meta| ACTOR_UIDS.contains(&meta.uid()))
        })
        .map(|entry| entry.path())
        .collect()
}

/// Files below `dir` that are no records.
fn strangers(dir: &Path, records: bool, left: &mut Vec<String>) {
    for entry in fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        let path = entry.path();
        if path.is_dir() {
            strangers(&path, records, left);
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // A document that was being written when the command was killed has this ending.
        if !records || !RECORDS.contains(&name.trim_end_matches(".new")) {
            left.push(format!("file {}", path.display()));
        }
    }
}

/// Removes what a failed test has found, so that the next one does not: only what is of `pid`, or
/// descends from this process.
pub(crate) fn tidy(pid: Pid, dir: &Path) {
    for _ in 0..500 {
        let living = descendants();
        for one in &living {
            // It ends, or has ended.
            match kill(*one, Signal::SIGKILL) {
                Ok(()) | Err(_) => {}
            }
        }
        reap(pid);
        let of_run = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| is_of(&name.to_string_lossy(), pid))
        };
        let mut dirs: Vec<PathBuf> = cgroups().into_iter().filter(of_run).collect();
        let names: Vec<String> = hierarchies()
            .into_iter()
            .filter(|name| is_of(name, pid))
            .collect();
        dirs.extend(names.iter().map(|name| dir.join(name)));
        for name in &names {
            let options = format!("none,name={name}");
            let point = dir.join(name);
            // It is mounted and empty, or the next round tries again.
            match fs::create_dir_all(&point).map(|()| {
                mount(
                    Some("none"),
                    &point,
                    Some("cgroup"),
                    MsFlags::empty(),
                    Some(options.as_str()),
                )
            }) {
                Ok(_) | Err(_) => {}
            }
        }
        for top in &dirs {
            thaw_and_remove(top);
        }
        for name in &names {
            match umount2(&dir.join(name), MntFlags::MNT_DETACH) {
                Ok(()) | Err(_) => {}
            }
        }
        if living.is_empty() && dirs.is_empty() {
            return;
        }
        super::machine::rest(std::time::Duration::from_millis(10));
    }
}

/// Thaws what is below `dir`, and removes the directories that are empty.
fn thaw_and_remove(dir: &Path) {
    for entry in fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if entry.path().is_dir() {
            thaw_and_remove(&entry.path());
        }
    }
    // Not every cgroup has these files, and not every one is empty.
    for (file, word) in [
        ("cgroup.freeze", "0"),
        ("freezer.state", "THAWED"),
        ("cgroup.kill", "1"),
    ] {
        if dir.join(file).exists() {
            match fs::write(dir.join(file), word) {
                Ok(()) | Err(_) => {}
            }
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) | Err(_) => {}
    }
}

/// Guards and observers among the children of the harness. Both have a session of their own and
/// have not executed anything since they were forked; an observer lives in the control cgroup of
/// the run.
pub(crate) fn roles(harness: Pid) -> Vec<(&'static str, Pid)> {
    let exe = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let role = |child: Pid| {
        // Fields from the state on: state, parent, group, session.
        let fields = stat(child)?;
        let leads = fields.get(3)? == &child.to_string() && fields.first()? != "Z";
        if !leads || exe(child)? != exe(harness)? {
            return None;
        }
        let cgroup = cgroup(child)?;
        let role = if !cgroup.contains(&format!("/scenario-{harness}-")) {
            "guard"
        } else if cgroup.ends_with("/control") {
            "observer"
        } else {
            return None;
        };
        Some((role, child))
    };
    children(harness).into_iter().filter_map(role).collect()
}
