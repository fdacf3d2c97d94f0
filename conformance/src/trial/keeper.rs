//! The process of a trial.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::time::now;
use nix::sys::prctl;

use super::act::act;
use super::container;
use super::crowd;
use super::ground::{Ground, LAUNCHER};
use super::oracle::Oracle;
use super::processes::{self, Group, Started, Streams, alive, tail};
use super::residue;
use super::terminal::{self, Terminal};
use super::watch::{Watch, is_ready};
use super::{Case, DIR, Life, Order, Payload, Returned, Seen, Stream};

/// How long a command before or after a run may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a payload is waited for after its launcher has returned.
const AFTER_RETURN: Duration = Duration::from_millis(500);

/// The whole process: an order on its command line, and what was seen on standard output.
pub fn main(order: &str) -> ExitCode {
    let seen = match serde_json::from_str(order) {
        Ok(order) => play(&order).unwrap_or_else(|trouble| Seen {
            trouble: Some(trouble),
            ..Seen::default()
        }),
        Err(e) => Seen {
            trouble: Some(format!("the order: {e}")),
            ..Seen::default()
        },
    };
    let mut out = std::io::stdout();
    match serde_json::to_writer(&mut out, &seen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn play(order: &Order) -> Result<Seen, String> {
    prctl::set_child_subreaper(true).map_err(|e| format!("subreaper: {e}"))?;
    let mut ground = Ground::make(order)?;
    let program = format!("{DIR}/payload");
    let oracle = Oracle::place(&mut ground.payload, Path::new(&program))
        .map_err(|e| format!("could not copy the payload: {e}"))?;
    if order.case.payload == Payload::NotExecutable {
        let file = format!("{DIR}/not-executable");
        std::fs::write(&file, "x").map_err(|e| format!("{file}: {e}"))?;
    }
    for (name, text) in &order.files {
        std::fs::write(name, text).map_err(|e| format!("{name}: {e}"))?;
    }
    let mut watch = Watch::new()?;
    let mut seen = Seen::default();
    let mut terminal = None;
    if order.terminal {
        terminal = Some(Terminal::open(order, &mut watch)?);
    }
    let played = prepared(order, &oracle, &mut watch, &mut seen, terminal.as_mut());
    if terminal.is_some() {
        terminal::outlive()?;
    }
    let clean = clean(&ground, &oracle, &mut watch);
    seen.errors = tail(&format!("{DIR}/errors"));
    seen.trouble = played.and(clean).err();
    Ok(seen)
}

fn prepared(
    order: &Order,
    oracle: &Oracle,
    watch: &mut Watch,
    seen: &mut Seen,
    terminal: Option<&mut Terminal>,
) -> Result<(), String> {
    for words in &order.before {
        processes::finish(words, order, &mut watch.ended, PATIENCE)?;
    }
    let first = match order.container {
        true => Some(container::start(order, &mut watch.ended)?),
        false => None,
    };
    let before = residue::snapshot(!order.broker);
    if order.case.crowd > 0 {
        return crowd::play(order, watch, oracle, seen);
    }
    let (mut strangers, group) = strangers(order)?;
    strangers.extend(first.map(|first| ("the first process of its container", first)));
    one(order, oracle, watch, seen, (group, &strangers), terminal)?;
    let settled = now() + Duration::from_millis(order.case.settle_ms);
    if seen.settled != Some(Life::Idle) {
        seen.left = members(&strangers, |_| true);
    }
    for words in &order.after {
        // What it could not do is seen below.
        match processes::finish(words, order, &mut watch.ended, PATIENCE) {
            Ok(()) | Err(_) => {}
        }
    }
    let residue = || {
        let after = residue::snapshot(!order.broker);
        let mut all: Vec<String> = after.difference(&before).take(20).cloned().collect();
        let helpers = members(&strangers, |pid| !oracle.is_payload(pid));
        all.extend(helpers.iter().map(|helper| format!("process {helper}")));
        all
    };
    // What has the time to settle may be on its way out.
    watch.until(settled, &[], |_| {
        seen.residue = residue();
        seen.residue.is_empty()
    });
    Ok(())
}

/// Processes in the launcher's cgroups but the strangers.
fn members(strangers: &[Stranger], which: impl Fn(i32) -> bool) -> Vec<String> {
    let cgroup =
        allgone::cgroup::Cgroup::open(Path::new(LAUNCHER).parent().unwrap_or(Path::new("/")));
    let all = cgroup.and_then(|cgroup| cgroup.procs_recursive());
    let pids = all.map(|members| members.pids).unwrap_or_default();
    pids.into_iter()
        .filter(|pid| strangers.iter().all(|(_, known)| known.pid != *pid))
        .filter(|pid| which(*pid))
        .filter_map(alive)
        .take(20)
        .collect()
}

/// A process that must not be hit, with what it has in common with the launcher.
type Stranger = (&'static str, Started);

/// Processes that must not be hit, and the group that the launcher gets.
fn strangers(order: &Order) -> Result<(Vec<Stranger>, Group), String> {
    let mut all = Vec::new();
    let mut group = Group::Own;
    // In a container it leads a session of its own.
    if !order.case.leads && !order.container {
        let leader = processes::stranger(order, Group::Own, false)?;
        group = Group::Of(leader.pid);
        all.push(("the leader of its process group", leader));
    }
    if order.case.strangers {
        let session = processes::stranger(order, Group::Own, false)?;
        all.push(("a process of its session, user and environment", session));
        let cgroup = processes::stranger(order, Group::Own, true)?;
        all.push(("a process of its cgroup", cgroup));
    }
    Ok((all, group))
}

/// One run.
fn one(
    order: &Order,
    oracle: &Oracle,
    watch: &mut Watch,
    seen: &mut Seen,
    (group, strangers): (Group, &[Stranger]),
    terminal: Option<&mut Terminal>,
) -> Result<(), String> {
    let case = &order.case;
    let words = order.launch.first().ok_or("there is nothing to start")?;
    let mut streams = streams(case, watch)?;
    let launcher = match &terminal {
        Some(terminal) => {
            if case.feed == 0 {
                streams.stdin = terminal.stream()?;
            }
            if case.output == Stream::File {
                streams.stdout = terminal.stream()?;
            }
            processes::start_in_front(words, order, group, streams)?
        }
        None if order.container => container::execute(words, order, &mut watch.ended, streams, 0)?,
        None => processes::start(words, order, group, streams)?,
    };
    let start = now() + Duration::from_millis(order.start_ms);
    let inside = |pid: i32| {
        let procs = std::fs::read_to_string(format!("{LAUNCHER}/cgroup.procs"));
        procs.is_ok_and(|text| text.lines().any(|line| line == pid.to_string()))
    };
    watch.until(start, &[&launcher], |w| {
        order.container || w.end(&launcher).is_some() || inside(launcher.pid)
    });
    let started = now();
    let mut beside = Vec::new();
    if case.strangers && case.leads {
        // A pipeline of a shell with job control: the next program joins the group of the first.
        if let Ok(next) = processes::stranger(order, Group::Of(launcher.pid), false) {
            beside.push(("the next program of its pipeline", next));
        }
    }
    let early = matches!(case.act, super::Act::KillEarly { .. });
    let says = !early && case.payload.says_ready();
    let ready = match says {
        false => None,
        true => await_ready(watch, &launcher, oracle, start, &format!("{DIR}/ready")),
    };
    if let Some(ready) = ready {
        seen.ready_us = Some(us(ready, started));
        seen.executed_at_ready = Some(oracle.look() != Life::Idle);
    }
    let acted = act(order, &launcher, watch, terminal, started, ready)?;
    let reference = acted.or(ready).unwrap_or(started);
    let deadline = match says && ready.is_none() {
        // It has had its time.
        true => now(),
        false => reference + Duration::from_millis(case.patience_ms),
    };
    watch.until(deadline, &[&launcher], |w| w.end(&launcher).is_some());
    seen.at_return = Some(oracle.look());
    let end = now();
    if let Some(change) = watch.end(&launcher) {
        seen.returned = Some(Returned {
            after_us: us(end, reference),
            code: change.exit_code(),
            signal: change.signal(),
        });
        let stamp = std::fs::read_to_string(format!("{DIR}/stamp")).ok();
        let stamp = stamp.and_then(|text| text.parse().ok());
        seen.late_us = stamp.map(|stamp| us(end, MonoNs(stamp)));
    }
    let settled = end + Duration::from_millis(case.settle_ms);
    if wait_idle(watch, oracle, settled, &[&launcher]) {
        seen.idle_us = Some(us(now(), reference));
    }
    seen.settled = Some(oracle.look());
    if let Stream::Pipe = case.output {
        watch.until(settled, &[], |w| w.read_end);
    }
    (seen.read_bytes, seen.read_right) = (watch.read, watch.right);
    seen.read_end = watch.read_end;
    if case.strangers {
        // What hits them may come a moment after the launcher.
        let hit = |w: &Watch| {
            strangers
                .iter()
                .chain(&beside)
                .any(|(_, s)| w.end(s).is_some())
        };
        watch.until(now() + Duration::from_millis(50), &[], hit);
    }
    for (name, stranger) in strangers.iter().chain(&beside) {
        if watch.end(stranger).is_some() {
            seen.hit.push((*name).to_owned());
        }
    }
    Ok(())
}

/// Waits until the payload has said "ready"; `None`: it never will.
fn await_ready(
    watch: &mut Watch,
    launcher: &Started,
    oracle: &Oracle,
    deadline: MonoNs,
    file: &str,
) -> Option<MonoNs> {
    watch.until(deadline, &[launcher], |w| {
        is_ready(file) || w.end(launcher).is_some()
    });
    if !is_ready(file) && !deadline.has_passed() {
        // It has returned. If it has gone to the background, its program may come yet.
        let mut patience = now() + AFTER_RETURN;
        if patience > deadline {
            patience = deadline;
        }
        watch.until(patience, &[], |_| is_ready(file));
        if oracle.look() == Life::Alive {
            watch.until(deadline, &[], |_| is_ready(file));
        }
    }
    is_ready(file).then(now)
}

/// Waits until nothing executes the payload; returns whether that is so.
pub(super) fn wait_idle(
    watch: &mut Watch,
    oracle: &Oracle,
    deadline: MonoNs,
    waited: &[&Started],
) -> bool {
    watch.until(deadline, waited, |_| oracle.look() == Life::Idle)
}

fn streams(case: &Case, watch: &mut Watch) -> Result<Streams, String> {
    let failed = |e: std::io::Error| format!("pipe: {e}");
    let mut streams = Streams::quiet(&format!("{DIR}/errors"))?;
    if case.feed > 0 {
        let (read, write) = std::io::pipe().map_err(failed)?;
        watch.feed(write, case.feed)?;
        streams.stdin = read.into();
    }
    match case.output {
        Stream::Pipe => {
            let (read, write) = std::io::pipe().map_err(failed)?;
            watch.listen(read)?;
            streams.stdout = write.into();
        }
        Stream::File => {
            let file = std::fs::File::create(format!("{DIR}/output"));
            streams.stdout = file.map_err(failed)?.into();
        }
    }
    Ok(streams)
}

/// Ends everything that is left.
fn clean(ground: &Ground, oracle: &Oracle, watch: &mut Watch) -> Result<(), String> {
    let deadline = now() + Duration::from_secs(10);
    let empty = |ground: &Ground| ground.ns.events().is_ok_and(|events| !events.populated);
    while !(empty(ground) && oracle.look() != Life::Alive) {
        if deadline.has_passed() {
            return Err("something of the run could not be ended".to_owned());
        }
        ground.ns.kill().map_err(|e| e.to_string())?;
        for child in children() {
            // Not reaped yet, so the number is still its own.
            match nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL) {
                Ok(()) | Err(_) => {}
            }
        }
        watch.until(now() + Duration::from_millis(5), &[], |_| false);
    }
    Ok(())
}

/// The children of this process, strangers and orphans.
fn children() -> Vec<nix::unistd::Pid> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .map(nix::unistd::Pid::from_raw)
        .collect()
}

fn us(at: MonoNs, from: MonoNs) -> u64 {
    u64::try_from(at.since(from).as_micros()).unwrap_or(u64::MAX)
}
