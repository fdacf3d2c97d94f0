//! The line to the lab.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};
use lab::protocol::Message;
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

use crate::mounts::mount_at;

/// The serial port on which the kernel does not print.
const CHANNEL: &str = "/dev/ttyS1";

/// The line to the lab.
pub(crate) struct Channel(File);

impl Channel {
    pub(crate) fn open() -> Result<Self> {
        mount_at("devtmpfs", "/dev", "devtmpfs", "")?;
        let file = File::options()
            .read(true)
            .write(true)
            .open(CHANNEL)
            .with_context(|| format!("open {CHANNEL}"))?;
        let mut mode = tcgetattr(&file).context("tcgetattr")?;
        cfmakeraw(&mut mode);
        tcsetattr(&file, SetArg::TCSANOW, &mode).context("tcsetattr")?;
        Ok(Self(file))
    }

    pub(crate) fn say(&mut self, message: &Message) -> Result<()> {
        let line = message.encode() + "\n";
        self.0
            .write_all(line.as_bytes())
            .with_context(|| format!("write {CHANNEL}"))
    }

    pub(crate) fn drain(&self) -> Result<()> {
        tcdrain(&self.0).context("tcdrain")
    }
}
