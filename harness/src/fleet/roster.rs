//! The sites of a loop: which of them run, and how their state is read.

use std::path::PathBuf;

use super::Completion;
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError, EventsFile};
use crate::detect::{Counters, DetectError, Verdict};
use crate::error::SysError;

/// How the state of a site is read.
#[derive(Debug)]
pub(super) enum State {
    /// Through a descriptor that is held.
    Held(EventsFile),
    /// By path, opened for each read: no descriptor per site.
    Path(PathBuf),
}

impl State {
    /// Holds `cgroup.events` open.
    pub(super) fn hold(cgroup: &Cgroup) -> Result<Self, DetectError> {
        cgroup
            .events_file()
            .map(Self::Held)
            .map_err(crate::detect::limit::descriptor)
    }

    /// Remembers the path.
    pub(super) fn path(cgroup: &Cgroup) -> Self {
        Self::Path(cgroup.path().to_path_buf())
    }

    fn is_populated(&self) -> Result<bool, CgroupError> {
        Ok(match self {
            Self::Held(file) => file.read()?.populated,
            Self::Path(path) => EventsFile::open(path)?.read()?.populated,
        })
    }
}

#[derive(Debug)]
struct Entry {
    state: State,
    running: bool,
}

/// The sites, by number.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: Vec<Entry>,
    /// Started since the last read: their event may have come before the start was reported.
    fresh: Vec<usize>,
    pub(super) counters: Counters,
}

impl Roster {
    /// Adds the next site. `EINVAL`: it is not the next one.
    pub(super) fn add(&mut self, site: usize, state: State) -> Result<(), DetectError> {
        if site != self.entries.len() {
            return Err(SysError::plain("number a site", nix::errno::Errno::EINVAL).into());
        }
        self.entries.push(Entry {
            state,
            running: false,
        });
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a job runs there, as far as was found.
    pub(super) fn is_running(&self, site: usize) -> bool {
        self.entries.get(site).is_some_and(|entry| entry.running)
    }

    /// A job was started there.
    pub(super) fn start(&mut self, site: usize) {
        if let Some(entry) = self.entries.get_mut(site) {
            entry.running = true;
            self.fresh.push(site);
        }
    }

    /// Reads the state of a site if a job runs there; true if it was over, and was reported.
    pub(super) fn look(&mut self, site: usize, woke: MonoNs, over: &mut Vec<Completion>) -> bool {
        let Some(entry) = self.entries.get_mut(site).filter(|entry| entry.running) else {
            return false;
        };
        self.counters.reads += 1;
        let verdict = match entry.state.is_populated() {
            Ok(true) => return false,
            Ok(false) => Verdict::empty(woke),
            Err(e) => Verdict::from_cgroup(&e),
        };
        entry.running = false;
        over.push(Completion { site, verdict });
        true
    }

    /// Reads all sites that were started since the last time.
    pub(super) fn look_at_fresh(&mut self, woke: MonoNs, over: &mut Vec<Completion>) {
        for site in std::mem::take(&mut self.fresh) {
            self.look(site, woke, over);
        }
    }

    /// Reads all sites.
    pub(super) fn look_at_all(&mut self, woke: MonoNs, over: &mut Vec<Completion>) {
        self.fresh.clear();
        for site in 0..self.entries.len() {
            self.look(site, woke, over);
        }
    }

    /// Says that a site is over without reading its state: for mechanisms that see something else
    /// than the cgroup.
    pub(super) fn finish(&mut self, site: usize, verdict: Verdict, over: &mut Vec<Completion>) {
        if let Some(entry) = self.entries.get_mut(site).filter(|entry| entry.running) {
            entry.running = false;
            over.push(Completion { site, verdict });
        }
    }
}
