//! The work of a child between clone and exec: a sequence of steps that the parent builds.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sched::CpuSet;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use super::descriptors::{Slot, Table};
use super::launch::Main;
use super::results::Results;
use super::setup::{Made, Setup};
use super::step::Step;
use super::{Credentials, Exe, Plan, Session};

/// One step, with what it needs. Plain data: what it does is in `child.rs`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    Signals(Handlers),
    Affinity(CpuSet),
    JoinCgroup(Slot),
    Tasks(Slot),
    Session,
    Group,
    Descriptors,
    CloseOthers,
    Rlimit(Rlimit),
    Umask(u32),
    Credentials(Credentials),
    User(Credentials),
    Dir(*const libc::c_char),
    NoNewPrivs,
    InitFork,
    DeathSignal(Signal),
    Gate(Slot),
    Exec(Slot),
    ExecPaths,
    /// What is set up, and whether the sequence goes on without it.
    Setup(Setup<'a>, Need),
    /// Forks main and becomes its init.
    Main(Main<'a>),
    /// The signal mask.
    Mask(u64),
}

/// Whether what comes after a step may be made if the step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may not.
    Required,
    /// It may.
    Optional,
}

/// What the clone has left to do about the caller's signal handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handlers {
    /// They are still there.
    Inherited,
    /// The kernel has given them up (`CLONE_CLEAR_SIGHAND`).
    Cleared,
}

/// A limit of a process, in the unit of its resource; setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// What counts.
    pub soft: u64,
    /// What the process may raise it to. More than the caller's needs `CAP_SYS_RESOURCE`.
    pub hard: u64,
}

impl Action<'_> {
    /// Its kind.
    pub(super) fn step(self) -> Step {
        match self {
            Self::Signals(_) => Step::Signals,
            Self::Affinity(_) => Step::Affinity,
            Self::JoinCgroup(_) => Step::JoinCgroup,
            Self::Tasks(_) => Step::Tasks,
            Self::Session => Step::Session,
            Self::Group => Step::Group,
            Self::Descriptors => Step::Descriptors,
            Self::CloseOthers => Step::CloseOthers,
            Self::Rlimit(_) => Step::Rlimit,
            Self::Umask(_) => Step::Umask,
            Self::Credentials(_) | Self::User(_) => Step::Credentials,
            Self::Dir(_) => Step::Dir,
            Self::NoNewPrivs => Step::NoNewPrivs,
            Self::InitFork => Step::InitFork,
            Self::DeathSignal(_) => Step::DeathSignal,
            Self::Gate(_) => Step::Gate,
            Self::Exec(_) | Self::ExecPaths => Step::Exec,
            Self::Setup(..) => Step::Setup,
            Self::Main(_) => Step::Main,
            Self::Mask(_) => Step::Mask,
        }
    }
}

/// All data of a child, complete before it exists.
#[derive(Debug)]
pub(super) struct Sequence<'a> {
    pub(super) actions: Vec<Action<'a>>,
    pub(super) table: Table<'a>,
    /// Where the result of each step is noted.
    pub(super) results: Option<&'a Results>,
    /// What steps made for those after them.
    pub(super) made: Made,
    /// Arguments for a shell, with room for the script's path, if a program in no known format is
    /// to be its script.
    pub(super) shell: Vec<*const libc::c_char>,
    /// Paths to execute, the first that there is.
    pub(super) paths: Vec<*const libc::c_char>,
    pub(super) argv: Vec<*const libc::c_char>,
    pub(super) envp: Vec<*const libc::c_char>,
}

impl<'a> Sequence<'a> {
    /// What the child of `plan` does. `join`: `cgroup.procs` of the cgroup that it has to move into
    /// by itself. `report`: a pipe that it keeps open until exec.
    ///
    /// Errors: `EINVAL` two inherited descriptors are to get the same number.
    pub(super) fn of(
        plan: &Plan<'a>,
        handlers: Handlers,
        report: Option<BorrowedFd<'a>>,
        join: Option<BorrowedFd<'a>>,
    ) -> Result<(Self, Option<Slot>), Errno> {
        let mut table = Table::giving(plan.inherit)?;
        let report = report.map(|report| table.hold(report));
        // First, because signals must stay blocked until the handlers are reset.
        let mut actions = vec![Action::Signals(handlers)];
        actions.extend(plan.affinity.map(Action::Affinity));
        actions.extend(join.map(|procs| Action::JoinCgroup(table.hold(procs))));
        actions.extend(
            plan.tasks
                .iter()
                .map(|tasks| Action::Tasks(table.hold(*tasks))),
        );
        actions.extend(match plan.session {
            Session::New => Some(Action::Session),
            Session::Group => Some(Action::Group),
            Session::Inherit => None,
        });
        let (exec, paths) = match plan.exe {
            Exe::Open(exe) => (Action::Exec(table.hold(exe)), Vec::new()),
            Exe::Paths(paths) => (Action::ExecPaths, pointers(paths)),
        };
        let gate = plan.gate.map(|gate| table.hold(gate));
        actions.extend([Action::Descriptors, Action::CloseOthers]);
        // After the descriptors, whose numbers may be beyond a new limit; a raised one needs the
        // caller's privileges.
        actions.extend(plan.rlimits.iter().copied().map(Action::Rlimit));
        actions.extend(plan.umask.map(Action::Umask));
        // After all that needs the caller's privileges.
        let user = match plan.heeds_setuid {
            true => Action::User,
            false => Action::Credentials,
        };
        actions.extend(plan.credentials.map(user));
        // With the privileges that the program will have.
        actions.extend(plan.dir.map(CStr::as_ptr).map(Action::Dir));
        actions.extend(plan.no_new_privs.then_some(Action::NoNewPrivs));
        actions.extend(plan.init.then_some(Action::InitFork));
        // A change of credentials clears it, and a fork does not inherit it.
        actions.extend(plan.parent_death_signal.map(Action::DeathSignal));
        actions.extend(gate.map(Action::Gate));
        actions.push(exec);
        let sequence = Self {
            actions,
            table,
            results: None,
            made: Made::NOTHING,
            shell: Vec::new(),
            paths,
            argv: pointers(plan.argv),
            envp: pointers(plan.envp),
        };
        Ok((sequence, report))
    }
}

/// The strings' addresses, with a null behind them.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let addresses = strings.iter().map(|string| string.as_ptr());
    addresses.chain(std::iter::once(std::ptr::null())).collect()
}
