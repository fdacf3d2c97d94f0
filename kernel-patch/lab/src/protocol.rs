//! The protocol between the lab and the init inside the machine.
//!
//! The lab puts a [`Job`] into the initramfs as `/lab/job.json`. Init answers on the second serial
//! port, on which the kernel never prints, one line a message. The first is the greeting, the last
//! is the verdict, and there is exactly one of each: a machine that ends without a verdict, or with
//! two, has given no valid answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where init finds its job.
pub const JOB_PATH: &str = "/lab/job.json";

/// How the cgroup file systems of the machine are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupMode {
    /// Version 2 at `/sys/fs/cgroup`, every controller that the kernel has enabled below the root.
    V2,
    /// Every version 1 controller in a hierarchy of its own below `/sys/fs/cgroup`, and version 2,
    /// left with what version 1 does not have, at `/sys/fs/cgroup/unified`.
    V1,
    /// As a distribution in transition: a named version 1 hierarchy and those of controllers that
    /// only version 1 has, below `/sys/fs/cgroup`, and version 2 with all other controllers,
    /// enabled below its root, at `/sys/fs/cgroup/unified`.
    Hybrid,
    /// Nothing mounted.
    None,
}

/// One program to run in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Program and arguments; found along `/bin:/sbin`.
    pub argv: Vec<String>,
    /// Where it runs; made if it is not there.
    pub dir: String,
    /// After so many seconds init kills every process and goes on to the next step.
    pub limit_s: u32,
}

/// The job of init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// How cgroups are mounted.
    pub cgroup: CgroupMode,
    /// Variables added to the environment of every step.
    pub env: Vec<(String, String)>,
    /// What runs, in this order; a failed step does not stop the next.
    pub steps: Vec<Step>,
    /// Files and directories that are handed over when all steps are done.
    pub take: Vec<String>,
}

/// How one step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It exited with this status.
    Exit(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It was still there at its limit.
    TimedOut,
    /// It could not be started; the errno.
    NotStarted(i32),
}

impl Ended {
    /// Whether it exited with status 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exit(0)
    }
}

/// One line of the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Init is up: the kernel's release and version line, and how cgroups are mounted.
    Hello {
        /// `uname -r`.
        release: String,
        /// `uname -v`.
        version: String,
        /// Controllers found, as init mounted them.
        controllers: String,
    },
    /// A line of a step's standard output.
    Out(String),
    /// A line of a step's standard error.
    Err(String),
    /// A step ended; `left` processes of it were still there and have been killed.
    Step {
        /// Its place in the job.
        index: usize,
        /// How.
        ended: Ended,
        /// How many processes it left behind.
        left: usize,
    },
    /// A file that was asked for begins: its path in the machine.
    File(String),
    /// The next bytes of it.
    Piece(Vec<u8>),
    /// It is complete.
    FileEnd {
        /// How long it is.
        size_bytes: u64,
    },
    /// All steps have ended, and these of the kernel's own checkers are still on.
    Checkers(String),
    /// The last line: how many steps did not succeed, or why init itself failed.
    Verdict(Result<usize, String>),
}

/// A line that is none of the above.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a line of the lab's protocol: {0:?}")]
pub struct Garbled(pub String);

impl Message {
    /// The line, without its newline.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Hello {
                release,
                version,
                controllers,
            } => format!("hello {release}|{version}|{controllers}"),
            Self::Out(text) => format!("o {text}"),
            Self::Err(text) => format!("e {text}"),
            Self::Step { index, ended, left } => {
                let (how, value) = match ended {
                    Ended::Exit(status) => ("exit", *status),
                    Ended::Signal(signal) => ("signal", *signal),
                    Ended::TimedOut => ("timed-out", 0),
                    Ended::NotStarted(errno) => ("not-started", *errno),
                };
                format!("step {index} {how} {value} left {left}")
            }
            Self::File(path) => format!("file {}", BASE64.encode(path)),
            Self::Piece(bytes) => format!("piece {}", BASE64.encode(bytes)),
            Self::FileEnd { size_bytes } => format!("file-end {size_bytes}"),
            Self::Checkers(text) => format!("checkers {text}"),
            Self::Verdict(Ok(failed)) => format!("verdict failed {failed}"),
            Self::Verdict(Err(why)) => format!("verdict init {}", why.replace('\n', "; ")),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Garbled`] with the line when it is no message.
    pub fn decode(line: &str) -> Result<Self, Garbled> {
        Self::decode_known(line).ok_or_else(|| Garbled(line.to_owned()))
    }

    fn decode_known(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "o" => Some(Self::Out(rest.to_owned())),
            "e" => Some(Self::Err(rest.to_owned())),
            "hello" => {
                let mut parts = rest.splitn(3, '|').map(str::to_owned);
                Some(Self::Hello {
                    release: parts.next()?,
                    version: parts.next()?,
                    controllers: parts.next()?,
                })
            }
            "step" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let [index, how, value, "left", left] = words[..] else {
                    return None;
                };
                let value = value.parse().ok()?;
                let ended = match how {
                    "exit" => Ended::Exit(value),
                    "signal" => Ended::Signal(value),
                    "timed-out" => Ended::TimedOut,
                    "not-started" => Ended::NotStarted(value),
                    _ => return None,
                };
                Some(Self::Step {
                    index: index.parse().ok()?,
                    ended,
                    left: left.parse().ok()?,
                })
            }
            "file" => Some(Self::File(
                String::from_utf8(BASE64.decode(rest).ok()?).ok()?,
            )),
            "piece" => Some(Self::Piece(BASE64.decode(rest).ok()?)),
            "file-end" => Some(Self::FileEnd {
                size_bytes: rest.parse().ok()?,
            }),
            "checkers" => Some(Self::Checkers(rest.to_owned())),
            "verdict" => match rest.split_once(' ')? {
                ("failed", count) => Some(Self::Verdict(Ok(count.parse().ok()?))),
                ("init", why) => Some(Self::Verdict(Err(why.to_owned()))),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ended() -> impl Strategy<Value = Ended> {
        prop_oneof![
            any::<i32>().prop_map(Ended::Exit),
            any::<i32>().prop_map(Ended::Signal),
            Just(Ended::TimedOut),
            any::<i32>().prop_map(Ended::NotStarted),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            ("[^|\n]*", "[^|\n]*", "[^\n]*").prop_map(|(release, version, controllers)| {
                Message::Hello {
                    release,
                    version,
                    controllers,
                }
            }),
            "[^\n]*".prop_map(Message::Out),
            "[^\n]*".prop_map(Message::Err),
            (any::<usize>(), ended(), any::<usize>())
                .prop_map(|(index, ended, left)| Message::Step { index, ended, left }),
            any::<String>().prop_map(Message::File),
            any::<Vec<u8>>().prop_map(Message::Piece),
            any::<u64>().prop_map(|size_bytes| Message::FileEnd { size_bytes }),
            "[^\n]*".prop_map(Message::Checkers),
            any::<usize>().prop_map(|failed| Message::Verdict(Ok(failed))),
            "[^\n]*".prop_map(|why| Message::Verdict(Err(why))),
        ]
    }

    proptest! {
        #[test]
        fn every_message_survives_the_line(message in message()) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn no_line_makes_the_reader_fall(line in "\\PC*") {
            if let Ok(message) = Message::decode(&line) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }
    }

    #[test]
    fn half_a_verdict_is_none() {
        for line in [
            "verdict",
            "verdict failed",
            "verdict failed x",
            "step 0 exit 0",
            "",
            "verdictfailed 0",
        ] {
            assert!(Message::decode(line).is_err(), "{line}");
        }
    }
}
