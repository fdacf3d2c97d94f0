//! Saying that the tree is complete: in the ledger, and in a file or on a descriptor if one was
//! named.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::Player;

/// What is written.
const LINE: &[u8] = b"READY\n";

/// Where "ready" is said beside the ledger.
#[derive(Debug)]
pub(crate) enum ReadyAt {
    /// A file, which is made unless it exists (a named pipe, for example). An absolute path, so
    /// that it can be opened by whichever process says it.
    File(CString),
    /// A descriptor. A process that has closed all of its own cannot use it.
    Descriptor(OwnedFd),
}

impl ReadyAt {
    fn say(&self) -> Result<(), Errno> {
        let opened;
        let to = match self {
            Self::Descriptor(fd) => fd.as_fd(),
            Self::File(path) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
                let mode = Mode::from_bits_truncate(0o644);
                opened = open(path.as_c_str(), flags, mode)?;
                opened.as_fd()
            }
        };
        loop {
            match nix::unistd::write(to, LINE) {
                Err(Errno::EINTR) => {}
                other => return other.map(|_| ()),
            }
        }
    }
}

impl Player<'_> {
    /// The process that says it first says it outside as well.
    pub(super) fn say_ready(&self) -> Result<(), Errno> {
        let first = self.setting.ledger.set_ready();
        match &self.setting.ready {
            Some(at) if first => at.say(),
            _ => Ok(()),
        }
    }
}
