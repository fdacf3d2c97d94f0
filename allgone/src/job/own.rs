//! Jobs whose first process is a child of the host.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use super::effects::JobEffects;
use super::error::StartError;
use super::start::{Heard, Main, MainEnd, Started, Starter};
use crate::base::Base;
use crate::cgroup::Cgroup;
use crate::error::{SysError, retry_eintr};
use crate::spawn::Request;
use crate::sys::spawn::{Exe, NotExecuted, Plan, execute};
use crate::sys::time::now;
use crate::sys::wait::{Whose, waitid, waitid_usage};

/// The host starts them itself.
#[derive(Debug)]
pub(super) struct Own;

impl Starter for Own {
    fn effects(&self) -> JobEffects {
        JobEffects::OF_OWN_CHILDREN
    }

    fn child_name(&self, base: &Base) -> Result<String, SysError> {
        base.child_name()
    }

    fn start(&self, cgroup: &Cgroup, request: &Request<'_>) -> Result<Started, StartError> {
        let plan = Plan {
            envp: request.envp,
            cgroup: Some(cgroup.as_fd()),
            session: request.session,
            credentials: request.credentials,
            no_new_privs: request.no_new_privs,
            inherit: request.fds,
            tasks: request.tasks,
            rlimits: request.rlimits,
            umask: request.umask,
            dir: request.dir,
            ..Plan::new(Exe::Paths(request.paths), request.argv)
        };
        match execute(&plan) {
            Ok(executed) => Ok(Started {
                main: Box::new(OwnChild {
                    pid: executed.pid,
                    told: false,
                    zombie: false,
                }),
                pid: executed.pid,
                pidfd: executed.pidfd,
                entry: executed.entry,
            }),
            Err(NotExecuted::Parent(e)) => Err(StartError::clone3(cgroup.path(), &e)),
            Err(NotExecuted::Child(failure)) => {
                Err(StartError::child(failure, request.paths, request.argv))
            }
        }
    }
}

#[derive(Debug)]
struct OwnChild {
    pid: Pid,
    told: bool,
    /// Its end was reported, and it has not been reaped.
    zombie: bool,
}

impl Main for OwnChild {
    fn source<'a>(&'a self, pidfd: BorrowedFd<'a>) -> BorrowedFd<'a> {
        pidfd
    }

    fn hear(&mut self, pidfd: BorrowedFd<'_>) -> Heard {
        if self.told {
            return Heard::Nothing;
        }
        match retry_eintr(|| waitid_usage(Whose::Pidfd(pidfd), ENDED | WaitPidFlag::WNOWAIT)) {
            Ok(None) => Heard::Nothing,
            Ok(Some((change, usage))) => {
                (self.told, self.zombie) = (true, true);
                Heard::Ended(MainEnd {
                    change,
                    usage: Some(usage),
                    at: now(),
                })
            }
            Err(errno) => {
                self.told = true;
                Heard::Lost(SysError::pid(lost(errno), self.pid.as_raw(), errno))
            }
        }
    }

    fn release(&mut self, pidfd: BorrowedFd<'_>) {
        if std::mem::take(&mut self.zombie) {
            // Another part of the host may have been first; how it ended is known.
            match retry_eintr(|| waitid(Whose::Pidfd(pidfd), ENDED)) {
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn hints(&self) -> bool {
        false
    }
}

/// By its descriptor: touches no other child.
const ENDED: WaitPidFlag = WaitPidFlag::WEXITED
    .union(WaitPidFlag::WNOHANG)
    .union(WaitPidFlag::__WALL);

fn lost(errno: Errno) -> &'static str {
    match errno {
        Errno::ECHILD => {
            "learn the exit status (the host ignores SIGCHLD, or has reaped the process elsewhere)"
        }
        _ => "learn the exit status (waitid)",
    }
}
