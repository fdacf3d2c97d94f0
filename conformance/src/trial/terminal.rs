//! A terminal for a launcher, as a shell with job control gives it: the process of the trial leads
//! the session, and the launcher's process group is in the foreground.
//!
//! Python holds the other end and sets the group, because both need calls that nothing else here
//! needs.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allgone::sys::time::now;
use nix::sys::signal::{SigSet, Signal};

use super::processes::environment;
use super::watch::{Watch, is_ready};
use super::{DIR, Order};

/// Makes a terminal, writes its name into the file that is named, reads what is written to it, and
/// types Ctrl-C for each line of its input.
const HOLD: &str = "
import os, select, sys
own, other = os.openpty()
with open(sys.argv[1], 'w') as file:
    file.write(os.ttyname(other))
while True:
    ready, _, _ = select.select([own, 0], [], [])
    if own in ready:
        os.read(own, 65536)
    if 0 in ready:
        if not os.read(0, 1):
            break
        os.write(own, b'\\x03')
";

/// Puts its process group into the foreground of the terminal, and executes the arguments. Python
/// ignores two signals, which a program would inherit.
pub(super) const FOREGROUND: &str = "
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
tty = os.open('/dev/tty', os.O_RDWR)
os.tcsetpgrp(tty, os.getpgrp())
for number in [signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ]:
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
";

/// How long it may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The terminal of a trial.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    holder: Child,
}

impl Terminal {
    /// Makes it the controlling terminal of this process and of all that it starts.
    #[allow(
        clippy::zombie_processes,
        reason = "`Ended::reap` takes in every child"
    )]
    pub(super) fn open(order: &Order, watch: &mut Watch) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("could not make a terminal: {e}");
        let file = format!("{DIR}/terminal");
        let mut command = Command::new("python3");
        environment(&mut command, order);
        let holder = command
            .args(["-c", HOLD, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if !watch.until(now() + PATIENCE, &[], |_| is_ready(&file)) {
            return Err(format!("no terminal was made within {PATIENCE:?}"));
        }
        let name = std::fs::read_to_string(&file).map_err(failed)?;
        // The leader of a session that has none gets the first terminal that it opens.
        let tty = File::options().read(true).write(true).open(name);
        let tty = tty.map_err(failed)?;
        File::open("/dev/tty").map_err(failed)?;
        Ok(Self { tty, holder })
    }

    pub(super) fn stream(&self) -> Result<Stdio, String> {
        let copy = self.tty.try_clone();
        copy.map(Into::into).map_err(|e| format!("terminal: {e}"))
    }

    /// Ctrl-C: the kernel sends SIGINT to the foreground.
    pub(super) fn interrupt(&mut self) -> Result<(), String> {
        let keys = self.holder.stdin.as_mut().ok_or("the terminal is closed")?;
        keys.write_all(b"c").map_err(|e| format!("terminal: {e}"))
    }
}

/// From now on this process survives the end of its terminal. What is started later would inherit
/// that, so nothing may be.
pub(super) fn outlive() -> Result<(), String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGHUP);
    set.thread_block().map_err(|e| format!("SIGHUP: {e}"))
}
