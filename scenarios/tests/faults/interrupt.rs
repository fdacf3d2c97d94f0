//! Interruptions at random moments: whatever is killed and whenever, soon afterwards nothing is
//! left.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::left::{children, reap, roles, state};
use super::machine::{
    Place, binary, delegate, ended, now, panicked, rest, says_nothing_left, wait_until,
};
use super::verbs::{Helpers, VERBS, Verb};

/// How it is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    /// SIGINT to the harness alone.
    Int,
    Term,
    Hup,
    Kill,
    /// Ctrl-C on a terminal: SIGINT to the foreground process group.
    CtrlC,
    /// The terminal is closed.
    Terminal,
    /// SIGKILL to a guard.
    Guard,
    /// SIGKILL to an observer, or to the loop of `scale`. The run goes on.
    Observer,
    /// SIGKILL to two of the harness, its guards and an observer, 0 to 5 ms apart.
    Two,
}

impl Kind {
    /// The processes that must exist to be killed.
    const fn needs(self) -> Helpers {
        match self {
            Self::Guard | Self::Two => Helpers::Guards,
            Self::Observer => Helpers::GuardsAndObservers,
            _ => Helpers::None,
        }
    }
}

const KINDS: [Kind; 9] = [
    Kind::Int,
    Kind::Term,
    Kind::Hup,
    Kind::Kill,
    Kind::CtrlC,
    Kind::Terminal,
    Kind::Guard,
    Kind::Observer,
    Kind::Two,
];

/// One interruption that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    verb: usize,
    kind: Kind,
    after_us: u64,
    /// Decides which two are killed, and how far apart.
    lot: u64,
}

/// The result.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    /// It had ended before: nothing was interrupted.
    too_late: bool,
    /// When, counted from the start of the command.
    at_us: u64,
    /// The processes that were killed.
    killed: Vec<String>,
    /// How the command ended.
    ended: String,
    /// How long after the interruption (or, where the run may go on, after its end) nothing was
    /// left.
    clean_after_ms: Option<u64>,
    /// What is wrong, a line each.
    wrong: Vec<String>,
    /// The end of its output.
    said: String,
}

/// How long a run may go on after its observer was killed.
const GOING_ON: Duration = Duration::from_secs(100);

/// Makes `count` interruptions, `abreast` at once; all kinds of all verbs before one comes again.
/// Returns a table, or what is wrong.
pub(crate) fn campaign(
    count: usize,
    seed: u64,
    abreast: usize,
    limit: Duration,
) -> Result<String, String> {
    let cases = draw(count, seed);
    let seen = super::abreast(abreast, cases, move |at, case| {
        let seen = redraw_until_hit(case, seed.wrapping_add(at as u64), limit);
        (case.clone(), seen)
    });
    let mut wrong = String::new();
    for (case, seen) in &seen {
        let name = format!(
            "{} of {} after {} us",
            word(case.kind),
            VERBS[case.verb].name,
            case.after_us
        );
        match seen {
            Ok(seen) if seen.wrong.is_empty() => {}
            Ok(seen) => {
                wrong.push_str(&format!(
                    "{name} (killed: {}; it ended: {}):\n  {}\n  it said: {}\n",
                    seen.killed.join(", "),
                    seen.ended,
                    seen.wrong.join("\n  "),
                    seen.said
                ));
            }
            Err(error) => {
                wrong.push_str(&format!("{name}: {error}\n"));
            }
        }
    }
    let table = table(&seen);
    if wrong.is_empty() {
        Ok(table)
    } else {
        Err(format!("{wrong}{table}"))
    }
}

fn draw(count: usize, seed: u64) -> Vec<Case> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cells: Vec<(usize, Kind)> = Vec::new();
    let mut cases = Vec::new();
    while cases.len() < count {
        if cells.is_empty() {
            let all = (0..VERBS.len()).flat_map(|verb| KINDS.map(|kind| (verb, kind)));
            cells.extend(all.filter(|(verb, kind)| VERBS[*verb].helpers >= kind.needs()));
            cells.shuffle(&mut random);
        }
        let (verb, kind) = cells.pop().expect("it was filled a moment ago");
        let case = Case {
            verb,
            kind,
            after_us: moment(&mut random, VERBS[verb].life),
            lot: random.random(),
        };
        cases.push(case);
    }
    cases
}

/// A third of the moments in the first 100 ms, a third while the machine is being probed, a third
/// in the whole life.
fn moment(random: &mut ChaCha8Rng, life: Duration) -> u64 {
    let latest = [100_000, 800_000, u64::MAX][random.random_range(0..3)];
    let life = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
    random.random_range(0..latest.min(life))
}

/// A command that has ended before its moment was not interrupted: an earlier moment is drawn.
fn redraw_until_hit(case: &Case, seed: u64, limit: Duration) -> Result<Seen, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut case = case.clone();
    for _ in 0..8 {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let text = serde_json::to_string(&(&case, limit)).map_err(|e| e.to_string())?;
        let answer = delegate(&format!("interrupt={text}"), dir.path())?;
        let seen: Seen = serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
        if !seen.too_late || !seen.wrong.is_empty() {
            return Ok(seen);
        }
        case.after_us = random.random_range(0..seen.at_us.max(1));
    }
    Err("it was over before its moment eight times".to_owned())
}

/// The worker's side: one case, its answer on standard output.
pub(crate) fn worker(case: &str, dir: &Path) -> Result<String, String> {
    let (case, limit): (Case, Duration) = serde_json::from_str(case).map_err(|e| e.to_string())?;
    let place = Place::make(dir)?;
    let verb = VERBS[case.verb];
    let mut seen = Seen::default();
    let on_terminal = matches!(case.kind, Kind::Terminal | Kind::CtrlC);
    let Some(mut started) = Started::start(&place, verb, on_terminal)? else {
        seen.too_late = true;
        seen.at_us = case.after_us;
        return serde_json::to_string(&seen).map_err(|e| e.to_string());
    };
    let moment = started.at + Duration::from_micros(case.after_us);
    rest(moment.saturating_sub(now()));
    let victims = started.victims(case.kind, case.lot);
    if started.over() || victims.is_none() {
        seen.too_late = true;
    }
    let interrupted = now();
    seen.at_us = u64::try_from((interrupted - started.at).as_micros()).unwrap_or(u64::MAX);
    match case.kind {
        _ if seen.too_late => {}
        Kind::Int
        | Kind::Term
        | Kind::Hup
        | Kind::Kill
        | Kind::Guard
        | Kind::Observer
        | Kind::Two => {
            for (n, (role, pid)) in victims.into_iter().flatten().enumerate() {
                if n > 0 {
                    rest(Duration::from_micros(case.lot % 5_001));
                }
                // It may be ending at this moment: then it was interrupted, or was over.
                let sent = kill(pid, signal(case.kind));
                seen.killed.push(format!(
                    "{role} {pid}{}",
                    sent.map_or_else(|e| format!(": {e}"), |()| String::new())
                ));
            }
        }
        Kind::CtrlC => started.type_ctrl_c()?,
        Kind::Terminal => started.close_terminal()?,
    }
    let goes_on = case.kind == Kind::Observer || seen.too_late;
    let since = if goes_on {
        wait_until(GOING_ON, || started.over());
        now()
    } else {
        interrupted
    };
    // A sentence that is printed at the end has to be true at the end.
    wait_until(limit, || started.over());
    let said = place.said();
    let left = started.left(&place);
    if says_nothing_left(&said) && !left.is_empty() && started.over() {
        seen.wrong.push(format!(
            "it said that nothing was left behind, and there was: {}",
            left.join("; ")
        ));
    }
    let mut left = left;
    wait_until(limit.saturating_sub(now() - since), || {
        started.over();
        left = started.left(&place);
        left.is_empty()
    });
    if left.is_empty() {
        seen.clean_after_ms = u64::try_from((now() - since).as_millis()).ok();
    }
    seen.wrong.extend(
        left.iter()
            .map(|what| format!("left after {} ms: {what}", limit.as_millis())),
    );
    seen.wrong.extend(panicked(&said));
    seen.ended = started
        .status
        .map_or_else(|| "it is still there".to_owned(), ended);
    let unfinished = |line: &&String| serde_json::from_str::<serde_json::Value>(line).is_err();
    let records = place.records();
    let whole = records.len()
        - usize::from(
            matches!(started.status, Some(WaitStatus::Signaled(..))) && !records.is_empty(),
        );
    seen.wrong.extend(
        records[..whole]
            .iter()
            .filter(unfinished)
            .map(|line| format!("no record: {line:?}")),
    );
    seen.said = tail(&said);
    if !seen.wrong.is_empty() {
        place.tidy(started.pid);
    }
    serde_json::to_string(&seen).map_err(|e| e.to_string())
}

fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

fn signal(kind: Kind) -> Signal {
    match kind {
        Kind::Int => Signal::SIGINT,
        Kind::Term => Signal::SIGTERM,
        Kind::Hup => Signal::SIGHUP,
        _ => Signal::SIGKILL,
    }
}

/// The command under test, running.
struct Started {
    /// The harness: the command itself.
    pid: Pid,
    at: Duration,
    /// What holds the terminal, if there is one.
    terminal: Option<Child>,
    /// How it ended, or an end that another process was told of.
    status: Option<WaitStatus>,
}

impl Started {
    /// Nothing: it was over before it was seen on its terminal.
    fn start(place: &Place, verb: Verb, on_terminal: bool) -> Result<Option<Self>, String> {
        if !on_terminal {
            let mut command = place.command(&binary())?;
            command.args(verb.args);
            let at = now();
            let child = command
                .spawn()
                .map_err(|e| format!("could not start the command: {e}"))?;
            return Ok(Some(Self {
                pid: Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?),
                at,
                terminal: None,
                status: None,
            }));
        }
        // script(1) has the other end of the terminal: what is written to it is typed, and when it
        // is killed the terminal is closed.
        let mut command: Command = place.command("script")?;
        let line = format!("exec '{}' {}", binary(), verb.args.join(" "));
        command
            .args(["--quiet", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped());
        let terminal = command
            .spawn()
            .map_err(|e| format!("could not start script(1): {e}"))?;
        let script = Pid::from_raw(i32::try_from(terminal.id()).map_err(|e| e.to_string())?);
        let mut pid = None;
        let program = binary();
        wait_until(Duration::from_secs(20), || {
            let of_program = |pid: &Pid| {
                std::fs::read_link(format!("/proc/{pid}/exe"))
                    .is_ok_and(|exe| exe == Path::new(&program))
            };
            pid = children(script).into_iter().find(of_program);
            pid.is_some() || matches!(state(script), None | Some('Z'))
        });
        Ok(pid.map(|pid| Self {
            pid,
            at: now(),
            terminal: Some(terminal),
            status: None,
        }))
    }

    /// Whether the harness has ended. Reaps.
    fn over(&mut self) -> bool {
        let reaped = reap(self.pid);
        if self.status.is_none() {
            self.status = reaped;
            // On a terminal its parent is told, and this process only if the parent was killed.
            if self.status.is_none() && state(self.pid).is_none_or(|state| state == 'Z') {
                self.status = reap(self.pid).or(Some(WaitStatus::StillAlive));
            }
        }
        self.status.is_some()
    }

    /// What is left of the command; script(1) is the test's own.
    fn left(&self, place: &Place) -> Vec<String> {
        let script = self
            .terminal
            .as_ref()
            .map(|terminal| format!("process {} (script)", terminal.id()));
        let mut left = place.left(self.pid);
        left.retain(|what| {
            script
                .as_ref()
                .is_none_or(|script| !what.starts_with(script))
        });
        left
    }

    /// The processes to kill, with their roles; waits for guard and observer to start. Nothing: the
    /// command ended before.
    fn victims(&mut self, kind: Kind, lot: u64) -> Option<Vec<(&'static str, Pid)>> {
        let harness = ("harness", self.pid);
        let mut found = Vec::new();
        let wanted = |roles: &[(&'static str, Pid)]| -> Option<Vec<(&'static str, Pid)>> {
            let of = |role: &'static str| roles.iter().filter(move |(r, _)| *r == role).copied();
            match kind {
                Kind::Guard => of("guard")
                    .nth(usize::from(lot & 1 == 1))
                    .or(of("guard").next())
                    .map(|guard| vec![guard]),
                Kind::Observer => of("observer").next().map(|observer| vec![observer]),
                Kind::Two => {
                    let mut all: Vec<_> = std::iter::once(harness)
                        .chain(roles.iter().copied())
                        .collect();
                    let mut random = ChaCha8Rng::seed_from_u64(lot);
                    all.shuffle(&mut random);
                    (all.len() > 1).then(|| all[..2].to_vec())
                }
                _ => Some(vec![harness]),
            }
        };
        wait_until(Duration::from_secs(30), || {
            let roles = roles(self.pid);
            if let Some(victims) = wanted(&roles) {
                found = victims;
                return true;
            }
            self.over()
        });
        (!found.is_empty()).then_some(found)
    }

    fn type_ctrl_c(&mut self) -> Result<(), String> {
        let script = self
            .terminal
            .as_mut()
            .and_then(|terminal| terminal.stdin.as_mut());
        script
            .ok_or("no terminal")?
            .write_all(b"\x03")
            .map_err(|e| format!("could not type Ctrl-C: {e}"))
    }

    fn close_terminal(&mut self) -> Result<(), String> {
        let terminal = self.terminal.as_mut().ok_or("no terminal")?;
        terminal
            .kill()
            .map_err(|e| format!("could not kill script(1): {e}"))
    }
}

fn word(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// Interruptions by verb and kind: how many, how many with something wrong, and the slowest until
/// nothing was left.
fn table(seen: &[(Case, Result<Seen, String>)]) -> String {
    let mut cells: BTreeMap<(usize, Kind), (u32, u32, u64)> = BTreeMap::new();
    for (case, seen) in seen {
        let cell = cells.entry((case.verb, case.kind)).or_default();
        cell.0 += 1;
        let good = seen.as_ref().ok().filter(|seen| seen.wrong.is_empty());
        cell.1 += u32::from(good.is_none());
        cell.2 = cell
            .2
            .max(good.and_then(|seen| seen.clean_after_ms).unwrap_or(0));
    }
    let mut text = String::from(
        "interruptions / something left or wrong / slowest until nothing is left (ms)\n          ",
    );
    for kind in KINDS {
        text.push_str(&format!("{:>13}", word(kind)));
    }
    for (at, verb) in VERBS.iter().enumerate() {
        text.push_str(&format!("\n{:<10}", verb.name));
        for kind in KINDS {
            let cell = cells.get(&(at, kind));
            let cell = cell.map_or("-".to_owned(), |(n, wrong, slowest)| {
                format!("{n}/{wrong}/{slowest}")
            });
            text.push_str(&format!("{cell:>13}"));
        }
    }
    let first = seen
        .iter()
        .filter(|(_, seen)| seen.as_ref().is_ok_and(|seen| seen.at_us < 100_000))
        .count();
    let sum = |pick: fn(&(u32, u32, u64)) -> u32| cells.values().map(pick).sum::<u32>();
    text.push_str(&format!(
        "\n{} interruptions, {} of them in the first 100 ms; {} with something left or wrong\n",
        sum(|cell| cell.0),
        first,
        sum(|cell| cell.1)
    ));
    text
}
