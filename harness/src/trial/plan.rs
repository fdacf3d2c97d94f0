//! The birth of a workload: what is started, and what a detector or strategy needs that birth to be
//! like.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use allgone::spawn::{self, SpawnOptions};
use nix::errno::Errno;

use super::Site;
use super::only;
use super::program::Program;
use crate::error::SysError;
use crate::expect::Plane;
use crate::sys::spawn::{Credentials, Session};

pub use allgone::spawn::{Child as Root, Gate, SpawnError};

/// A program that is ready to be started: opened, with complete arguments. An actor finds `input`
/// on descriptor [`Workload::INPUT_FD`] and the ledger on [`Workload::LEDGER_FD`]; any other
/// program finds `input` as its standard input, and no ledger.
#[derive(Debug)]
pub struct Workload {
    /// The program.
    pub exe: OwnedFd,
    /// Arguments, the zeroth included.
    pub argv: Vec<CString>,
    /// Environment, complete.
    pub envp: Vec<CString>,
    /// What it reads: a script.
    pub input: OwnedFd,
    /// Whether its processes stop themselves: then a stop (SIGSTOP) of one is no sign that
    /// something outside of the trial was at work.
    pub stops: bool,
    /// It is not an actor, which stamps a ledger, but any program.
    pub program: Option<Program>,
}

impl Workload {
    /// Where the program finds its input.
    pub const INPUT_FD: RawFd = 3;
    /// Where it finds the ledger.
    pub const LEDGER_FD: RawFd = 4;
    /// Where it finds what its stage gives it.
    pub const GIVEN_FD: RawFd = 5;
    /// The first number that a detector's own descriptor may get.
    pub const FIRST_FREE_FD: RawFd = 6;
}

/// What a workload's birth will be like. A detector's `arm` and a strategy's `prepare` change its
/// options; then the workload is started once.
#[derive(Debug)]
pub struct SpawnPlan<'t> {
    workload: &'t Workload,
    ledger: BorrowedFd<'t>,
    cgroup: BorrowedFd<'t>,
    credentials: Option<Credentials>,
    session: Session,
    /// What the mechanisms need.
    pub options: SpawnOptions,
    /// The only processor that the workload may run on.
    pub cpu: Option<usize>,
    /// What it is given on [`Workload::GIVEN_FD`].
    pub given: Option<OwnedFd>,
    /// The kernel gives it the user of a set-user-ID program that it executes.
    pub heeds_setuid: bool,
}

/// The user of this process. If actors can have no other, they keep it and give up capabilities (a
/// mapped root has capabilities, too).
fn own_user() -> Credentials {
    Credentials {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

impl<'t> SpawnPlan<'t> {
    /// The plain plan: born in the site's cgroup, without the harness's authority; a session of its
    /// own where nothing is killed, a process group of its own in the observer's session where
    /// something is (a canary shares both).
    pub fn new(site: &'t Site, workload: &'t Workload) -> Result<Self, SysError> {
        Ok(Self {
            workload,
            ledger: site
                .ledger
                .memfd()
                .ok_or_else(|| SysError::plain("share the ledger", Errno::EBADF))?,
            cgroup: site.cgroup.as_fd(),
            credentials: site.credentials,
            session: match site.plane {
                Plane::Detect => Session::New,
                Plane::Kill => Session::Group,
            },
            options: SpawnOptions::numbered_from(Workload::FIRST_FREE_FD),
            cpu: None,
            given: None,
            heeds_setuid: false,
        })
    }

    /// Starts the workload.
    pub fn spawn(&self) -> Result<Root, SpawnError> {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(SpawnError::Clone)?;
        let input = self.workload.input.as_fd();
        let mut inherit = match &self.workload.program {
            None => vec![
                (null.as_fd(), 0),
                (null.as_fd(), 1),
                (null.as_fd(), 2),
                (input, Workload::INPUT_FD),
                (self.ledger, Workload::LEDGER_FD),
            ],
            Some(program) => {
                let output = program.output.as_ref().map_or(null.as_fd(), AsFd::as_fd);
                vec![(input, 0), (output, 1), (output, 2)]
            }
        };
        let given = self.given.as_ref();
        inherit.extend(given.map(|given| (given.as_fd(), Workload::GIVEN_FD)));
        spawn::Program {
            envp: &self.workload.envp,
            inherit: &inherit,
            session: self.session,
            credentials: Some(self.credentials.unwrap_or_else(own_user)),
            no_new_privs: !self.heeds_setuid,
            heeds_setuid: self.heeds_setuid,
            affinity: match self.cpu {
                Some(cpu) => Some(only(cpu).map_err(|e| SpawnError::Clone(e.into()))?),
                None => None,
            },
            ..spawn::Program::new(self.workload.exe.as_fd(), &self.workload.argv)
        }
        .spawn_in(self.cgroup, &self.options)
    }
}
