//! One trial: a case of a promise, played once with one launcher, and what was seen of it.
//!
//! The process of a trial (`keeper`) starts the launcher, so it learns its exit status; it is a
//! subreaper, so it reaps what the launcher orphans; and it has mount, cgroup and IPC namespaces of
//! its own, so what is left behind by one trial is not seen by another.

mod act;
mod container;
mod crowd;
mod ground;
mod keeper;
mod oracle;
mod processes;
mod residue;
mod terminal;
mod watch;

use serde::{Deserialize, Serialize};

pub use keeper::main;

/// The directory of a trial, in its own `/tmp`.
pub const DIR: &str = "/tmp/allgone-conform";

/// What is played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Promise and variant: `limit/daemon`.
    pub id: String,
    /// How hostile the payload is, 0 to 4.
    pub level: u8,
    /// What the payload is to do.
    pub payload: Payload,
    /// Which of the adapter's commands starts it.
    pub way: Way,
    /// What happens meanwhile.
    pub act: Act,
    /// Its standard output.
    pub output: Stream,
    /// Whether the launcher leads a process group of its own. Otherwise it is in the group of
    /// another process.
    pub leads: bool,
    /// Whether processes stand by that must not be hit.
    pub strangers: bool,
    /// So many bytes are written to its standard input.
    pub feed: usize,
    /// So many runs at once. 0: one run.
    pub crowd: u32,
    /// How long the launcher may take to return: from the act, or from "ready".
    pub patience_ms: u64,
    /// How long what it has started may live on after that.
    pub settle_ms: u64,
}

/// The program that the launcher is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// A script for the actor.
    Script(String),
    /// A script, by a process without environment.
    Bare(String),
    /// These arguments of the payload.
    Args(Vec<String>),
    /// A program that does not exist.
    Missing,
    /// A file without permission to execute it.
    NotExecutable,
}

impl Payload {
    /// Whether it says "ready" when it is started.
    pub fn says_ready(&self) -> bool {
        match self {
            Self::Script(_) | Self::Bare(_) => true,
            Self::Args(args) => args.iter().any(|arg| arg == "--ready-file"),
            Self::Missing | Self::NotExecutable => false,
        }
    }
}

/// Which of the adapter's commands is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// `run`.
    Run,
    /// `limit`, with so many milliseconds.
    Limit(u64),
    /// None: the payload is started without a launcher, for comparison.
    Bare,
}

/// What happens during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// A signal to the launcher, so many microseconds after "ready".
    Signal {
        /// Its number.
        number: i32,
        /// When.
        after_us: u64,
        /// Whether its whole process group gets it.
        group: bool,
    },
    /// `SIGKILL` to the launcher, so many microseconds after its start.
    KillEarly {
        /// When.
        after_us: u64,
    },
    /// The adapter's `stop`, at "ready".
    Stop,
}

/// Where standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// A file.
    File,
    /// A pipe, which is read all the time.
    Pipe,
}

impl Case {
    /// A case in which nothing happens, with the usual patience.
    pub fn new(id: impl Into<String>, level: u8, payload: Payload) -> Self {
        Self {
            id: id.into(),
            level,
            payload,
            way: Way::Run,
            act: Act::Nothing,
            output: Stream::File,
            leads: true,
            strangers: false,
            feed: 0,
            crowd: 0,
            patience_ms: 5_000,
            settle_ms: 1_000,
        }
    }
}

/// Everything that the process of a trial has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What is played.
    pub case: Case,
    /// Commands before the launcher.
    pub before: Vec<Vec<String>>,
    /// The launcher. For a crowd, the command of each.
    pub launch: Vec<Vec<String>>,
    /// What stops it.
    pub stop: Option<Vec<String>>,
    /// Commands after it.
    pub after: Vec<Vec<String>>,
    /// Files to be made.
    pub files: Vec<(String, String)>,
    /// The payload's program.
    pub payload: String,
    /// Directories of programs, to be found in the trial, too.
    pub path: Vec<String>,
    /// The user that the launcher runs as, if not this one.
    pub user: Option<u32>,
    /// Whether the launcher has a terminal, as from a shell with job control.
    pub terminal: bool,
    /// Whether the launcher is executed in an ordinary container.
    pub container: bool,
    /// Whether `/run` stays the machine's.
    pub broker: bool,
    /// How long the launcher may take to start the payload.
    pub start_ms: u64,
}

/// Whether anything of a payload is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// The kernel says that nothing executes the payload.
    Idle,
    /// Something does.
    Alive,
    /// It could not be asked, or the answer means nothing.
    Unknown(String),
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// When the payload said "ready", from the launcher's start.
    pub ready_us: Option<u64>,
    /// Whether anything executed the payload when it said so. If not, the launcher has made a copy.
    pub executed_at_ready: Option<bool>,
    /// The end of the launcher. None: it did not end in time.
    pub returned: Option<Returned>,
    /// At that moment, or when the time was over.
    pub at_return: Option<Life>,
    /// When the time to settle was over, if it was not idle before.
    pub settled: Option<Life>,
    /// When it was idle: from the act, or from "ready".
    pub idle_us: Option<u64>,
    /// Processes that were left then, for the reader. Not what the verdict is made of.
    pub left: Vec<String>,
    /// Those that had to stay alive and did not.
    pub hit: Vec<String>,
    /// What was left besides processes of the payload.
    pub residue: Vec<String>,
    /// What was read from standard output.
    pub read_bytes: usize,
    /// Whether it was what had been written.
    pub read_right: bool,
    /// Whether the end of it was read.
    pub read_end: bool,
    /// From the payload's last act to the launcher's return.
    pub late_us: Option<u64>,
    /// Runs of a crowd that returned the right code.
    pub crowd_right: u32,
    /// What others of the crowd did.
    pub crowd_wrong: Vec<String>,
    /// The end of what the launcher wrote to standard error.
    pub errors: String,
    /// Why this trial says nothing.
    pub trouble: Option<String>,
}

/// How a launcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// From the act, or from "ready", or from the start.
    pub after_us: u64,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl std::fmt::Display for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "ended by signal {signal}"),
            (None, None) => write!(f, "no status"),
        }
    }
}
