//! How it ended, the proof, and the exit code that follows.

use std::path::PathBuf;
use std::time::Duration;

use allgone::MonoNs;
use allgone::cgroup::Cgroup;
use allgone::sys::spawn::launch::{Hold, Launch, Need};
use allgone::sys::spawn::results::{Cause, MainEnd, Results};
use allgone::sys::time::now;
use allgone::sys::wait::Change;
use allgone::teardown::tear_down;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use crate::error::{RunError, TIMED_OUT};
use crate::options::Options;
use crate::place::Place;
use crate::plan::Plan;

/// How long a cgroup may take to become empty after all in it has been killed.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// How this process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(u8),
    /// By this signal, as its program did.
    Signal(i32),
}

/// What is known of the end of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Init has been reaped, which it is after every other process of its namespace; and the
    /// cgroup, in which it was all born, has been removed, which the kernel does only if it is
    /// empty.
    Removed(PathBuf),
    /// Init has been reaped; there was no cgroup, with the reason.
    Reaped(String),
    /// The tracer has been reaped, which kills what it traced; and then all that had become the
    /// launcher's, until that had no child any more.
    NoneLeft,
    /// Not proved: who is left, or what could not be known.
    Unproved(String),
}

impl Proof {
    /// After init has been reaped: removes the cgroups that it could not remove.
    pub(crate) fn of(plan: &Plan, launch: &Launch<'_>, results: &Results) -> Self {
        let own = Self::of_own(plan, launch, results);
        match (own, plan.group_limits.remove()) {
            (unproved @ Self::Unproved(_), _) | (unproved, Ok(())) => unproved,
            (_, Err(why)) => Self::Unproved(why),
        }
    }

    fn of_own(plan: &Plan, launch: &Launch<'_>, results: &Results) -> Self {
        let place = match &plan.place {
            Ok(place) => place,
            Err(why) => return Self::Reaped(why.clone()),
        };
        let made = launch.cgroup_step().and_then(|index| results.step(index));
        match made {
            Some(made) if made.error.is_none() => Self::remove(place, results.outside()),
            Some(made) => {
                let errno = made.error.unwrap_or(Errno::UnknownErrno);
                Self::Reaped(format!(
                    "could not make a cgroup below {}: {errno}",
                    place.parent_path.display()
                ))
            }
            // Nothing was made before the failure, or init was killed first: perhaps between the
            // making and the note of it.
            None => match unlinkat(
                &place.parent,
                place.name.as_c_str(),
                UnlinkatFlags::RemoveDir,
            ) {
                Ok(()) => Self::Removed(place.path()),
                // Where none may be removed, none could be made.
                Err(Errno::ENOENT | Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
                    Self::Reaped("no cgroup was made".to_owned())
                }
                Err(_) => Self::remove(place, results.outside()),
            },
        }
    }

    fn remove(place: &Place, outside: Option<Errno>) -> Self {
        let name = place.name.as_c_str();
        let removed = match unlinkat(&place.parent, name, UnlinkatFlags::RemoveDir) {
            // Init has removed it, which the kernel refuses to anybody while it has members.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            // Init was killed. It has children; or a process that has been reaped is still on its
            // way out. Or one that was born elsewhere has moved into it, and ends with what it has
            // joined.
            Err(Errno::EBUSY) => Cgroup::open(place.path())
                .map_err(|e| e.to_string())
                .and_then(|cgroup| {
                    tear_down(cgroup, now() + REMOVE_LIMIT).map_err(|left| left.to_string())
                }),
            Err(e) => Err(allgone::SysError::path("rmdir", place.path(), e).to_string()),
        };
        match (removed, outside) {
            (Ok(()), None) => Self::Removed(place.path()),
            (Ok(()), Some(errno)) => {
                Self::Reaped(format!("could not be born in a cgroup: {errno}"))
            }
            (Err(why), _) => Self::Unproved(why.replace("\n ", ";")),
        }
    }

    /// Init was killed, and has not ended.
    pub(crate) fn init_lives(init: Pid) -> Self {
        Self::Unproved(format!("init did not end after SIGKILL: {}", state(init)))
    }
}

/// A process in words: number, state, and where in the kernel it sleeps.
pub(crate) fn state(pid: Pid) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    let wchan = read("wchan").unwrap_or_default();
    let state = state.unwrap_or("unknown").trim();
    if wchan.is_empty() || wchan == "0" {
        format!("pid {pid} ({state})")
    } else {
        format!("pid {pid} ({state}, in {wchan})")
    }
}

/// All that is known at the end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// How init ended.
    pub init: Option<Change>,
    /// How main ended.
    pub main: Option<MainEnd>,
    /// Why it was ended.
    pub cause: Cause,
    /// Whether SIGKILL was needed.
    pub killed: bool,
    /// How often the kernel killed for want of the memory that `--memory` allows, if that is known.
    pub oom_kills: Option<u64>,
    /// The most memory that all of it has had at a time, if `--memory` was asked for.
    pub memory_peak_bytes: Option<u64>,
    /// The proof.
    pub proof: Proof,
    /// When the run began.
    pub began: MonoNs,
    /// When the end was known.
    pub ended: MonoNs,
}

impl Ending {
    /// From the beginning to the knowledge of the end.
    pub fn took(&self) -> Duration {
        self.ended.since(self.began)
    }

    /// The exit code, or the error that has one.
    pub(crate) fn exit(
        &self,
        options: &Options,
        launch: &Launch<'_>,
        results: &Results,
    ) -> Result<Exit, RunError> {
        if let Proof::Unproved(why) = &self.proof {
            return Err(RunError::Unproved(why.clone()));
        }
        if let Some((index, errno)) = results.failure() {
            return Err(failure(options, launch, index, errno));
        }
        let by_limit = matches!(self.cause, Cause::Timeout | Cause::CpuTime | Cause::Lease);
        if by_limit && !options.preserve_status {
            let killed = self.killed && options.as_timeout;
            return Ok(Exit::Code(if killed { 137 } else { TIMED_OUT }));
        }
        Ok(match (self.main, self.init) {
            (Some(main), _) if main.code == libc::CLD_EXITED => {
                Exit::Code(u8::try_from(main.status & 0xff).unwrap_or(u8::MAX))
            }
            (Some(main), _) => Exit::Signal(main.status),
            // Init was killed before main had ended: that killed main.
            (None, _) => Exit::Signal(libc::SIGKILL),
        })
    }
}

/// Whether the step mounts /proc.
fn is_proc((call, _): &(String, Need)) -> bool {
    call.starts_with("mount(\"proc\"")
}

/// What a step that failed means.
fn failure(options: &Options, launch: &Launch<'_>, index: usize, errno: Errno) -> RunError {
    let program = options.program.first().cloned().unwrap_or_default();
    if launch.is_exec(index) {
        return match errno {
            Errno::ENOENT if options.closed.is_some() => RunError::NotShown(program),
            Errno::ENOENT => RunError::NotFound(program),
            errno => RunError::NotExecutable(program, errno),
        };
    }
    let step = launch.describe().into_iter().nth(index);
    let hint = match errno {
        _ if launch.is_limit(index) => "",
        Errno::EPERM if options.closed.is_some() && step.as_ref().is_some_and(is_proc) => {
            ": the /proc of this container hides something, so none can be mounted: \
             --best-effort goes on without /proc"
        }
        _ if options.closed.is_some() => "",
        Errno::EPERM | Errno::EACCES
            if !options.bare && matches!(launch.hold, Hold::Namespace(_)) =>
        {
            ": --bare does without mounts of its own"
        }
        _ => "",
    };
    RunError::Step {
        step: step.map_or_else(|| format!("step {index}"), |(call, _)| call),
        errno,
        hint,
        of_tier: !launch.is_limit(index),
    }
}
