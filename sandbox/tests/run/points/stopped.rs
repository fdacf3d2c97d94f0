//! One of the two that keep a run is stopped while something happens to the other.

use std::time::Duration;

use allgone::sys::time::now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kinds::Kind;
use super::life::{Life, Next};
use super::process::{descendants, is_dead};
use super::tracees::told;
use super::world::World;
use crate::support::within;

/// What happens, as signals to launcher and init.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happens {
    /// The launcher is stopped, and the deadline passes.
    Deadline,
    /// The launcher is stopped, init is killed.
    LauncherStopped,
    /// The launcher is stopped and then killed.
    StoppedLauncherKilled,
    /// Init is stopped, the launcher is killed.
    InitStopped,
    /// Init is stopped and then killed.
    StoppedInitKilled,
    /// Both are stopped, the launcher is killed.
    BothStopped,
    /// Both are stopped and then killed.
    BothStoppedAndKilled,
}

pub(crate) const ALL: [Happens; 7] = [
    Happens::Deadline,
    Happens::LauncherStopped,
    Happens::StoppedLauncherKilled,
    Happens::InitStopped,
    Happens::StoppedInitKilled,
    Happens::BothStopped,
    Happens::BothStoppedAndKilled,
];

impl Happens {
    /// Signals to (launcher, init), in this order.
    fn signals(self) -> &'static [(bool, Signal)] {
        const LAUNCHER: bool = true;
        const INIT: bool = false;
        match self {
            Self::Deadline => &[(LAUNCHER, Signal::SIGSTOP)],
            Self::LauncherStopped => &[(LAUNCHER, Signal::SIGSTOP), (INIT, Signal::SIGKILL)],
            Self::StoppedLauncherKilled => {
                &[(LAUNCHER, Signal::SIGSTOP), (LAUNCHER, Signal::SIGKILL)]
            }
            Self::InitStopped => &[(INIT, Signal::SIGSTOP), (LAUNCHER, Signal::SIGKILL)],
            Self::StoppedInitKilled => &[(INIT, Signal::SIGSTOP), (INIT, Signal::SIGKILL)],
            Self::BothStopped => &[
                (LAUNCHER, Signal::SIGSTOP),
                (INIT, Signal::SIGSTOP),
                (LAUNCHER, Signal::SIGKILL),
            ],
            Self::BothStoppedAndKilled => &[
                (LAUNCHER, Signal::SIGSTOP),
                (INIT, Signal::SIGSTOP),
                (INIT, Signal::SIGKILL),
                (LAUNCHER, Signal::SIGKILL),
            ],
        }
    }

    fn kills_both(self) -> bool {
        matches!(self, Self::BothStoppedAndKilled)
    }

    /// Whether the launcher is there afterwards, stopped.
    fn leaves_launcher_stopped(self) -> bool {
        matches!(self, Self::Deadline | Self::LauncherStopped)
    }
}

/// Plays it. Errors: somebody is alive who should not be, or something is left.
pub(crate) fn play(
    world: &World,
    kind: &Kind,
    binary: &str,
    happens: Happens,
    limit: Duration,
) -> Result<(), String> {
    let deadline = matches!(happens, Happens::Deadline);
    let options = if deadline { 0 } else { 2 };
    let kind = &Kind {
        options: &kind.options[options..],
        ..*kind
    };
    let (mut life, init) = complete(world, kind, binary)?;
    let launcher = life.launcher;
    for &(to_launcher, signal) in happens.signals() {
        let pid = if to_launcher { launcher } else { init };
        kill(pid, signal).unwrap();
    }
    let since = now();
    if happens.leaves_launcher_stopped() {
        // A launcher that is stopped reaps nobody.
        let others_live = || {
            let all = descendants().into_iter();
            all.filter(|pid| *pid != launcher && !is_dead(*pid))
                .collect::<Vec<_>>()
        };
        // With a cgroup alone nothing else ends them.
        let ends = kind.bears_both || deadline;
        if ends && !within(limit, || others_live().is_empty()) {
            let told: Vec<_> = others_live().into_iter().map(told).collect();
            kill(launcher, Signal::SIGCONT).unwrap();
            let ended = life.end(now(), limit);
            return Err(format!("alive: {told:?}; then {ended:?}"));
        }
        kill(launcher, Signal::SIGCONT).unwrap();
    }
    let ended = life.end(since, limit + limit);
    let both = happens.kills_both();
    let left = world.clean(launcher, both);
    if both && !kind.bears_both {
        return left.map(|_| ());
    }
    ended?;
    left?;
    match (happens, life.code) {
        (Happens::Deadline, Some(124)) => Ok(()),
        (Happens::Deadline, code) => Err(format!("exit code {code:?}")),
        (_, Some(123)) => Err("the launcher could not prove the end".to_owned()),
        _ => Ok(()),
    }
}

/// A life in which the program is there with what it leaves: launcher, init, main, and three more;
/// and its init. On a slow machine the deadline may come before that.
fn complete(world: &World, kind: &Kind, binary: &str) -> Result<(Life, Pid), String> {
    for _ in 0..5 {
        let mut life = Life::untraced(kind, binary, |_| ());
        let mut over = false;
        let settled = within(Duration::from_secs(20), || {
            // What ends is reaped meanwhile.
            over = life.next(Duration::ZERO) == Next::Over;
            over || descendants().len() >= 6
        });
        let launcher = life.launcher;
        let path = format!("/proc/{launcher}/task/{launcher}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let first = text.split_whitespace().next();
        match first.and_then(|pid| pid.parse().ok()) {
            Some(init) if settled && !over => return Ok((life, Pid::from_raw(init))),
            _ => {
                life.end(now(), Duration::from_secs(20))?;
            }
        }
        world.clean(launcher, false)?;
    }
    Err("it did not start".to_owned())
}
