//! Whatever process of a command is killed, and whenever: nothing that the command made outlives
//! it. Probing is protected like a trial.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};

use harness::host::leftovers;
use harness::host::name::{Owner, RunName};
use harness::record::{Cause, Outcome, read_lines};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::{Test, base, ensure, scenario, told, wait_until};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let needs = &[CGROUP2_WRITE, PIDS_LIMIT];
    vec![
        Test::new(
            "protect::sigkill_while_probing_leaves_nothing",
            needs,
            sigkill_while_probing,
        ),
        Test::new(
            "protect::an_interruption_while_probing_ends_with_5_and_leaves_nothing",
            needs,
            interrupt_while_probing,
        ),
        Test::new(
            "protect::a_hangup_that_is_ignored_stays_ignored",
            needs,
            ignored_hangup,
        ),
        Test::new(
            "protect::a_dead_guard_ends_the_command",
            needs,
            a_dead_guard,
        ),
        Test::new(
            "protect::two_of_harness_and_guards_may_die_and_nothing_lives",
            needs,
            two_of_three,
        ),
        Test::new(
            "protect::a_trial_during_which_a_guard_dies_is_broken",
            needs,
            guard_of_a_trial,
        ),
        Test::new("protect::guards_end_with_the_command", needs, guards_end),
    ]
}

/// Verbs that probe, and some that go on to trials.
const VERBS: [&[&str]; 4] = [
    &["doctor"],
    &["recommend"],
    &["forkbomb", "--dry-run"],
    &[
        "scale",
        "cgroup-events-inotify",
        "--sites",
        "10",
        "--jobs",
        "5",
    ],
];

/// A running command. When it is dropped, it and whatever it has made are ended and removed: a test
/// that fails must not leave a bomb.
struct Victim {
    child: Option<Child>,
    name: RunName,
    state: tempfile::TempDir,
}

impl Victim {
    fn start(args: &[&str]) -> Result<Self, String> {
        let state = tempfile::tempdir().map_err(text)?;
        let child = scenario(state.path(), args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(text)?;
        // Our child, which has not been reaped: the pid is its own.
        let name = RunName::of(pid_of(&child)).map_err(text)?;
        Ok(Self {
            child: Some(child),
            name,
            state,
        })
    }

    /// A running bomb that only a clean-up can end.
    fn bomb() -> Result<Self, String> {
        let args = [
            "forkbomb-setsid",
            "--detector",
            "none",
            "--kill",
            "kill-main",
            "--trials",
            "1000",
            "--deadline",
            "1s",
        ];
        let victim = Self::start(&args)?;
        let run = base().cgroup().path().join(victim.name.to_string());
        wait_until("the bomb has gone off", || {
            let members = |site: std::path::PathBuf| {
                std::fs::read_to_string(site.join("cgroup.procs"))
                    .map_or(0, |text| text.lines().count())
            };
            subdirectories(&run)
                .iter()
                .any(|trial| members(trial.join("site")) > 10)
        })?;
        Ok(victim)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.name.0.pid)
    }

    /// Waits until it has ended. Its exit code, and what it said.
    fn end(&mut self) -> Result<(Option<i32>, String, String), String> {
        let child = self.child.take().ok_or("it has ended before")?;
        Ok(told(&child.wait_with_output().map_err(text)?))
    }

    /// What it has made, wherever that is.
    fn made(&self) -> Result<Vec<String>, String> {
        let found = leftovers::of_run(&self.name.to_string(), Some(base().cgroup().path()))
            .map_err(text)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    /// Waits until it has made `number` things, or has ended.
    fn until_made(&mut self, number: usize) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        wait_until("it has made something", || {
            seen.extend(self.made().unwrap_or_default());
            let ended = |child: &mut Child| child.try_wait().is_ok_and(|ended| ended.is_some());
            seen.len() >= number || self.child.as_mut().is_none_or(ended)
        })
    }

    /// Its guards, the elder first, when both are there: children with a session of their own, in
    /// none of its cgroups.
    fn guards(&self) -> Result<[Pid; 2], String> {
        let mut found = Vec::new();
        wait_until("it has two guards", || {
            found = children(self.pid())
                .into_iter()
                .filter(|pid| session(*pid) == Some(pid.as_raw()))
                .filter(|pid| {
                    std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
                        .is_ok_and(|text| !text.contains(&self.name.to_string()))
                })
                .collect();
            found.len() == 2
        })?;
        Ok([found[0], found[1]])
    }

    /// Everything that descends from it now.
    fn family(&self) -> Vec<RunName> {
        let mut all = vec![self.pid()];
        let mut next = 0;
        while let Some(pid) = all.get(next).copied() {
            all.extend(children(pid));
            next += 1;
        }
        all.into_iter()
            .filter_map(|pid| RunName::of(pid).ok())
            .collect()
    }

    /// Waits until none of `family` is alive, and nothing is left that it made.
    fn nothing_is_left(mut self, family: &[RunName]) -> Result<(), String> {
        self.end()?;
        let lives = || {
            family
                .iter()
                .filter(|process| process.owner() != Owner::Gone)
                .count()
        };
        let waited = wait_until("nothing of it is left", || {
            lives() == 0 && self.made().is_ok_and(|made| made.is_empty())
        });
        waited.map_err(|e| {
            format!(
                "{e}: {:?}, and {} of {} processes",
                self.made(),
                lives(),
                family.len()
            )
        })?;
        let (code, out, err) = super::common::run(&["clean", "--dry-run"]);
        ensure(
            code == Some(0) && !out.contains(&self.name.to_string()),
            || format!("{code:?} {out} {err}"),
        )
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended meanwhile.
            match child.kill().and_then(|()| child.wait()) {
                Ok(_) | Err(_) => {}
            }
        }
        let deadline = harness::sys::time::now() + std::time::Duration::from_secs(10);
        let name = self.name.to_string();
        // The test has failed already if there is something, and says why.
        match leftovers::remove_run(&name, Some(base().cgroup().path()), deadline, &mut || {}) {
            Ok(()) | Err(_) => {}
        }
    }
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn subdirectories(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Children of a process with one thread, in the order of their births.
fn children(pid: Pid) -> Vec<Pid> {
    let list =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = list
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}

/// The session of a process: field 6 of its stat.
fn session(pid: Pid) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(3)?
        .parse()
        .ok()
}

/// Lets so many milliseconds pass: the moment of a second death is what is varied here, and nothing
/// waits for it.
fn later(milliseconds: u16) {
    match nix::poll::poll(&mut [], milliseconds) {
        Ok(_) | Err(_) => {}
    }
}

fn sigkill_while_probing() -> Result<(), String> {
    for args in VERBS {
        for number in [1, 3, 9, 20] {
            let mut victim = Victim::start(args)?;
            victim.until_made(number)?;
            let family = victim.family();
            // One that made less has ended by itself.
            match kill(victim.pid(), Signal::SIGKILL) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(errno) => return Err(text(errno)),
            }
            victim
                .nothing_is_left(&family)
                .map_err(|e| format!("{args:?}, after {number} things: {e}"))?;
        }
    }
    Ok(())
}

fn interrupt_while_probing() -> Result<(), String> {
    for (args, number) in VERBS.into_iter().zip([1, 5, 2, 1]) {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let mut victim = Victim::start(args)?;
            victim.until_made(number)?;
            let family = victim.family();
            kill(victim.pid(), signal).map_err(text)?;
            let (code, out, err) = victim.end()?;
            let what = || format!("{args:?}, {signal}: {code:?} {out} {err}");
            // A command that has come to its run by then says it in its summary.
            let said = format!("{out}{err}").to_lowercase().contains("interrupted");
            ensure(code == Some(5) && said, what)?;
            ensure(
                family.iter().all(|process| process.owner() == Owner::Gone),
                || format!("somebody lives on: {}", what()),
            )?;
            let made = victim.made()?;
            ensure(made.is_empty(), || format!("{made:?} is left: {}", what()))?;
        }
    }
    Ok(())
}

/// nohup(1).
fn ignored_hangup() -> Result<(), String> {
    let state = tempfile::tempdir().map_err(text)?;
    let mut command = std::process::Command::new("sh");
    command
        .args([
            "-c",
            "trap '' HUP; exec \"$0\" doctor",
            &super::common::binary(),
        ])
        .env("XDG_STATE_HOME", state.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(text)?;
    let name = RunName::of(pid_of(&child)).map_err(text)?.to_string();
    wait_until("it probes", || {
        leftovers::of_run(&name, Some(base().cgroup().path())).is_ok_and(|made| !made.is_empty())
    })?;
    kill(pid_of(&child), Signal::SIGHUP).map_err(text)?;
    let (code, out, err) = told(&child.wait_with_output().map_err(text)?);
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))
}

fn a_dead_guard() -> Result<(), String> {
    // One after the other: a command that probes has soon done so.
    let probing = || {
        let mut victim = Victim::start(&["doctor"])?;
        // Before that its guards are not ready, and their death is another error.
        victim.until_made(1)?;
        Ok(victim)
    };
    let commands: [fn() -> Result<Victim, String>; 2] = [probing, Victim::bomb];
    for elder in [0, 1] {
        for start in commands {
            let mut victim = start()?;
            let family = victim.family();
            kill(victim.guards()?[elder], Signal::SIGKILL).map_err(text)?;
            let (code, out, err) = victim.end()?;
            ensure(
                code == Some(5) && err.contains("a guard of this run"),
                || format!("{code:?} {out} {err}"),
            )?;
            let lives = family
                .iter()
                .filter(|process| process.owner() != Owner::Gone)
                .count();
            let made = victim.made()?;
            ensure(lives == 0 && made.is_empty(), || {
                format!("{lives} processes and {made:?} are left: {out} {err}")
            })?;
        }
    }
    Ok(())
}

/// The record of the trial that was going on says what has ended it.
fn guard_of_a_trial() -> Result<(), String> {
    let args = [
        "exit-now",
        "--set",
        "lifetime=10s",
        "--deadline",
        "20s",
        "--detector",
        "pidfd-main",
        "--trials",
        "1",
    ];
    let mut victim = Victim::start(&args)?;
    let run = base().cgroup().path().join(victim.name.to_string());
    wait_until("the workload plays", || {
        std::fs::read_to_string(run.join("trial-0/site/cgroup.procs"))
            .is_ok_and(|members| !members.is_empty())
    })?;
    let guard = victim.guards()?[0];
    kill(guard, Signal::SIGKILL).map_err(text)?;
    let (code, out, err) = victim.end()?;
    let state = victim
        .state
        .path()
        .join("scenario")
        .join(victim.name.to_string());
    let file = std::fs::File::open(state.join("trials.jsonl")).map_err(text)?;
    let records: Result<Vec<_>, _> = read_lines(std::io::BufReader::new(file)).collect();
    let records = records.map_err(text)?;
    ensure(
        code == Some(5)
            && records.len() == 1
            && records[0].outcome == Outcome::Broken
            && records[0].cause == Some(Cause::GuardKilled)
            && records[0]
                .note
                .iter()
                .any(|note| note.to_string().contains(&guard.to_string())),
        || format!("{code:?} {out} {err} {records:?}"),
    )
}

/// Any two of the three, one after the other in either order, a few milliseconds apart.
fn two_of_three() -> Result<(), String> {
    let mut rounds = Vec::new();
    for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        for delay in [0, 1, 5] {
            rounds.push((first, second, delay));
        }
    }
    for (round, (first, second, delay)) in rounds.into_iter().enumerate() {
        let mut victim = match round % 2 {
            0 => Victim::bomb()?,
            _ => Victim::start(&["doctor"])?,
        };
        let [elder, younger] = victim.guards()?;
        if round % 2 == 1 {
            victim.until_made(1 + round)?;
        }
        let family = victim.family();
        let three = [elder, younger, victim.pid()];
        for (which, pause) in [(first, delay), (second, 0)] {
            match kill(three[which], Signal::SIGKILL) {
                // The first death may have ended the second.
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(errno) => return Err(text(errno)),
            }
            later(pause);
        }
        victim.nothing_is_left(&family).map_err(|e| {
            format!("{first} and {second} of three, {delay} ms apart, round {round}: {e}")
        })?;
    }
    Ok(())
}

fn guards_end() -> Result<(), String> {
    let mut victim = Victim::start(&["exit-now", "--detector", "waitpid-main", "--trials", "2"])?;
    let guards = victim.guards()?.map(|pid| RunName::of(pid).map_err(text));
    let (code, out, err) = victim.end()?;
    ensure(code == Some(0), || format!("{code:?} {out} {err}"))?;
    for guard in guards {
        // Reaped, and before the command ended: not even a zombie is handed on.
        ensure(guard?.owner() == Owner::Gone, || {
            "a guard has outlived the command".to_owned()
        })?;
    }
    Ok(())
}
