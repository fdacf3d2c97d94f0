//! What people read while a run goes on: notes on standard error, and a progress bar if that is a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use harness::MonoNs;
use harness::sys::time;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes a line to standard error. If nobody can read it, there is nobody to tell.
pub(super) fn note(text: impl AsRef<str>) {
    let mut line = text.as_ref().to_owned();
    line.push('\n');
    if let Err(error) = io::stderr().lock().write_all(line.as_bytes()) {
        tracing::debug!(%error, "standard error is closed");
    }
}

/// Where standard error is no terminal, a line so often.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// A progress bar that draws when it is told to and never by itself: a thread of its own would forbid the harness to fork. Where nobody
/// looks at a terminal, a line now and then.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    notes: bool,
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
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta} left");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar: bar.with_position(u64::try_from(done).unwrap_or(0)),
            notes: !quiet && !terminal,
            next_note: Cell::new(time::now() + NOTE_EVERY),
        }
    }

    /// The next trial begins.
    pub(super) fn begin(&self, what: String) {
        self.bar.set_message(what);
    }

    /// It has ended.
    pub(super) fn done(&self) {
        self.bar.inc(1);
        if self.notes && self.next_note.get().has_passed() {
            self.next_note.set(time::now() + NOTE_EVERY);
            note(format!(
                "{} of {} trials, {} s left",
                self.bar.position(),
                self.bar.length().unwrap_or(0),
                self.bar.eta().as_secs()
            ));
        }
    }

    /// Clears the line.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
