//! What init is told: at its start, and by messages afterwards.

use std::os::fd::RawFd;

use crate::time::MonoNs;

/// What init does besides reaping.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// When everything is ended.
    pub deadline: Option<MonoNs>,
    /// How long it may then take to end by itself, after [`Orders::signal`]; `None`: SIGKILL at
    /// once.
    pub grace_ns: Option<u64>,
    /// What is sent to all first, if there is a grace.
    pub signal: i32,
    /// Whether it is over when the main process has ended, and not when all have.
    pub main_only: bool,
    /// Processor time of the whole cgroup, in microseconds.
    pub cpu_limit_us: Option<u64>,
    /// How many processors may be used at a time.
    pub processors: u64,
    /// Whether the launcher is told that the main process exists. To wake it costs a run more than
    /// a namespace does.
    pub tell_birth: bool,
    /// Ended when nobody holds the other end of this descriptor any more.
    pub lease: Option<RawFd>,
}

/// What init and launcher tell each other: a kind and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// To the launcher: the main process exists; its number in the namespace.
    Born(i32),
    /// To the launcher: the main process was stopped by this signal.
    Stopped(i32),
    /// To the launcher: the main process has ended, and others are left.
    MainEnded,
    /// To init: send this to the main process, or to all if it has ended.
    Signal(i32),
    /// To init: end everything, as at the deadline.
    End,
}

/// A message on its way.
pub const MESSAGE_BYTES: usize = 8;

impl Message {
    /// As it is sent.
    pub fn bytes(self) -> [u8; MESSAGE_BYTES] {
        let (kind, number) = match self {
            Self::Born(pid) => (1u32, pid),
            Self::Stopped(signal) => (2, signal),
            Self::MainEnded => (3, 0),
            Self::Signal(signal) => (4, signal),
            Self::End => (5, 0),
        };
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..].copy_from_slice(&number.to_ne_bytes());
        bytes
    }

    /// As it was sent; `None`: no message of this version.
    pub fn parse(bytes: [u8; MESSAGE_BYTES]) -> Option<Self> {
        let [a, b, c, d, number @ ..] = bytes;
        let number = i32::from_ne_bytes(number);
        match u32::from_ne_bytes([a, b, c, d]) {
            1 => Some(Self::Born(number)),
            2 => Some(Self::Stopped(number)),
            3 => Some(Self::MainEnded),
            4 => Some(Self::Signal(number)),
            5 => Some(Self::End),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let all = [
            Message::Born(2),
            Message::Stopped(20),
            Message::MainEnded,
            Message::Signal(15),
            Message::End,
        ];
        for message in all {
            assert_eq!(Message::parse(message.bytes()), Some(message));
        }
        assert_eq!(Message::parse([0; MESSAGE_BYTES]), None);
    }
}
