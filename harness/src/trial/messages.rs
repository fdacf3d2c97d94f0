//! What the observer reports to the harness: one message a line, through a pipe.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::broken::Broken;
use crate::error::{SysError, Target};
use crate::record::{Counters, Entry, KillReport, Verdict};

/// What the observer tells the harness, in this order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// The workload was started.
    Started {
        armed_ns: u64,
        spawn_ns: (u64, u64),
        pid: i32,
        entry: Entry,
        /// Processes of the tree have other numbers than those in the ledger: they are in a PID
        /// namespace of their own.
        renumbered: bool,
    },
    /// A canary was started; the harness has to reap and check it.
    Canary { pid: i32 },
    /// The strategy has issued its kill.
    Killed {
        ready_ns: Option<u64>,
        report: KillReport,
    },
    /// Processes of the tree were ended before the strategy acted, and by something else than their
    /// script.
    Damaged { pids: Vec<i32> },
    /// The detector has a verdict.
    Done {
        verdict: Verdict,
        counters: Counters,
        cpu_ns: u64,
        /// The main process has ended.
        main_ended: bool,
    },
    /// The trial broke.
    Broken(Broken),
}

/// The observer's side: writes one message.
pub(super) fn say(tell: &mut std::fs::File, message: &Message) -> Result<(), Broken> {
    let mut line = serde_json::to_vec(message).map_err(|e| Broken::harness(e.to_string()))?;
    line.push(b'\n');
    tell.write_all(&line)
        .map_err(|e| Broken::harness(SysError::io("report to the harness", Target::Nothing, &e)))
}

/// The harness's side: the end of the pipe that is read, and a line that has not come whole yet.
#[derive(Debug)]
pub(super) struct Messages {
    hear: OwnedFd,
    partial: Vec<u8>,
}

impl Messages {
    /// `hear`: a pipe that does not block.
    pub(super) fn from(hear: OwnedFd) -> Self {
        Self {
            hear,
            partial: Vec::new(),
        }
    }

    /// Readable when something has come, or when nothing more can come.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.hear.as_fd()
    }

    /// The messages that have come whole since the last call.
    pub(super) fn drain(&mut self) -> Result<Vec<Message>, SysError> {
        let mut buf = [0u8; 4096];
        loop {
            match nix::unistd::read(&self.hear, &mut buf) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(n) => self.partial.extend_from_slice(&buf[..n]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::plain("read from the observer", errno)),
            }
        }
        let mut messages = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            messages.push(serde_json::from_slice(&line).unwrap_or_else(|e| {
                Message::Broken(Broken::harness(format!(
                    "the observer sent a malformed message: {e}"
                )))
            }));
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::OFlag;

    use super::*;

    #[test]
    fn a_message_is_read_when_its_line_is_whole() {
        let (hear, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let mut messages = Messages::from(hear);
        assert!(messages.drain().unwrap().is_empty());
        let mut line = serde_json::to_vec(&Message::Canary { pid: 7 }).unwrap();
        line.push(b'\n');
        nix::unistd::write(&tell, &line[..5]).unwrap();
        assert!(messages.drain().unwrap().is_empty());
        nix::unistd::write(&tell, &line[5..]).unwrap();
        let mut tell = std::fs::File::from(tell);
        say(&mut tell, &Message::Damaged { pids: vec![8] }).unwrap();
        drop(tell);
        let read = messages.drain().unwrap();
        let [Message::Canary { pid: 7 }, Message::Damaged { pids }] = &read[..] else {
            panic!("{read:?}");
        };
        assert_eq!(pids, &[8]);
    }

    #[test]
    fn a_line_that_is_no_message_breaks_the_trial() {
        let (hear, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        nix::unistd::write(&tell, b"{\"Gone\":1}\n").unwrap();
        let read = Messages::from(hear).drain().unwrap();
        assert!(
            matches!(&read[..], [Message::Broken(broken)] if broken.what.contains("malformed")),
            "{read:?}"
        );
    }
}
