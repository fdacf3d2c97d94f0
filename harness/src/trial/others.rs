//! Interference with a trial: a process of the tree, the observer or a canary was ended from
//! outside, or a resource was exhausted. Such a trial is broken, with the cause, and says nothing
//! about a mechanism.
//!
//! One case cannot be decided, because SIGKILL does not carry its sender: a kill of a member or a
//! canary from outside *while* the strategy acts is attributed to the strategy.

use nix::unistd::Pid;

use super::broken::{Broken, end_in_words, is_exhaustion, signal_of};
use super::canary::Fate;
use super::observer::NEVER_PLAYED;
use super::oom::OomKills;
use super::oracle;
use super::play::Seen;
use super::{Run, Site, TrialSpec};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::{Canary, Plane};
use crate::record::{Cause, TrialRecord, Verdict};

/// So many processes are named one by one.
const FEW: usize = 3;

/// Looks for everything that the mechanism did not do, and notes it in `seen.broken`. Returns the
/// canaries that the strategy hit.
pub(super) fn judge_others(
    run: &Run<'_>,
    spec: &TrialSpec<'_>,
    site: &Site,
    oom: OomKills,
    record: &TrialRecord,
    seen: &mut Seen,
) -> Vec<Canary> {
    if seen.interrupted || seen.broken.is_some() {
        return Vec::new();
    }
    let mut hit = Vec::new();
    let found = observer_ended(seen, oom)
        .map_or_else(
            || tree_damaged(run, spec, site, oom, record, seen),
            |broken| Ok(Some(broken)),
        )
        .and_then(|broken| match broken {
            None => canaries(run, oom, record, seen, &mut hit),
            broken => Ok(broken),
        });
    match found {
        Ok(broken) => {
            seen.broken = broken
                .or_else(|| exhausted(record))
                .or_else(|| refused(spec, site))
        }
        Err(e) => seen.broken = Some(Broken::harness(e)),
    }
    hit.sort_unstable();
    hit
}

/// The observer ended without its last message.
fn observer_ended(seen: &Seen, oom: OomKills) -> Option<Broken> {
    let (pid, status) = seen.observer?;
    let end = end_in_words(status);
    if status.and_then(signal_of).is_none() {
        return Some(Broken::harness(format!(
            "the observer ({pid}) gave no verdict: it {end}"
        )));
    }
    let cause = match oom.in_trial {
        0 => Cause::ObserverKilled,
        _ => Cause::OomKilled,
    };
    Some(Broken::new(
        cause,
        format!("the observer ({pid}) {end}, {}", oom.suspect()),
    ))
}

/// Processes of the tree were ended by something else than their script, the trial's strategy or
/// its cleaning.
fn tree_damaged(
    run: &Run<'_>,
    spec: &TrialSpec<'_>,
    site: &Site,
    oom: OomKills,
    record: &TrialRecord,
    seen: &Seen,
) -> Result<Option<Broken>, SysError> {
    let by_oom = record.kill.as_ref().is_some_and(|report| report.by_oom);
    let sums = site.ledger.sums();
    let (lost, number) = match (&seen.damaged, record.plane) {
        (Some(pids), _) => (pids.clone(), pids.len()),
        // All others that are missing were killed by the strategy.
        (None, Plane::Kill) => (Vec::new(), 0),
        (None, Plane::Detect) if record.stamps.unpopulated_ns.is_some() => {
            let unstamped = site.ledger.entries().filter(|entry| entry.exit.is_none());
            let missing =
                usize::try_from(sums.births.saturating_sub(sums.deaths)).unwrap_or(usize::MAX);
            (unstamped.map(|entry| entry.pid).collect(), missing)
        }
        (None, Plane::Detect) if seen.renumbered => (Vec::new(), 0),
        (None, Plane::Detect) => {
            let lost = oracle::ended(site)?;
            let number = lost.len();
            (lost, number)
        }
    };
    if oom.in_trial > 0 && !by_oom {
        let what = format!(
            "the kernel's OOM killer ended {} processes of the trial, whose limit on memory is {} \
                KiB",
            oom.in_trial,
            spec.limits.memory_bytes >> 10
        );
        return Ok(Some(Broken::new(Cause::OomKilled, what)));
    }
    if number > 0 {
        return Ok(Some(Broken::new(
            Cause::KilledFromOutside,
            in_words(run, &lost, number, oom),
        )));
    }
    let never_played = record.plane == Plane::Detect && seen.main_ended && sums.births == 0;
    Ok(never_played.then(|| Broken::new(Cause::NotStarted, NEVER_PLAYED)))
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

/// Which canaries the strategy hit, and whether one was ended by something else.
fn canaries(
    run: &Run<'_>,
    oom: OomKills,
    record: &TrialRecord,
    seen: &Seen,
    hit: &mut Vec<Canary>,
) -> Result<Option<Broken>, SysError> {
    let begun = record.kill.as_ref().map(|report| MonoNs(report.begun_ns));
    let by_oom = record.kill.as_ref().is_some_and(|report| report.by_oom);
    let mut fates = Vec::new();
    for canary in &seen.canaries {
        let status = run.reaper.status_of(canary.pid);
        fates.push((canary.kind, status, canary.fate(status, begun)?));
    }
    for (kind, status) in &seen.dead_canaries {
        fates.push((
            *kind,
            Some(*status),
            super::canary::judge(Some(*status), None, false, begun),
        ));
    }
    for (kind, status, fate) in fates {
        let end = end_in_words(status);
        match fate {
            Fate::Unharmed => {}
            Fate::Lost(why) => {
                let what = format!("the canary {kind} {end}, {why}, {}", oom.suspect());
                return Ok(Some(Broken::new(Cause::CanaryKilled, what)));
            }
            Fate::Hit if oom.on_machine > 0 && !by_oom => {
                let what = format!(
                    "the canary {kind} {end} while the strategy acted, {}",
                    oom.suspect()
                );
                return Ok(Some(Broken::new(Cause::OomKilled, what)));
            }
            Fate::Hit => hit.push(kind),
        }
    }
    Ok(None)
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
        return Some(Broken::new(Cause::OutOfResources, why.clone()));
    }
    let survived = record.stamps.unpopulated_ns.is_none();
    let errors = record.kill.iter().flat_map(|report| &report.errors);
    let mut ran_out = errors.filter(|error| survived && is_exhaustion(&error.errno));
    ran_out.next().map(|error| {
        let what = format!(
            "the strategy could not {} {}: {}",
            error.op, error.target, error.errno
        );
        Broken::new(Cause::OutOfResources, what)
    })
}

/// A tree that is not what the script says: nothing about it was expected.
fn refused(spec: &TrialSpec<'_>, site: &Site) -> Option<Broken> {
    let refused = site.ledger.sums().refused;
    (refused > 0 && !spec.stage.hostile).then(|| {
        let what = format!(
            "the workload could not play its script: {refused} forks were refused (RLIMIT_NPROC of \
                the actors' user, or the limit on tasks)"
        );
        Broken::new(Cause::ForksRefused, what)
    })
}
