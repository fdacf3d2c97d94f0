//! What people read while a run goes on: notes on standard error, and a progress bar if that is a
//! terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use harness::MonoNs;
use harness::sys::time;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes a line to standard error. A failed write cannot be reported.
pub(super) fn note(text: impl AsRef<str>) {
    let mut line = text.as_ref().to_owned();
    line.push('\n');
    if let Err(error) = io::stderr().lock().write_all(line.as_bytes()) {
        tracing::debug!(%error, "standard error is closed");
    }
}

/// The interval of lines if standard error is not a terminal.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// A progress bar that draws when it is told to and never by itself: with a thread of its own the
/// harness could not fork. Without a terminal it prints a line now and then.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    notes: bool,
    began: MonoNs,
    played: Cell<u32>,
    next_note: Cell<MonoNs>,
}

impl Progress {
    /// For `trials` trials of which `done` are done.
    pub(super) fn new(trials: usize, done: usize, quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match !quiet && terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(trials).ok(), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar: bar.with_position(u64::try_from(done).unwrap_or(0)),
            notes: !quiet && !terminal,
            began: time::now(),
            played: Cell::new(0),
            next_note: Cell::new(time::now() + NOTE_EVERY),
        }
    }

    /// The next trial begins.
    pub(super) fn begin(&self, what: &str) {
        self.bar.set_message(match self.time_left() {
            Some(left) => format!("{what}, {} s left", left.as_secs()),
            None => what.to_owned(),
        });
    }

    /// It has ended.
    pub(super) fn done(&self) {
        self.bar.inc(1);
        self.played.set(self.played.get() + 1);
        if self.notes && self.next_note.get().has_passed() {
            self.next_note.set(time::now() + NOTE_EVERY);
            note(format!(
                "{} of {} trials, {} s left",
                self.bar.position(),
                self.bar.length().unwrap_or(0),
                self.time_left().unwrap_or_default().as_secs()
            ));
        }
    }

    /// The remaining time, from the rate of *this* sitting: trials of earlier ones took no time in
    /// it. Not known before the first trial.
    fn time_left(&self) -> Option<Duration> {
        let left = self
            .bar
            .length()
            .unwrap_or(0)
            .saturating_sub(self.bar.position());
        time_left(time::now().since(self.began), self.played.get(), left)
    }

    /// Clears the line.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn time_left(elapsed: Duration, played: u32, left: u64) -> Option<Duration> {
    let each = elapsed.checked_div(played)?;
    each.checked_mul(u32::try_from(left).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_by_the_pace_of_this_sitting() {
        let second = Duration::from_secs(1);
        assert_eq!(time_left(second * 10, 5, 20), Some(second * 40));
        assert_eq!(time_left(second, 0, 20), None);
        assert_eq!(time_left(second, 1, 0), Some(Duration::ZERO));
    }
}
