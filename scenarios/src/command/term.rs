//! What people read while a run goes on: notes on standard error, and a progress bar if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes a line to standard error. If nobody can read it, there is nobody to tell.
pub(super) fn note(text: impl AsRef<str>) {
    let mut line = text.as_ref().to_owned();
    line.push('\n');
    if let Err(error) = io::stderr().lock().write_all(line.as_bytes()) {
        tracing::debug!(%error, "standard error is closed");
    }
}

/// A progress bar that draws when it is told to and never by itself: a thread of its own would forbid the harness to fork.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For `trials` trials; hidden unless standard error is a terminal.
    pub(super) fn new(trials: usize, quiet: bool) -> Self {
        let target = match !quiet && io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(trials).ok(), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta} left");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// The next trial begins.
    pub(super) fn begin(&self, what: String) {
        self.0.set_message(what);
    }

    /// It has ended.
    pub(super) fn done(&self) {
        self.0.inc(1);
    }

    /// Clears the line.
    pub(super) fn finish(self) -> Duration {
        let elapsed = self.0.elapsed();
        self.0.finish_and_clear();
        elapsed
    }
}
