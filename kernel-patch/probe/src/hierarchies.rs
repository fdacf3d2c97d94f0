//! A process enters a cgroup of each hierarchy, version 1 included, and exits: the way by which a
//! kernel learns that a cgroup is empty is one for all hierarchies, but not all of them have the
//! files of version 2 whose watchers are then told.
//!
//! There is nothing to measure. A debug kernel in which that way is wrong says so on its console.

use std::fs;
use std::path::{Path, PathBuf};

use allgone_sys::fork::worker;
use allgone_sys::time::now;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;

use crate::Answer;
use crate::site::{Line, PATIENCE, pause, reap};

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version: u8,
    at: PathBuf,
}

pub(crate) fn ask(tries: usize) -> Result<Vec<Answer>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let found = hierarchies(&mounts);
    ensure!(!found.is_empty(), "no cgroup hierarchy is mounted");
    let mut answers = Vec::new();
    for hierarchy in found {
        let mut answer = Answer::new(
            "hierarchies",
            format!("version {}, {}", hierarchy.version, hierarchy.at.display()),
        );
        for _ in 0..tries {
            enter_and_leave(&hierarchy)?;
            answer.tries += 1;
            answer.count("emptied and removed");
        }
        answers.push(answer);
    }
    Ok(answers)
}

fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let of = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let version = match *words.get(2)? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        let at = PathBuf::from(words[1]);
        Some(Hierarchy { version, at })
    };
    mounts.lines().filter_map(of).collect()
}

fn enter_and_leave(hierarchy: &Hierarchy) -> Result<()> {
    let path = hierarchy
        .at
        .join(format!("lab-probe-enters-{}", std::process::id()));
    fs::create_dir(&path).with_context(|| format!("mkdir {}", path.display()))?;
    if hierarchy.version == 1 {
        // A cpuset of version 1 takes no process before it has these.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            inherit(&hierarchy.at.join(file), &path.join(file))?;
        }
    }
    let gate = Line::new()?;
    let job = worker(0, None, || i32::from(gate.take().is_err())).context("fork")?;
    let procs = path.join("cgroup.procs");
    fs::write(&procs, job.pid.to_string())
        .with_context(|| format!("write {} to {}", job.pid, procs.display()))?;
    gate.stamp();
    let status = reap(&job)?;
    ensure!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "the process ended with {status:?}"
    );
    let begin = now();
    loop {
        match fs::remove_dir(&path) {
            Ok(()) => return Ok(()),
            Err(error)
                if error.raw_os_error() == Some(Errno::EBUSY as i32)
                    && !(begin + PATIENCE).has_passed() =>
            {
                pause()?;
            }
            Err(error) => return Err(error).with_context(|| format!("rmdir {}", path.display())),
        }
    }
}

fn inherit(from: &Path, to: &Path) -> Result<()> {
    match fs::read_to_string(from) {
        Ok(text) => fs::write(to, text).with_context(|| format!("write {}", to.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("read {}", from.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = hierarchies(mounts);
        assert_eq!(
            found.iter().map(|h| h.version).collect::<Vec<_>>(),
            [1, 2],
            "{found:?}"
        );
        assert_eq!(found[0].at, Path::new("/sys/fs/cgroup/freezer"));
    }
}
