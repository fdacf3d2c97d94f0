//! What can go wrong, with the exit code that each has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use allgone::SysError;
use nix::errno::Errno;
use thiserror::Error;

use crate::tier::Tier;

/// The arguments make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Usage {
    /// Not in the table.
    #[error("unknown option {0:?}: `allgone run --help` lists all")]
    Unknown(OsString),
    /// The last word is an option that needs a value.
    #[error("--{0} needs a value")]
    NoValue(&'static str),
    /// A value that means nothing here.
    #[error("--{option} does not take {value:?} ({expected})")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: OsString,
        /// What the option is for.
        expected: &'static str,
    },
    /// An option that does nothing by itself.
    #[error("--{option} does nothing without {without}")]
    Pointless {
        /// The option.
        option: &'static str,
        /// What it needs.
        without: &'static str,
    },
    /// Two that cannot both be had.
    #[error("--{0} and --{1} contradict each other")]
    Contradiction(&'static str, &'static str),
    /// Nothing to run.
    #[error("no program is named: allgone run [OPTIONS] -- PROGRAM [ARGUMENTS]")]
    NoProgram,
}

/// A run did not come to a program's end.
#[derive(Clone, Debug, Error)]
pub enum RunError {
    /// The arguments.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// The program is not there.
    #[error("could not execute {0:?}: no such program")]
    NotFound(OsString),
    /// The program is there and cannot be executed.
    #[error("could not execute {0:?}: {1}")]
    NotExecutable(OsString, Errno),
    /// The program is not there in the closed root, or what it names is not.
    #[error(
        "could not execute {0:?}: it, its interpreter or its loader is not there in the closed \
         root (--ro PATH shows it)"
    )]
    NotShown(OsString),
    /// The program is there, and the policy does not let it be executed in its context.
    #[error(
        "could not execute {program:?} as {context}: {errno}; the SELinux policy lacks: {missing}"
    )]
    Context {
        /// The program.
        program: OsString,
        /// The context.
        context: String,
        /// The kernel's answer.
        errno: Errno,
        /// The line of policy that would allow it.
        missing: String,
    },
    /// SELinux cannot confine it as asked.
    #[error("could not confine the program by SELinux: {0}")]
    SeLinux(String),
    /// A path that the program cannot be shown.
    #[error("could not show {path:?} to the program: {why}")]
    Show {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What is to be explained cannot be traced.
    #[error(
        "could not trace the program for --explain: {0} (kernel.yama.ptrace_scope above 1, or a \
         container without ptrace, forbids it)"
    )]
    Explain(Errno),
    /// What takes namespaces, where there are none.
    #[error("could not have --{0} without namespaces: Landlock and seccomp alone cannot give it")]
    NotByLandlock(&'static str),
    /// No namespaces, and no Landlock either.
    #[error("could not close the program off without namespaces: Landlock of Linux 6.12: {0}")]
    Landlock(Errno),
    /// A filter that is none.
    #[error("could not use the filter {path:?}: {why}")]
    Filter {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A path that could not be copied in.
    #[error("could not copy {path:?} in: {why}")]
    Include {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A path that could not be kept, or not all of it.
    #[error("could not keep all of {path:?}: {why}")]
    Keep {
        /// Which.
        path: PathBuf,
        /// Why not, with what of it.
        why: String,
    },
    /// More than the page of results has room for.
    #[error("could not show so many paths: {0} steps are too many; show a directory above them")]
    TooMany(usize),
    /// A descriptor from which the host's tree could be reached.
    #[error("could not close the program off: {0} is a directory (redirect it: < /dev/null)")]
    Directory(&'static str),
    /// Programs on the cgroup's network are not to be had.
    #[error("could not close off the network: {what}: {errno}")]
    Public {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// An option that takes root's rights.
    #[error("could not close the program off: --{0} takes root")]
    NotRoot(&'static str),
    /// The user that is asked for is root.
    #[error("could not close the program off: --user names root or its group")]
    RootInside,
    /// No user to become.
    #[error(
        "could not close the program off: this root has no other user to become in its user \
         namespace; start it as an ordinary user"
    )]
    NoUser,
    /// A system call of the launcher.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A step of the set-up.
    #[error("could not set up the program: {step}: {errno}{hint}")]
    Step {
        /// The system call.
        step: String,
        /// The kernel's answer.
        errno: Errno,
        /// What the user can do.
        hint: &'static str,
        /// Whether another tier would do without it.
        of_tier: bool,
    },
    /// No namespace.
    #[error("could not make the namespaces: {errno}: {hint}")]
    Namespaces {
        /// The kernel's answer.
        errno: Errno,
        /// What the user can do.
        hint: &'static str,
    },
    /// Nothing that may be tried works here.
    #[error("could not run by any mechanism: {}", listed(.0))]
    NoTier(Vec<(Tier, RunError)>),
    /// No cgroup.
    #[error("could not make a cgroup: {0}")]
    NoCgroup(String),
    /// A limit that nothing enforces here.
    #[error("could not enforce --{option}: {why} (--best-effort goes on without it)")]
    Limit {
        /// The option.
        option: &'static str,
        /// Why not.
        why: String,
    },
    /// No scope of systemd's.
    #[error("could not get a cgroup from systemd: {0} (--cgroup auto does without)")]
    Scope(String),
    /// No user of its own.
    #[error("could not take a user of --user-range: {0}")]
    UserRange(String),
    /// The file of the report.
    #[error("could not write the report to {path}: {source}", path = path.display())]
    Report {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// The end is not proved.
    #[error("the end could not be proved: {0}")]
    Unproved(String),
}

/// The launcher itself failed.
pub const FAILED: u8 = 125;
/// The end could not be proved.
pub const UNPROVED: u8 = 123;
/// The time limit ended it.
pub const TIMED_OUT: u8 = 124;

fn listed(refused: &[(Tier, RunError)]) -> String {
    let each = refused
        .iter()
        .map(|(tier, why)| format!("{}: {why}", tier.name()));
    each.collect::<Vec<_>>().join("; ")
}

impl RunError {
    /// What `clone3` refused to this tier.
    pub(crate) fn start(tier: Tier, errno: Errno) -> Self {
        if tier != Tier::Namespace {
            return Self::Sys(SysError::plain("start init", errno));
        }
        let hint = match errno {
            Errno::ENOSPC => "raise /proc/sys/user/max_{user,pid}_namespaces, or nest less deep",
            Errno::EAGAIN => "a limit on tasks is reached: `ulimit -u`, or pids.max of the cgroup",
            _ => {
                "it takes root, or user namespaces: see kernel.unprivileged_userns_clone, \
                 user.max_user_namespaces, and the seccomp profile of a container"
            }
        };
        Self::Namespaces { errno, hint }
    }

    /// Nothing that was tried works: the one reason, or all.
    pub(crate) fn refused(mut refused: Vec<(Tier, Self)>) -> Self {
        match (refused.pop(), refused.is_empty()) {
            (Some((_, only)), true) => only,
            (last, _) => {
                refused.extend(last);
                Self::NoTier(refused)
            }
        }
    }

    /// Whether another tier may do what this one could not.
    pub(crate) fn is_of_tier(&self) -> bool {
        match self {
            Self::Namespaces { .. } | Self::NoCgroup(_) | Self::Limit { .. } => true,
            Self::Step { of_tier, .. } => *of_tier,
            _ => false,
        }
    }

    /// What kind of failure it is, in one word: in the report, and for a library.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::NotFound(_) | Self::NotShown(_) => "not-found",
            Self::NotExecutable(..) | Self::Context { .. } => "not-executable",
            Self::Sys(_) => "system",
            Self::Step { .. } => "set-up",
            Self::Namespaces { .. } | Self::NoTier(_) | Self::NoCgroup(_) => "tier",
            Self::Limit { .. } => "limit",
            Self::Scope(_) => "systemd",
            Self::UserRange(_) => "user",
            Self::Report { .. } => "report",
            Self::Unproved(_) => "unproved",
            Self::Show { .. }
            | Self::Directory(_)
            | Self::Explain(_)
            | Self::NotByLandlock(_)
            | Self::Landlock(_)
            | Self::SeLinux(_)
            | Self::Public { .. }
            | Self::NotRoot(_)
            | Self::RootInside
            | Self::NoUser
            | Self::Filter { .. }
            | Self::Include { .. }
            | Self::TooMany(_) => "closed",
            Self::Keep { .. } => "keep",
        }
    }

    /// As timeout(1): 125, 126, 127; and 123.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::NotShown(_) => 127,
            Self::NotExecutable(..) | Self::Context { .. } => 126,
            Self::Unproved(_) => UNPROVED,
            _ => FAILED,
        }
    }
}
