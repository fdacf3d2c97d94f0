//! Jobs whose first process is a child of a guard.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::effects::{JobEffects, Orphans};
use super::error::StartError;
use super::place::{Ground, Place, Sealed};
use super::site::Site;
use super::start::{Heard, Main, MainEnd, Started, Starter};
use crate::base::Base;
use crate::cgroup::Cgroup;
use crate::effects::Effects;
use crate::error::{SysError, Target};
use crate::guard::{Channel, Guard, GuardError, GuardOptions, RefusedError, Said};
use crate::spawn::Request;
use crate::sys::spawn::Entry;
use crate::sys::wait::{Change, Usage};

/// A base with a guard: a small process that is the parent of all jobs that are started here, and
/// outlives the host. Cheap to clone; the guard ends with the last clone and the last job.
///
/// The host gets no `SIGCHLD` for these jobs and loses none to a `waitpid(-1)`, orphans are told of
/// as soon as the last one has ended, and if the host dies, by whatever death, all jobs are killed
/// and removed. See [`guard`](crate::guard) for what jobs have of it.
///
/// ```no_run
/// use std::time::Duration;
/// use allgone::{Base, Command, job::Guarded, sys::time::now};
///
/// let guarded = Guarded::start(&Base::find()?)?;
/// let mut job = Command::new("make").arg("-j8").spawn(&guarded)?;
/// println!("{:?}", job.wait(now() + Duration::from_secs(3600))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Guarded {
    base: Base,
    started: Arc<Parent>,
}

impl Guarded {
    /// Starts a guard at `base`, from its embedded program.
    ///
    /// Errors: as [`Guard::start`].
    pub fn start(base: &Base) -> Result<Self, GuardError> {
        Self::start_with(base, &GuardOptions::default())
    }

    /// As [`Guarded::start`], with the ways in which its program may be run.
    pub fn start_with(base: &Base, options: &GuardOptions) -> Result<Self, GuardError> {
        // Its own prefix: what else this process has below the base is not for the guard to end.
        let prefix = format!("{}.", base.child_name()?);
        let options = options.clone().limits(base.limits());
        let guard = Guard::start(base.cgroup(), &prefix, &options)?;
        Ok(Self {
            base: base.clone(),
            started: Arc::new(Parent {
                guard: Arc::new(guard),
                next: AtomicU32::new(0),
            }),
        })
    }

    /// The guard: how it runs, and a descriptor that is readable when it has died.
    pub fn guard(&self) -> &Guard {
        &self.started.guard
    }
}

impl Place for Guarded {}

impl Sealed for Guarded {
    fn ground(&self) -> Result<Ground, StartError> {
        let name = self.started.child_name(&self.base)?;
        Ok(Ground {
            site: Site::make(&self.base, name)?,
            starter: self.started.clone(),
            placeholder: None,
        })
    }

    fn starter(&self) -> (Base, Arc<dyn Starter>) {
        (self.base.clone(), self.started.clone())
    }
}

/// The guard as the parent of jobs.
#[derive(Debug)]
struct Parent {
    guard: Arc<Guard>,
    next: AtomicU32,
}

impl Starter for Parent {
    fn effects(&self) -> JobEffects {
        JobEffects::OF_A_GUARDS_CHILDREN
    }

    fn child_name(&self, _: &Base) -> Result<String, SysError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{}{number}", self.guard.prefix()))
    }

    fn start(&self, cgroup: &Cgroup, request: &Request<'_>) -> Result<Started, StartError> {
        let spawned = self.guard.spawn(cgroup.as_fd(), request);
        let spawned = spawned.map_err(|e| refused(e, cgroup, request))?;
        Ok(Started {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            entry: spawned.moved.map_or(Entry::Born, Entry::Moved),
            main: Box::new(GuardsChild {
                channel: spawned.channel,
                pid: spawned.pid,
                died: false,
                _guard: self.guard.clone(),
            }),
        })
    }
}

fn refused(error: RefusedError, cgroup: &Cgroup, request: &Request<'_>) -> StartError {
    match error {
        RefusedError::Child(failure) => StartError::child(failure, request.paths, request.argv),
        RefusedError::Clone(errno) => StartError::clone3(cgroup.path(), &errno.into()),
        RefusedError::Late(_) => StartError::clone3(cgroup.path(), &Errno::ETIMEDOUT.into()),
        RefusedError::Sys(error) => error.into(),
        other => StartError::Guard(other),
    }
}

#[derive(Debug)]
struct GuardsChild {
    channel: Channel,
    pid: Pid,
    died: bool,
    /// The guard is needed for as long as the job is.
    _guard: Arc<Guard>,
}

impl Main for GuardsChild {
    fn source<'a>(&'a self, _: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.channel.as_fd()
    }

    fn hear(&mut self, _: BorrowedFd<'_>) -> Heard {
        if self.died {
            return Heard::Nothing;
        }
        let lost = match self.channel.hear() {
            Ok(None) => return Heard::Nothing,
            Ok(Some(Said::Ended(end))) => {
                return Heard::Ended(MainEnd {
                    change: Change {
                        pid: Pid::from_raw(end.pid),
                        code: end.code,
                        status: end.status,
                    },
                    usage: Some(Usage {
                        user: Duration::from_micros(end.user_us),
                        system: Duration::from_micros(end.system_us),
                        max_rss_bytes: end.peak_bytes,
                    }),
                    at: end.at,
                });
            }
            // The host reads the state by itself, whatever the guard has found there.
            Ok(Some(Said::Died)) => SysError {
                op: "learn the exit status (the guard has died)",
                target: Target::Pid(self.pid.as_raw()),
                errno: Errno::EPIPE,
            },
            Ok(Some(_)) => return Heard::Look,
            Err(error) => error,
        };
        self.died = true;
        Heard::Lost(lost)
    }

    fn hints(&self) -> bool {
        !self.died
    }
}

/// A directory, `cgroup.events`, a descriptor of the first process, the job's own descriptor, the
/// channel; and a timer, which is made when the first process has ended and others live on.
const DESCRIPTORS: u8 = 6;

impl JobEffects {
    /// First processes are children of a guard.
    pub const OF_A_GUARDS_CHILDREN: Self = Self {
        host: Effects::descriptors(DESCRIPTORS),
        sigchld: false,
        orphans: Orphans::OfStarter,
        ends_with_host: true,
    };
}
