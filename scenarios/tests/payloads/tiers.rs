//! Each payload in each tier.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use allgone::sys::ledger::Ledger;
use libtest_mimic::Trial;

use super::cells::{Played, cell};
use super::expected::{Case, Expected, Kind, TIMED_OUT, Tier, User, not_alone};
use super::ground::{Ground, base};
use super::keeper::{Found, Order};
use super::outsider::{self, Outsider};
use super::payload::{Payload, ids};
use super::seats::Seat;
use super::tools;
use super::totals::Tally;

/// When those are ended that do not end by themselves.
const TIMEOUT: &str = "300ms";
/// The same for those that keep the processors busy: they are at their height at once.
const BUSY_TIMEOUT: &str = "150ms";
/// The deadline of those that do, on however busy a machine.
const NEVER_REACHED: &str = "25s";
/// How often one is played if the process from outside comes too late.
const ATTEMPTS: u32 = 5;
/// When an actor ends itself, should everything else fail.
const BELT: &str = "--deadline=30s";

/// One test for each payload and tier; `first` is the place of the first among all.
pub(crate) fn tests(first: usize) -> Vec<Trial> {
    let pairs = ids().enumerate().flat_map(|(at, id)| {
        let tiers = Tier::ALL.into_iter().enumerate();
        tiers.map(move |(of_tier, tier)| (at + of_tier, id, tier))
    });
    let trial = |(at, (turn, id, tier)): (usize, (usize, &'static str, Tier))| {
        let name = format!("{id}::{}", tier.name());
        cell(first + at, name, move |counts| test(turn, id, tier, counts))
    };
    pairs.enumerate().map(trial).collect()
}

fn test(turn: usize, id: &'static str, tier: Tier, counts: &mut Tally) -> Result<Played, String> {
    if let Some(why) = not_alone(id) {
        return Ok(Played::Not(why.to_owned()));
    }
    if let Err(why) = base() {
        let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
        if required.split(',').any(|name| name == "cgroup2-write") {
            return Err(why);
        }
        return Ok(Played::Not(why));
    }
    let mut wrong = Vec::new();
    for (kind, payload, user) in runs(turn, id) {
        let text = payload.text.clone();
        let case = Case {
            payload,
            tier,
            kind,
            user,
        };
        let problems = play_whole(&case, counts)?;
        if !problems.is_empty() {
            let problems = problems.join("; ");
            wrong.push(format!("{kind:?} as {user:?}: {problems}\n{text}"));
        }
    }
    Ok(Played::With(wrong))
}

/// What is played in one tier.
fn runs(turn: usize, id: &'static str) -> Vec<(Kind, Payload, User)> {
    let users = [User::Root, User::Ordinary];
    let stays = Payload::that_stays(id);
    let kinds = [
        (Kind::All, Payload::that_ends(id)),
        (Kind::Deadline, Some(stays.clone())),
        (Kind::Main, Some(stays.clone())),
        (Kind::Killed, Some(stays)),
    ];
    let kinds = kinds.into_iter().enumerate();
    let kinds = kinds.filter_map(|(at, (kind, payload))| Some((at, kind, payload?)));
    if let Some(rounds) = tools::rounds() {
        let kinds: Vec<_> = kinds.map(|(_, kind, payload)| (kind, payload)).collect();
        let turns = kinds.iter().cycle().take(rounds as usize);
        return turns
            .flat_map(|(kind, payload)| users.map(|user| (*kind, payload.clone(), user)))
            .collect();
    }
    // The last two in some tiers only: they are other ways into the same end.
    let now_and_then = |at: usize| at < 2 || (turn + at - 2).is_multiple_of(4);
    kinds
        .filter(|(at, ..)| now_and_then(*at))
        .map(|(at, kind, payload)| (kind, payload, users[(turn + at) % 2]))
        .collect()
}

/// What became of one run.
struct Run {
    /// What was not as expected.
    problems: Vec<String>,
    /// Whether all that the payload consists of was there, the process from outside as well.
    whole: bool,
}

/// Plays one until all of the payload has been there: on a busy machine the deadline may come
/// before the process from outside. Returns what was not as expected in any of these runs.
fn play_whole(case: &Case, counts: &mut Tally) -> Result<Vec<String>, String> {
    for _ in 0..ATTEMPTS {
        let run = play(case, counts)?;
        if run.whole || !run.problems.is_empty() {
            return Ok(run.problems);
        }
    }
    Ok(vec![format!(
        "in {ATTEMPTS} runs the process from outside was too late"
    )])
}

fn play(case: &Case, counts: &mut Tally) -> Result<Run, String> {
    let _seat = Seat::take(case.payload.busy);
    let expected = case.expected();
    let said = |e: std::io::Error| e.to_string();
    let user = (case.user == User::Ordinary).then(tools::user);
    let payload = &case.payload;
    let ground = Ground::make(user, payload.tasks, payload.memory_bytes)?;
    let dir = tempfile::tempdir().map_err(said)?;
    let path = |name: &str| dir.path().join(name);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).map_err(said)?;
    for name in ["work", "host"] {
        fs::create_dir(path(name)).map_err(said)?;
    }
    fs::write(path("report"), "").map_err(said)?;
    for name in ["work", "report"] {
        chown(path(name), user, user).map_err(said)?;
    }
    let ledger = Arc::new(Ledger::create().map_err(|e| e.to_string())?);
    let outsider = Outsider::wait(payload.beside, &ledger, ground.program.clone(), user);
    let latest = if payload.busy { 150 } else { 500 };
    let order = Order {
        uid: user,
        keeper: ground.keeper.join("cgroup.procs"),
        program: ground.program.join("cgroup.procs"),
        v1_tasks: ground.v1_tasks(),
        directory: path("work"),
        tools: tools::tools().to_owned(),
        args: args(case, expected.code, path("report")),
        errors: path("errors"),
        answer: path("answer"),
        // Not one that ends by itself before that, however long it takes here.
        kills: (case.kind == Kind::Killed && expected.launcher_killed).then_some(latest),
        patience_ms: if expected.launcher_killed {
            patience_ms()
        } else {
            0
        },
        host: (case.tier == Tier::Closed).then(|| (path("host"), path("report"))),
    };
    let answer = keep(&order, &ledger);
    let outsider = outsider.and_then(Outsider::end);
    let cgroups = ground.further();
    let files = fs::read_dir(path("work")).map_err(said)?.flatten();
    let files: Vec<_> = files.map(|file| file.file_name()).collect();
    ground.remove()?;
    let mut found = answer?;
    if let Some(outsider) = outsider {
        let own = format!("{} ", outsider.pid);
        found.left.retain(|line| !line.starts_with(&own));
    }
    let counts = counts.entry(format!("{}, {}", case.tier.name(), case.user.name()));
    let counts = counts.or_default();
    counts.runs += 1;
    counts.exceptions += u32::from(expected.why.is_some());
    counts.late += u32::from(found.took_ms > 1_000);
    let mut problems = Vec::new();
    if !found.left.is_empty() {
        counts.survivors += 1;
        problems.push(format!("survivors {:?}", found.left));
    }
    if !(cgroups.is_empty() || expected.cgroups) || !files.is_empty() || !found.mounts.is_empty() {
        counts.residue += 1;
        problems.push(format!("left: {cgroups:?} {files:?} {:?}", found.mounts));
    }
    if !found.changes.is_empty() {
        counts.residue += 1;
        problems.push(format!("done to the host: {:?}", found.changes));
    }
    let report = fs::read_to_string(path("report")).map_err(said)?;
    let mut otherwise = otherwise(case, &expected, &found, &report);
    // In a cgroup of the run, unless it is to be out of reach.
    let in_place = outsider.is_some_and(|it| it.joined || expected.outsider_lives);
    let whole = !outsider::takes_part(payload.beside) || in_place;
    if let Some(outsider) = outsider
        && whole
        && outsider.lives != expected.outsider_lives
    {
        otherwise.push(format!("from outside: {outsider:?}"));
    }
    if !otherwise.is_empty() {
        counts.otherwise += 1;
        let errors = fs::read_to_string(path("errors")).unwrap_or_default();
        problems.push(format!("{}: {errors}", otherwise.join(", ")));
    }
    Ok(Run { problems, whole })
}

fn args(case: &Case, code: i32, report: PathBuf) -> Vec<String> {
    let timeout = match (code, case.payload.busy) {
        (TIMED_OUT, true) => BUSY_TIMEOUT,
        (TIMED_OUT, false) => TIMEOUT,
        _ => NEVER_REACHED,
    };
    let mut args = vec!["run", "--report"];
    let report = report.display().to_string();
    args.push(&report);
    args.extend(case.tier.options());
    match case.kind {
        Kind::All | Kind::Killed => {}
        Kind::Deadline => args.extend(["--timeout", timeout]),
        Kind::Main => args.extend(["--wait", "main", "--timeout", timeout]),
    }
    args.extend(["--", "actor", BELT, "--ledger-fd=0", &case.payload.text]);
    args.into_iter().map(ToOwned::to_owned).collect()
}

/// How long what a killed launcher leaves may take to end: a second where nothing else is done on
/// the machine, which the long form takes for granted. In the short form those that take longer are
/// counted.
fn patience_ms() -> u64 {
    if tools::rounds().is_some() {
        1_000
    } else {
        10_000
    }
}

/// Has the launcher started and looked after.
fn keep(order: &Order, ledger: &Ledger) -> Result<Found, String> {
    let memfd: OwnedFd = ledger
        .memfd()
        .ok_or("no ledger")?
        .try_clone_to_owned()
        .map_err(|e| e.to_string())?;
    let status = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
        .arg0("keeper")
        .arg(serde_json::to_string(order).map_err(|e| e.to_string())?)
        .stdin(Stdio::from(memfd))
        .status()
        .map_err(|e| e.to_string())?;
    let answer = fs::read(&order.answer).map_err(|e| format!("keeper: {status}: {e}"))?;
    serde_json::from_slice(&answer).map_err(|e| e.to_string())
}

/// What the launcher said that it ought not to.
fn otherwise(case: &Case, expected: &Expected, found: &Found, report: &str) -> Vec<String> {
    let mut otherwise = Vec::new();
    // One that always ends by itself may do so before its launcher is killed.
    let payload = &case.payload;
    let ended_before =
        case.kind == Kind::Killed && payload.ends && Some(found.code) == payload.code;
    if found.code != expected.code && !ended_before {
        otherwise.push(format!(
            "exit code {} and not {}",
            found.code, expected.code
        ));
    }
    if expected.launcher_killed && !ended_before {
        return otherwise;
    }
    let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
    let tier = case.tier.options()[1];
    if report["tier"] != tier || report["proof"]["proved"] != true {
        otherwise.push(format!(
            "tier {}, proof {}",
            report["tier"], report["proof"]
        ));
    }
    // On a busy machine the deadline may pass before main, and its cgroup, is made.
    let begun = !report["main"].is_null();
    let has_cgroup = case.tier != Tier::Traced && begun;
    if has_cgroup && report["proof"]["removed"] != true {
        otherwise.push(format!("no second proof: {}", report["proof"]));
    }
    otherwise
}
