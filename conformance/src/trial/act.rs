//! What happens to a launcher during a run.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::pidfd;
use allgone::sys::time::now;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::processes::{self, Group, Started, Streams};
use super::terminal::Terminal;
use super::watch::Watch;
use super::{Act, DIR, Order};

/// Does it. Returns when it was done; `None`: there was nothing to do.
///
/// A launcher that has ended is not an error: that is seen elsewhere.
pub(super) fn act(
    order: &Order,
    launcher: &Started,
    watch: &mut Watch,
    terminal: Option<&mut Terminal>,
    started: MonoNs,
    ready: Option<MonoNs>,
) -> Result<Option<MonoNs>, String> {
    let wait = |watch: &mut Watch, at: MonoNs| {
        watch.until(at, &[launcher], |w| w.end(launcher).is_some());
    };
    match order.case.act {
        Act::Nothing => return Ok(None),
        Act::Signal {
            number,
            after_us,
            group,
        } => {
            let from = ready.unwrap_or_else(now);
            wait(watch, from + Duration::from_micros(after_us));
            let signal = Signal::try_from(number).map_err(|e| e.to_string())?;
            if watch.end(launcher).is_none() {
                if let Some(terminal) = terminal.filter(|_| group && signal == Signal::SIGINT) {
                    terminal.interrupt()?;
                    return Ok(Some(now()));
                }
                let sent = match group {
                    true => killpg(Pid::from_raw(launcher.pid), signal),
                    false => pidfd::send_signal(launcher.pidfd.as_fd(), Some(signal)),
                };
                match sent {
                    Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                    Err(e) => return Err(format!("could not signal the launcher: {e}")),
                }
            }
        }
        Act::KillEarly { after_us } => {
            wait(watch, started + Duration::from_micros(after_us));
            if watch.end(launcher).is_none() {
                match pidfd::send_signal(launcher.pidfd.as_fd(), Some(Signal::SIGKILL)) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Act::Stop => {
            let words = order.stop.as_deref().unwrap_or_default();
            let streams = Streams::quiet(&format!("{DIR}/stop"))?;
            let stop = processes::start(words, order, Group::Own, streams)?;
            let deadline = now() + Duration::from_secs(20);
            if !watch.until(deadline, &[&stop], |w| w.end(&stop).is_some()) {
                return Err(format!("{words:?} did not end within 20 s"));
            }
        }
    }
    Ok(Some(now()))
}
