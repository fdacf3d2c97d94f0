//! `subreaper-walk`: be the subreaper, SIGKILL all descendants, reap, and repeat until no child is
//! left, as an init does.
//!
//! Orphans come to the caller, so no process leaves the tree, and `ECHILD` proves that all are
//! dead. But each pass is a race.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::getpid;

use super::{BlockingKiller, BlockingStrategy, KillError, KillReport, KillSpec};
use crate::MonoNs;
use crate::adopt;
use crate::error::SysError;
use crate::proc::{self, Stat};
use crate::sys::wait::{Whose, waitid};
use allgone::ProcessSet;
use allgone::effects::{Effects, Reaps};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::kill::signal::by_number;
use allgone::scope::{Bystander, Reach, Scope, Sweep};
use allgone::spawn::{Child, SpawnOptions};

/// The strategy.
#[derive(Debug)]
pub(super) struct SubreaperWalk;

static SPEC: KillSpec = KillSpec {
    id: "subreaper-walk",
    summary: "as subreaper: SIGKILL by number to all descendants, reap, and again until waitid \
        says ECHILD",
    reach: Reach {
        scope: Scope::ReapedDescendants,
        sweep: Sweep::UntilNone,
    },
    claims_sound: false,
    may_hit: &[Bystander::ReusedPid],
    effects: Effects {
        subreaper: true,
        reaps: Reaps::AnyChild,
        ..Effects::NONE
    },
    since: KernelVersion(3, 4),
    privilege: "",
    faults: "each pass is a race against births; a grandchild that its own parent has reaped \
        leaves a number to be reused; a PID namespace with an init of its own keeps its orphans",
    sources: &[
        "PR_SET_CHILD_SUBREAPER(2const)",
        "kernel/exit.c: find_new_reaper()",
    ],
    axes: &[],
};

impl BlockingStrategy for SubreaperWalk {
    fn spec(&self) -> &'static KillSpec {
        &SPEC
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        adopt::Subreaper::probe()
    }

    fn prepare(
        &self,
        _: &ProcessSet,
        _: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingKiller>, KillError> {
        Ok(Box::new(Ready {
            _adopts: adopt::Subreaper::become_one()?,
        }))
    }
}

#[derive(Debug)]
struct Ready {
    _adopts: adopt::Subreaper,
}

impl BlockingKiller for Ready {
    fn kill(&mut self, _: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        let own = getpid().as_raw();
        loop {
            report.passes += 1;
            for pid in descendants(&proc::everybody()?, own, Stat::is_alive) {
                by_number(&mut report, pid, Signal::SIGKILL);
            }
            if !reap_the_dead()? {
                return Ok(report.issued());
            }
            if deadline.has_passed() {
                report.gave_up = true;
                return Ok(report.issued());
            }
        }
    }
}

/// Reaps all children that have ended; false when no child is left, dead or alive.
fn reap_the_dead() -> Result<bool, KillError> {
    loop {
        match waitid(
            Whose::Any,
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL,
        ) {
            Ok(Some(_)) | Err(Errno::EINTR) => {}
            Ok(None) => return Ok(true),
            Err(Errno::ECHILD) => return Ok(false),
            Err(errno) => return Err(SysError::plain("waitid", errno).into()),
        }
    }
}

/// Live descendants of `top` by parent links, nearest first.
fn descendants(everybody: &[Stat], top: i32, lives: impl Fn(&Stat) -> bool) -> Vec<i32> {
    let mut inside = HashSet::from([top]);
    let mut found = Vec::new();
    loop {
        let generation: Vec<&Stat> = everybody
            .iter()
            .filter(|stat| inside.contains(&stat.ppid) && !inside.contains(&stat.pid))
            .collect();
        if generation.is_empty() {
            return found;
        }
        inside.extend(generation.iter().map(|stat| stat.pid));
        found.extend(
            generation
                .iter()
                .filter(|stat| lives(stat))
                .map(|stat| stat.pid),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(pid: i32, ppid: i32, state: char) -> Stat {
        Stat {
            pid,
            comm: String::new(),
            state,
            ppid,
            pgrp: 0,
            session: 0,
            flags: 0,
        }
    }

    #[test]
    fn a_dead_link_does_not_cut_the_tree() {
        let everybody = [
            stat(1, 0, 'S'),
            stat(9, 8, 'S'),
            stat(7, 5, 'S'),
            stat(8, 5, 'Z'),
            stat(5, 1, 'S'),
            stat(6, 1, 'S'),
        ];
        assert_eq!(descendants(&everybody, 5, |stat| !stat.is_zombie()), [7, 9]);
    }

    proptest! {
        #[test]
        fn no_set_of_links_makes_it_run_for_ever(links in prop::collection::vec((1i32..30,
            0i32..30), 0..60)) {
            // A scan is not a snapshot: links may form cycles.
            let everybody: Vec<Stat> = links.into_iter().map(|(pid, ppid)| stat(pid, ppid,
                'S')).collect();
            let found = descendants(&everybody, 3, |stat| !stat.is_zombie());
            prop_assert!(!found.contains(&3));
        }
    }
}
