//! The birth of a workload: what is started, and what a detector or strategy needs that birth to be like.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use thiserror::Error;

use super::Site;
use super::only;
use crate::error::SysError;
use crate::expect::Plane;
use crate::sys::pidfd;
use crate::sys::spawn::{self, ChildFailure, Credentials, Entry, Session, Spawned};

/// A program that is ready to be started: opened, with complete arguments. It finds `input` on descriptor [`Workload::INPUT_FD`] and the
/// ledger on [`Workload::LEDGER_FD`].
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
}

impl Workload {
    /// Where the program finds its input.
    pub const INPUT_FD: RawFd = 3;
    /// Where it finds the ledger.
    pub const LEDGER_FD: RawFd = 4;
    /// The first number that a detector's own descriptor may get.
    pub const FIRST_FREE_FD: RawFd = 5;
}

/// The main process of a workload.
#[derive(Debug)]
pub struct Root {
    /// Process id in this PID namespace. With a tiny init in between, the init's.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// How it came into its cgroup.
    pub entry: Entry,
    /// When the spawn was begun and when it had returned.
    pub spawn_ns: (u64, u64),
    spawned_failure: FailurePipe,
}

#[derive(Debug)]
struct FailurePipe(Spawned);

impl Root {
    /// What went wrong between clone and exec, if anything has been reported so far.
    pub fn failure(&self) -> Result<Option<ChildFailure>, Errno> {
        self.spawned_failure.0.failure()
    }

    /// Replaces every descriptor that the birth has left by a plain one of the same process, and so closes them, which kills a process that
    /// was started with [`spawn::CLONE_PIDFD_AUTOKILL`]. Errors: `ESRCH` it has ended, and been reaped, already.
    pub fn close_birth_descriptors(&self) -> Result<(), SysError> {
        let failed = |op| move |e| SysError::pid(op, self.pid.as_raw(), e);
        let plain = pidfd::open(self.pid).map_err(failed("pidfd_open"))?;
        // The number may have been reused; a pidfd's inode number is not (Linux 6.9).
        let inode = |fd: BorrowedFd<'_>| nix::sys::stat::fstat(fd).map(|stat| stat.st_ino);
        if inode(plain.as_fd()).map_err(failed("fstat"))? != inode(self.pidfd.as_fd()).map_err(failed("fstat"))? {
            return Err(failed("pidfd_open")(Errno::ESRCH));
        }
        for birth in [self.pidfd.as_fd(), self.spawned_failure.0.pidfd.as_fd()] {
            pidfd::replace(birth, plain.as_fd()).map_err(failed("dup3"))?;
        }
        Ok(())
    }

    /// A descriptor that reaches its end when the workload has exec'd.
    pub fn exec_signal(&self) -> BorrowedFd<'_> {
        self.spawned_failure.0.exec_signal()
    }
}

/// What a workload's birth will be like. A detector's `arm` and a strategy's `prepare` change it; then the workload is started once.
#[derive(Debug)]
pub struct SpawnPlan<'t> {
    workload: &'t Workload,
    ledger: BorrowedFd<'t>,
    default_cgroup: BorrowedFd<'t>,
    birthplace: Option<OwnedFd>,
    kept: Vec<OwnedFd>,
    gate: Option<OwnedFd>,
    tasks: Vec<OwnedFd>,
    credentials: Option<Credentials>,
    session: Session,
    /// Further clone flags, such as [`spawn::CLONE_NEWPID`].
    pub clone_flags: u64,
    /// Put a tiny init between the observer and the workload (for a new PID namespace).
    pub init: bool,
    /// `PR_SET_PDEATHSIG` for the main process.
    pub parent_death_signal: Option<Signal>,
    /// The one processor that the workload may run on.
    pub cpu: Option<usize>,
}

/// The observer's end of a gate: the workload waits before exec until it is opened or dropped.
#[derive(Debug)]
pub struct Gate(OwnedFd);

impl Gate {
    /// Lets the workload go on to exec.
    pub fn open(self) -> Result<(), Errno> {
        // The byte and the closing both open it; the write is the one that can report.
        nix::unistd::write(&self.0, b"g").map(|_| ())
    }
}

/// A workload could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The parent's side.
    #[error("could not start the workload: {0}")]
    Clone(#[source] io::Error),
    /// The child's side.
    #[error("could not start the workload: {step} failed in the child: {errno}")]
    Child {
        /// What it was doing.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
}

/// The user of this process: where actors can have no other, they give up all else (a mapped root has capabilities, too).
fn own_user() -> Credentials {
    Credentials {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

impl<'t> SpawnPlan<'t> {
    /// The plain plan: born in the site's cgroup, without the harness's authority; a session of its own where nothing is killed, a process
    /// group of its own in the observer's session where something is (a canary shares both).
    pub fn new(site: &'t Site, workload: &'t Workload) -> Result<Self, SysError> {
        Ok(Self {
            workload,
            ledger: site
                .ledger
                .memfd()
                .ok_or_else(|| SysError::plain("share the ledger", Errno::EBADF))?,
            default_cgroup: site.cgroup.as_fd(),
            birthplace: None,
            kept: Vec::new(),
            gate: None,
            tasks: Vec::new(),
            credentials: site.credentials,
            session: match site.plane {
                Plane::Detect => Session::New,
                Plane::Kill => Session::Group,
            },
            clone_flags: 0,
            init: false,
            parent_death_signal: None,
            cpu: None,
        })
    }

    /// Lets the workload be born in another cgroup: a descendant of the site's.
    pub fn born_in(&mut self, cgroup: OwnedFd) {
        self.birthplace = Some(cgroup);
    }

    /// Lets the workload inherit `fd`; returns the number it will have there.
    pub fn keep(&mut self, fd: OwnedFd) -> RawFd {
        self.kept.push(fd);
        Workload::FIRST_FREE_FD + RawFd::try_from(self.kept.len()).unwrap_or(RawFd::MAX) - 1
    }

    /// Lets the workload move itself into a v1 cgroup, whose `tasks` is open for writing, before it gives its privileges up. It is not in
    /// there from its birth, but from before its exec ([`Root::exec_signal`]); the observer never is.
    pub fn enter(&mut self, tasks: OwnedFd) {
        self.tasks.push(tasks);
    }

    /// Puts a gate before the workload's exec.
    pub fn gate(&mut self) -> Result<Gate, SysError> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
        self.gate = Some(read);
        Ok(Gate(write))
    }

    /// Starts the workload.
    pub fn spawn(&self) -> Result<Root, SpawnError> {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(SpawnError::Clone)?;
        let mut inherit = vec![
            (null.as_fd(), 0),
            (null.as_fd(), 1),
            (null.as_fd(), 2),
            (self.workload.input.as_fd(), Workload::INPUT_FD),
            (self.ledger, Workload::LEDGER_FD),
        ];
        for (fd, number) in self.kept.iter().zip(Workload::FIRST_FREE_FD..) {
            inherit.push((fd.as_fd(), number));
        }
        let tasks: Vec<BorrowedFd<'_>> = self.tasks.iter().map(AsFd::as_fd).collect();
        let plan = spawn::Plan {
            exe: self.workload.exe.as_fd(),
            argv: &self.workload.argv,
            envp: &self.workload.envp,
            cgroup: Some(self.birthplace.as_ref().map_or(self.default_cgroup, AsFd::as_fd)),
            clone_flags: self.clone_flags,
            session: self.session,
            credentials: Some(self.credentials.unwrap_or_else(own_user)),
            no_new_privs: true,
            inherit: &inherit,
            gate: self.gate.as_ref().map(AsFd::as_fd),
            init: self.init,
            parent_death_signal: self.parent_death_signal,
            affinity: match self.cpu {
                Some(cpu) => Some(only(cpu).map_err(|e| SpawnError::Clone(e.into()))?),
                None => None,
            },
            tasks: &tasks,
        };
        let before = crate::sys::time::now();
        let spawned = spawn::spawn(&plan).map_err(SpawnError::Clone)?;
        let after = crate::sys::time::now();
        Ok(Root {
            pid: spawned.pid,
            pidfd: spawned.pidfd.try_clone().map_err(SpawnError::Clone)?,
            entry: spawned.entry,
            spawn_ns: (before.0, after.0),
            spawned_failure: FailurePipe(spawned),
        })
    }
}
