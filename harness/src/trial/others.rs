//! Interference with a trial: a process of the tree, the observer or a canary was ended from
//! outside, or a resource was exhausted. Such a trial is broken, with the cause, and says nothing
//! about a mechanism.
//!
//! One case cannot be decided, because SIGKILL does not carry its sender: a kill of a member or a
//! canary from outside *while* the strategy acts is attributed to the strategy.

use nix::unistd::Pid;

use super::broken::{Broken, end_in_words, is_exhaustion, signal_of};
use super::canary::Fate;
use super::observe::End;
use super::observer::NEVER_PLAYED;
use super::oom::OomKills;
use super::oracle;
use super::prepare::Trial;
use super::settle::Settled;
use super::{Run, Site, TrialSpec};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Canary, Plane};
use crate::record::{Cause, TrialRecord, Verdict};
use crate::sys::wait::Change;

/// So many processes are named one by one.
const FEW: usize = 3;

/// Looks for everything that the mechanism did not do. Returns the canaries that the strategy hit,
/// or what broke the trial.
pub(super) fn canaries_hit(
    settled: &Settled<'_, '_>,
    oom: OomKills,
) -> Result<Vec<Canary>, Broken> {
    let Trial {
        spec, site, record, ..
    } = &settled.trial;
    if let End::ObserverGone(pid, status) = settled.end {
        return Err(observer_gone(pid, status, oom));
    }
    if let Some(broken) = tree_damaged(settled, oom).map_err(Broken::harness)? {
        return Err(broken);
    }
    let hit = hit(settled, oom)?;
    match exhausted(record).or_else(|| refused(spec, site)) {
        Some(broken) => Err(broken),
        None => Ok(hit),
    }
}

/// The observer ended without its last message.
fn observer_gone(pid: Pid, status: Option<Change>, oom: OomKills) -> Broken {
    let end = end_in_words(status);
    if status.and_then(signal_of).is_none() {
        return Broken::harness(format!("the observer ({pid}) gave no verdict: it {end}"));
    }
    let cause = match oom.in_trial {
        0 => Cause::ObserverKilled,
        _ => Cause::OomKilled,
    };
    Broken::new(
        cause,
        format!("the observer ({pid}) {end}, {}", oom.suspect()),
    )
}

/// Processes of the tree were ended by something else than their script, the trial's strategy or
/// its cleaning.
fn tree_damaged(settled: &Settled<'_, '_>, oom: OomKills) -> Result<Option<Broken>, SysError> {
    let Trial {
        run,
        spec,
        site,
        record,
        ..
    } = &settled.trial;
    let by_oom = record.kill.as_ref().is_some_and(|report| report.by_oom);
    let sums = site.ledger.sums();
    let (lost, number) = match (&settled.end, record.plane) {
        (End::Damaged(pids), _) => (pids.clone(), pids.len()),
        // All others that are missing were killed by the strategy.
        (_, Plane::Kill) => (Vec::new(), 0),
        (_, Plane::Detect) if record.stamps.unpopulated_ns.is_some() => {
            let unstamped = site.ledger.entries().filter(|entry| entry.exit.is_none());
            let missing =
                usize::try_from(sums.births.saturating_sub(sums.deaths)).unwrap_or(usize::MAX);
            (unstamped.map(|entry| entry.pid).collect(), missing)
        }
        (_, Plane::Detect) if settled.tree.renumbered => (Vec::new(), 0),
        (_, Plane::Detect) => {
            let lost = oracle::ended(site)?;
            let number = lost.len();
            (lost, number)
        }
    };
    if spec.allows(number, oom.on_machine) {
        return Ok(never_played(settled));
    }
    if oom.in_trial > 0 && !by_oom {
        let what = format!(
            "the kernel's OOM killer ended {} processes of the trial, whose limit on memory is {} \
                KiB",
            oom.in_trial,
            spec.limits().memory_bytes >> 10
        );
        return Ok(Some(Broken::new(Cause::OomKilled, what)));
    }
    if number > 0 {
        return Ok(Some(Broken::new(
            Cause::KilledFromOutside,
            in_words(run, &lost, number, oom),
        )));
    }
    Ok(never_played(settled))
}

fn never_played(settled: &Settled<'_, '_>) -> Option<Broken> {
    let Trial {
        spec, site, record, ..
    } = &settled.trial;
    let never = spec.workload.program.is_none()
        && record.plane == Plane::Detect
        && settled.tree.main_ended
        && site.ledger.sums().births == 0;
    never.then(|| Broken::new(Cause::NotStarted, NEVER_PLAYED))
}

/// Which process was ended, how, and by what, as far as can be known.
fn in_words(run: &Run<'_>, lost: &[i32], number: usize, oom: OomKills) -> String {
    let named = lost.iter().take(FEW).map(|pid| {
        let status = run.reaper.status_of(Pid::from_raw(*pid));
        format!("process {pid} {}", end_in_words(status))
    });
    let mut named: Vec<String> = named.collect();
    if named.is_empty() {
        named.push(format!(
            "{number} processes that had just been forked ended"
        ));
    } else if number > named.len() {
        named.push(format!("{number} in all"));
    }
    format!(
        "{}, which is not in the script: {}",
        named.join(", "),
        oom.suspect()
    )
}

/// Which canaries the strategy hit, or that one was ended by something else.
fn hit(settled: &Settled<'_, '_>, oom: OomKills) -> Result<Vec<Canary>, Broken> {
    let Trial {
        run, spec, record, ..
    } = &settled.trial;
    let own = u64::from(spec.stage.memory_bytes.is_some());
    let begun = record.kill.as_ref().map(|report| MonoNs(report.begun_ns));
    let by_oom = record.kill.as_ref().is_some_and(|report| report.by_oom);
    // A signal to all of a group or of a user reaches these, so nothing else is to be suspected.
    let may_hit = spec.may_hit();
    let addressed =
        |kind| matches!(kind, Canary::SameGroup | Canary::SameUid) && may_hit.contains(&kind);
    let mut fates = Vec::new();
    for canary in &settled.canaries.live {
        let status = run.reaper.status_of(canary.pid);
        let fate = canary.fate(status, begun).map_err(Broken::harness)?;
        fates.push((canary.kind, status, fate));
    }
    for (kind, status) in &settled.canaries.dead {
        fates.push((
            *kind,
            Some(*status),
            super::canary::judge(Some(signal_of(*status)), None, false, begun),
        ));
    }
    let mut hit = Vec::new();
    for (kind, status, fate) in fates {
        let end = end_in_words(status);
        match fate {
            Fate::Unharmed => {}
            Fate::Lost(why) => {
                let what = format!("the canary {kind} {end}, {why}, {}", oom.suspect());
                return Err(Broken::new(Cause::CanaryKilled, what));
            }
            Fate::Hit if !addressed(kind) && oom.on_machine > own && !by_oom => {
                let what = format!(
                    "the canary {kind} {end} while the strategy acted, {}",
                    oom.suspect()
                );
                return Err(Broken::new(Cause::OomKilled, what));
            }
            Fate::Hit => hit.push(kind),
        }
    }
    hit.sort_unstable();
    Ok(hit)
}

/// The mechanism failed because a resource of the machine was exhausted.
fn exhausted(record: &TrialRecord) -> Option<Broken> {
    if let Some(Verdict::Unknown {
        why,
        errno: Some(errno),
        ..
    }) = &record.verdict
        && is_exhaustion(errno)
    {
        return Some(Broken {
            errno: Some(errno.clone()),
            ..Broken::new(Cause::OutOfResources, why.clone())
        });
    }
    let survived = record.stamps.unpopulated_ns.is_none();
    let errors = record.kill.iter().flat_map(|report| &report.errors);
    let mut ran_out = errors.filter(|error| survived && is_exhaustion(&error.errno));
    ran_out.next().map(|error| {
        let what = format!(
            "the strategy could not {} {}: {}",
            error.op, error.target, error.errno
        );
        Broken {
            errno: Some(error.errno.clone()),
            ..Broken::new(Cause::OutOfResources, what)
        }
    })
}

/// A tree that is not what the script says: nothing about it was expected.
fn refused(spec: &TrialSpec<'_>, site: &Site) -> Option<Broken> {
    let refused = site.ledger.sums().refused;
    (refused > 0 && !spec.stage.hostile).then(|| {
        let what = format!(
            "the workload could not play its script: {refused} forks or other operations were \
                refused (RLIMIT_NPROC of the actors' user, the limit on tasks, or missing rights)"
        );
        Broken::new(Cause::ForksRefused, what)
    })
}
