//! The members of a cgroup and of all its descendants, read once.
//!
//! A walk is not a snapshot: a member that moves or forks while it goes on may be missed. That is
//! harmless only while members are held.

use std::collections::HashSet;

use nix::errno::Errno;

use super::{Cgroup, CgroupError, parse_members};

/// The result of one walk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Census {
    /// Process ids, each once.
    pub pids: Vec<i32>,
    /// Members that this PID namespace cannot name (pid 0). They are never signalled.
    pub foreign: u64,
    /// Ids (inode numbers) of the cgroups that were walked.
    pub cgroups: HashSet<u64>,
}

impl Census {
    /// Walks `cgroup` and everything below it.
    ///
    /// The processes of a threaded subtree are listed by the domain at its top, so a threaded
    /// descendant is only walked through. If `cgroup` is itself threaded, `cgroup.procs` refuses
    /// with `EOPNOTSUPP`, and its threads are asked for their processes.
    pub fn deep(cgroup: &Cgroup) -> Result<Self, CgroupError> {
        let mut census = match Self::alone(cgroup) {
            Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => Self::of_threads(cgroup)?,
            other => other?,
        };
        census.add_below(cgroup)?;
        Ok(census.tidy())
    }

    /// The members of `cgroup` itself. Errors: `EOPNOTSUPP` it is threaded.
    pub fn alone(cgroup: &Cgroup) -> Result<Self, CgroupError> {
        let members = cgroup.procs()?;
        let mut census = Self {
            pids: members.pids,
            foreign: u64::try_from(members.foreign).unwrap_or(u64::MAX),
            cgroups: HashSet::new(),
        };
        census.cgroups.insert(cgroup.id()?);
        Ok(census.tidy())
    }

    fn of_threads(cgroup: &Cgroup) -> Result<Self, CgroupError> {
        let content = cgroup.read("cgroup.threads")?;
        let threads = parse_members(&content).ok_or_else(|| CgroupError::Malformed {
            path: cgroup.path().join("cgroup.threads"),
            content,
        })?;
        let mut census = Self {
            // A thread that has gone meanwhile has no status to read; the next walk tells whether
            // its process is still there.
            pids: threads.pids.into_iter().filter_map(process_of).collect(),
            foreign: u64::try_from(threads.foreign).unwrap_or(u64::MAX),
            cgroups: HashSet::new(),
        };
        census.cgroups.insert(cgroup.id()?);
        Ok(census)
    }

    fn add_below(&mut self, cgroup: &Cgroup) -> Result<(), CgroupError> {
        for child in cgroup.descendants()? {
            let child = child?;
            match Self::alone(&child) {
                Ok(found) => self.add(found),
                Err(e) if matches!(e.errno(), Some(Errno::ENODEV | Errno::ENOENT)) => {}
                Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => {
                    self.cgroups.insert(child.id()?);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.pids.extend(other.pids);
        self.foreign += other.foreign;
        self.cgroups.extend(other.cgroups);
    }

    /// A process that moved during the walk, or has several threads, is listed more than once.
    fn tidy(mut self) -> Self {
        self.pids.sort_unstable();
        self.pids.dedup();
        self
    }

    /// No member that could be signalled.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// The members that are not in `known`.
    pub fn new_to(&self, known: &HashSet<i32>) -> Vec<i32> {
        self.pids
            .iter()
            .copied()
            .filter(|pid| !known.contains(pid))
            .collect()
    }
}

/// The process that thread `tid` belongs to.
fn process_of(tid: i32) -> Option<i32> {
    crate::proc::status(tid).ok().map(|status| status.tgid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_thread_is_read_from_its_status() {
        assert_eq!(
            process_of(std::process::id().cast_signed()),
            Some(std::process::id().cast_signed())
        );
    }

    #[test]
    fn a_walk_lists_everybody_once() {
        let mut census = Census {
            pids: vec![7, 3],
            foreign: 1,
            cgroups: HashSet::from([1]),
        };
        census.add(Census {
            pids: vec![3, 9],
            foreign: 2,
            cgroups: HashSet::from([2]),
        });
        let census = census.tidy();
        assert_eq!(census.pids, [3, 7, 9]);
        assert_eq!(census.foreign, 3);
        assert_eq!(census.cgroups, HashSet::from([1, 2]));
        assert_eq!(census.new_to(&HashSet::from([7])), [3, 9]);
    }
}
