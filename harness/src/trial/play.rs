//! The flow of one trial, from the harness's side: site, observer, verdict, truth, proof, cleaning,
//! record.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::broken::Broken;
use super::canary::LiveCanary;
use super::conclude::conclude;
use super::ending::{reap_and_remove, settle, teardown};
use super::idle::{self, Samples};
use super::observer::{self, Message};
use super::oom::OomKills;
use super::oracle::{self, State, SurvivalProof};
use super::others::judge_others;
use super::trace::Tracer;
use super::{Run, Site, TrialError, TrialSpec};
use crate::cgroup::CgroupError;
use crate::error::{Recorded, SysError};
use crate::expect::{Canary, Plane};
use crate::record::{
    Cause, Counters, ErrorRecord, LedgerRecord, Outcome, SCHEMA, Stamps, TrialRecord, Verdict,
};
use crate::sys::wait::Change;
use crate::sys::{fork, pidfd, time};

/// How much longer than its own deadlines an observer may take before it is called hung.
const OBSERVER_SLACK: Duration = Duration::from_secs(15);
/// How long after the kill the oracle starts to look for survivors.
const DYING: Duration = Duration::from_millis(50);
/// The same for strategies whose signals follow only when another process has ended, which takes
/// time on a busy machine.
const DYING_INDIRECTLY: Duration = Duration::from_secs(1);

/// What was seen during one trial.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) started: bool,
    pub(super) done: bool,
    pub(super) broken: Option<Broken>,
    /// Processes that were ended before the strategy acted. Absent: none was looked for, or none
    /// found.
    pub(super) damaged: Option<Vec<i32>>,
    /// The ledger's numbers are not those of this PID namespace.
    pub(super) renumbered: bool,
    /// The main process has ended.
    pub(super) main_ended: bool,
    /// The observer, if it ended without its last message, and how.
    pub(super) observer: Option<(Pid, Option<Change>)>,
    pub(super) killed: bool,
    pub(super) lives_on: bool,
    pub(super) interrupted: bool,
    pub(super) witness: Option<i32>,
    pub(super) canaries: Vec<LiveCanary>,
    /// The last canary has been reported.
    pub(super) canaries_ready: bool,
    /// How canaries ended that were dead and reaped before they were reported.
    pub(super) dead_canaries: Vec<(Canary, Change)>,
    pub(super) samples: Samples,
    pub(super) errors: Vec<ErrorRecord>,
}

/// Plays one trial.
pub(super) fn play(run: &mut Run<'_>, spec: &TrialSpec<'_>) -> Result<TrialRecord, TrialError> {
    let site = Site::make(run, spec)?;
    let mut record = blank(run, spec);
    let mut seen = Seen::default();
    let oom = OomKills::so_far(&site);

    let played = perform(run, spec, &site, oom.in_trial, &mut record, &mut seen);
    let truth = played
        .and_then(|()| settle(run, spec, &site, &mut record, &mut seen))
        .and_then(|()| reap_and_remove(run, &site, &mut record, &mut seen));
    // What breaks while a run is interrupted is not the mechanism's fault.
    seen.interrupted |= run.reaper.ending().is_some();
    let oom = OomKills::so_far(&site).since(oom);
    let hit = judge_others(run, spec, &site, oom, &record, &mut seen);
    if let Err(error) = truth {
        seen.broken.get_or_insert_with(|| Broken::harness(error));
    }
    let sums = site.ledger.sums();
    record.ledger = LedgerRecord {
        births: sums.births,
        deaths: sums.deaths,
        refused: sums.refused,
    };
    conclude(spec, run.reaper.ending(), &mut record, &mut seen, hit);
    teardown(run, spec, site, seen.canaries, &mut record)?;
    record.errors = seen.errors;
    Ok(record)
}

fn blank(run: &Run<'_>, spec: &TrialSpec<'_>) -> TrialRecord {
    TrialRecord {
        schema: SCHEMA,
        run: run.name().to_owned(),
        seq: spec.seq,
        block: None,
        twin: 0,
        plane: spec.plane(),
        scenario: spec.scenario.to_owned(),
        detector: spec.detector.spec().id.to_owned(),
        strategy: spec.strategy.map(|s| s.spec().id.to_owned()),
        params: spec
            .params
            .iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
        seed: spec.seed,
        gap_ns: u64::try_from(spec.gap.as_nanos()).ok(),
        entry: String::new(),
        stamps: Stamps {
            intended_ns: spec.conditions.intended.map(|at| at.0),
            ..Stamps::default()
        },
        stages: None,
        verdict: None,
        outcome: Outcome::Broken,
        expected: String::new(),
        expectation: None,
        held: false,
        note: None,
        cause: None,
        counters: Counters::default(),
        cpu_ns: None,
        idle: None,
        ledger: LedgerRecord::default(),
        kill: None,
        survivors: Vec::new(),
        canaries_hit: Vec::new(),
        errors: Vec::new(),
    }
}

/// Starts the observer and reads its messages until the last one, or until no more can come.
fn perform(
    run: &mut Run<'_>,
    spec: &TrialSpec<'_>,
    site: &Site,
    oom: u64,
    record: &mut TrialRecord,
    seen: &mut Seen,
) -> Result<(), TrialError> {
    let killing = spec.plane() == Plane::Kill;
    if killing {
        seen.canaries.push(LiveCanary::same_uid(site)?);
        seen.canaries.push(LiveCanary::parent_cgroup(site)?);
    }
    let (hear, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .map_err(|e| SysError::plain("pipe2", e))?;
    let start = match spec.conditions.trace {
        true => {
            Some(nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?)
        }
        false => None,
    };
    let (start, go) = start.unzip();
    let (tell, start) = (Cell::new(Some(tell)), Cell::new(start));
    let observer = fork::worker(0, Some(run.control().as_fd()), || match tell.take() {
        Some(tell) => observer::run(site, spec, oom, tell, start.take()),
        None => 104,
    })
    .map_err(|e| SysError::plain("fork the observer", e))?;
    drop((tell, start));
    let mut tracer = match go {
        Some(go) => {
            let tracer = Tracer::attach(observer.pid, site, spec)?;
            nix::unistd::write(&go, b"g")
                .map_err(|e| SysError::plain("write to the observer", e))?;
            Some(tracer)
        }
        None => None,
    };

    let begin = spec
        .conditions
        .intended
        .map_or_else(time::now, |at| at.max(time::now()));
    let hung = begin + spec.ready_timeout() + spec.deadline * 2 + spec.gap + OBSERVER_SLACK;
    let mut lines = Lines::default();
    let mut kill_said_at = None;
    let mut survival = SurvivalProof::default();
    let mut reusing = spec.stage.hostile && killing;
    loop {
        let tick = match (killing, spec.conditions.idle) {
            (true, _) => oracle::KILL_TICK,
            (false, true) => idle::INTERVAL,
            (false, false) => Duration::from_secs(1),
        };
        let mut sources = vec![hear.as_fd(), observer.pidfd.as_fd()];
        sources.extend(tracer.iter().flat_map(Tracer::fds));
        run.rest(&sources, tick)?;
        if let Some(tracer) = &mut tracer {
            tracer.read();
        }
        let ended = pidfd::has_exited(observer.pidfd.as_fd())
            .map_err(|e| SysError::plain("poll pidfd", e))?;
        for message in lines.drain(&hear)? {
            take(message, run, site, record, seen);
        }
        if spec.conditions.idle && !killing && !ended {
            seen.errors
                .extend(seen.samples.take(observer.pid).err().map(|e| e.recorded()));
        }
        if killing {
            for canary in &mut seen.canaries {
                canary.look()?;
            }
            watch_kill(site, record, seen, &mut kill_said_at, &mut survival)?;
        }
        if reusing && seen.canaries_ready {
            reusing = !reuse_pid(run, site, record, seen);
        }
        seen.interrupted = run.reaper.ending().is_some();
        if ended || seen.interrupted || seen.lives_on {
            break;
        }
        if let Some(broken) = stopped(run, site, observer.pid, killing) {
            seen.broken = Some(broken);
            break;
        }
        if hung.has_passed() {
            seen.broken = Some(Broken::new(
                Cause::ObserverHung,
                format!(
                    "the observer ({}) did not come back in time",
                    spec.detector.spec().id
                ),
            ));
            break;
        }
    }
    run.reap(
        &observer.pidfd,
        if seen.done {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        },
    )?;
    // Its last words may have come together with its end.
    for message in lines.drain(&hear)? {
        take(message, run, site, record, seen);
    }
    if !seen.done
        && seen.broken.is_none()
        && seen.damaged.is_none()
        && !seen.interrupted
        && !seen.lives_on
    {
        seen.observer = Some((observer.pid, run.reaper.status_of(observer.pid)));
    }
    if let (Some(tracer), Some(Verdict::Empty { decided_ns, .. })) = (tracer, &record.verdict) {
        match tracer.stages(site, *decided_ns) {
            Ok(stages) => record.stages = Some(stages),
            Err(e) => seen.errors.push(e.recorded()),
        }
    }
    Ok(())
}

/// Whether something has stopped the observer or, where nothing is killed, an orphan of the tree:
/// what is measured from then on is the length of the stop. The harness is told of its own children
/// alone, but of these even where they go on at once.
fn stopped(run: &Run<'_>, site: &Site, observer: Pid, killing: bool) -> Option<Broken> {
    let of_trial = |pid: &i32| {
        *pid == observer.as_raw()
            || !killing && site.ledger.entries().any(|entry| entry.pid == *pid)
    };
    let pids: Vec<i32> = run
        .reaper
        .stopped()
        .iter()
        .copied()
        .filter(of_trial)
        .collect();
    (!pids.is_empty()).then(|| Broken::stopped(&pids))
}

/// Watches a kill in progress: when is the site unpopulated, and if it is not, will a process
/// survive?
fn watch_kill(
    site: &Site,
    record: &mut TrialRecord,
    seen: &mut Seen,
    said_at: &mut Option<crate::MonoNs>,
    survival: &mut SurvivalProof,
) -> Result<(), CgroupError> {
    if !seen.started || record.stamps.unpopulated_ns.is_some() {
        return Ok(());
    }
    if oracle::look(site)? != State::Populated {
        record.stamps.unpopulated_ns = Some(time::now().0);
        return Ok(());
    }
    if seen.killed {
        let now = time::now();
        let said = *said_at.get_or_insert(now);
        let indirect = record.kill.as_ref().is_some_and(|report| report.indirect);
        let patience = if indirect { DYING_INDIRECTLY } else { DYING };
        if now.since(said) > patience && survival.is_proved(site)? {
            seen.lives_on = true;
        }
    }
    Ok(())
}

/// The trap for strategies that kill by number: an outsider gets the pid that a member of the set
/// has just freed, once the tree is in the state in which it is to be killed. True: it is done, or
/// cannot be done.
fn reuse_pid(run: &mut Run<'_>, site: &Site, record: &mut TrialRecord, seen: &mut Seen) -> bool {
    let freed = run.reaper.take_last();
    let (true, Some(freed)) = (site.ledger.wait_ready(crate::MonoNs(0)), freed) else {
        return false;
    };
    if seen.canaries.iter().any(|canary| canary.pid == freed) {
        return false;
    }
    match LiveCanary::with_number(site, freed) {
        Ok(mut canary) => {
            record.stamps.reused_ns = Some(time::now().0);
            if record.kill.as_ref().is_some_and(|report| !report.indirect) {
                seen.errors
                    .extend(canary.issued().err().map(|e| e.recorded()));
            }
            seen.canaries.push(canary);
            true
        }
        // Another process has the pid already; the next one that is freed will do.
        Err(Errno::EEXIST) => false,
        // A process may be given a number by root (CAP_CHECKPOINT_RESTORE) and since Linux 5.5; the
        // record has no stamp then.
        Err(_) => true,
    }
}

fn take(
    message: Message,
    run: &mut Run<'_>,
    site: &Site,
    record: &mut TrialRecord,
    seen: &mut Seen,
) {
    match message {
        Message::Started {
            armed_ns,
            spawn_ns,
            pid: _,
            entry,
            renumbered,
        } => {
            seen.renumbered = renumbered;
            record.stamps.armed_ns = Some(armed_ns);
            record.stamps.spawn_ns = Some(spawn_ns.0);
            record.stamps.spawned_ns = Some(spawn_ns.1);
            record.entry = entry;
            seen.started = true;
        }
        Message::Canary { pid } => {
            seen.canaries_ready = true;
            // A kill may be over before its bystander is reported.
            if let Some(status) = run.reaper.status_of(Pid::from_raw(pid)) {
                seen.dead_canaries.push((Canary::SameGroup, status));
                return;
            }
            match LiveCanary::adopt(Canary::SameGroup, pid) {
                Ok(canary) => seen.canaries.push(canary),
                Err(e) => seen.errors.push(e.recorded()),
            }
        }
        Message::Killed { ready_ns, report } => {
            record.stamps.ready_ns = ready_ns;
            if !report.indirect {
                for canary in &mut seen.canaries {
                    seen.errors
                        .extend(canary.issued().err().map(|e| e.recorded()));
                }
            }
            record.kill = Some(report);
            seen.killed = true;
        }
        Message::Done {
            verdict,
            counters,
            cpu_ns,
            main_ended,
        } => {
            seen.main_ended = main_ended;
            if matches!(verdict, Verdict::Empty { .. }) && record.plane == Plane::Detect {
                match oracle::witness(site) {
                    Ok(witness) => seen.witness = witness,
                    Err(e) => seen.errors.push(e.recorded()),
                }
            }
            record.verdict = Some(verdict);
            record.counters = counters;
            record.cpu_ns = Some(cpu_ns);
            seen.done = true;
        }
        Message::Damaged { pids } => seen.damaged = Some(pids),
        Message::Broken(broken) => seen.broken = Some(broken),
    }
}

/// Messages of the observer, cut at line ends.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn drain(&mut self, hear: &OwnedFd) -> Result<Vec<Message>, SysError> {
        let mut buf = [0u8; 4096];
        loop {
            match nix::unistd::read(hear, &mut buf) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(n) => self.partial.extend_from_slice(&buf[..n]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::plain("read from the observer", errno)),
            }
        }
        let mut messages = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            messages.push(serde_json::from_slice(&line).unwrap_or_else(|e| {
                Message::Broken(Broken::harness(format!(
                    "the observer sent a malformed message: {e}"
                )))
            }));
        }
        Ok(messages)
    }
}
