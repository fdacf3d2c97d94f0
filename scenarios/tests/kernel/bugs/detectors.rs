//! Detectors with a fault, and the same without it.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allgone::ProcessSet;
use allgone::cgroup::Cgroup;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Level, entered};
use allgone::host::{Host, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};
use harness::MonoNs;
use harness::detect::{
    AnyDetector, BlockingDetector, BlockingWatch, Counters, DetectError, DetectorSpec, Verdict,
};
use harness::error::SysError;
use harness::sys::time;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::common::reference;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(1);

/// Reads the state and then subscribes to its changes; without the fault the other way round.
pub(super) fn hinted(faulty: bool) -> AnyDetector {
    pick(faulty, [&Made(hint, true), &Made(hint, false)])
}

/// Takes a list that it cannot read for an empty one.
pub(super) fn listing(faulty: bool) -> AnyDetector {
    pick(faulty, [&Made(list, true), &Made(list, false)])
}

/// Decides by `cgroup.procs` of the cgroup alone; without the fault `populated` decides.
pub(super) fn single_list(faulty: bool) -> AnyDetector {
    pick(faulty, [&Made(alone, true), &Made(alone, false)])
}

/// Removes by path, and takes "no such directory" for the end; without the fault by descriptor.
pub(super) fn removing(faulty: bool) -> AnyDetector {
    pick(faulty, [&Made(remove, true), &Made(remove, false)])
}

fn pick(faulty: bool, [with, without]: [&'static Made; 2]) -> AnyDetector {
    AnyDetector::Blocking(if faulty { with } else { without })
}

type Arm = fn(&ProcessSet, &mut SpawnOptions, bool) -> Result<Box<dyn BlockingWatch>, DetectError>;

/// A detector that is made of its `arm`, and whether it has its fault.
#[derive(Debug)]
struct Made(Arm, bool);

impl BlockingDetector for Made {
    fn spec(&self) -> &'static DetectorSpec {
        reference().spec()
    }

    fn probe(&self, _: &Host) -> Result<Support, ProbeError> {
        Ok(Support::Available)
    }

    fn arm(
        &self,
        set: &ProcessSet,
        spawn: &mut SpawnOptions,
    ) -> Result<Box<dyn BlockingWatch>, DetectError> {
        (self.0)(set, spawn, self.1)
    }
}

/// Looks at intervals, with what `arm` has left.
struct Looking<T>(
    T,
    fn(&mut T, MonoNs) -> Result<Option<Verdict>, DetectError>,
);

impl<T> std::fmt::Debug for Looking<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Looking")
    }
}

impl<T: Send + 'static> BlockingWatch for Looking<T> {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        loop {
            let now = time::now();
            if let Some(verdict) = (self.1)(&mut self.0, now)? {
                return Ok(verdict);
            }
            match sleep::until(now + INTERVAL, deadline) {
                Slept::Woken(_) => {}
                Slept::Deadline => return Ok(Verdict::deadline()),
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        Counters::default()
    }
}

fn list(
    set: &ProcessSet,
    _: &mut SpawnOptions,
    faulty: bool,
) -> Result<Box<dyn BlockingWatch>, DetectError> {
    let below = set.cgroup().create("threaded")?;
    below.write("cgroup.type", "threaded")?;
    Ok(Box::new(Looking(
        (below, faulty),
        |(below, faulty), now| match below.procs() {
            Ok(members) => Ok(members.is_empty().then(|| Verdict::empty(now))),
            Err(_) if *faulty => Ok(Some(Verdict::empty(now))),
            Err(e) => Ok(Some(Verdict::from_cgroup(&e))),
        },
    )))
}

fn alone(
    set: &ProcessSet,
    _: &mut SpawnOptions,
    faulty: bool,
) -> Result<Box<dyn BlockingWatch>, DetectError> {
    let level = Level::open(set.cgroup())?;
    Ok(Box::new(Looking(
        (set.cgroup().clone(), level, faulty),
        |(cgroup, level, faulty), now| match cgroup.procs()?.is_empty() {
            true if *faulty => Ok(Some(Verdict::empty(now))),
            true => Ok(level.look(now, &mut Counters::default())),
            false => Ok(None),
        },
    )))
}

fn remove(
    set: &ProcessSet,
    spawn: &mut SpawnOptions,
    faulty: bool,
) -> Result<Box<dyn BlockingWatch>, DetectError> {
    let site = set.cgroup();
    let job = site.create("job")?;
    let birthplace = job.as_fd().try_clone_to_owned();
    spawn.born_in(birthplace.map_err(|e| SysError::io("dup", allgone::Target::Nothing, &e))?);
    Ok(Box::new(Looking(
        (site.clone(), Some(job), faulty),
        |(site, job, faulty), now| {
            if let Some(job) = job.take() {
                rename(site, &job)?;
            }
            match faulty {
                true => by_path(&site.path().join("job"), now),
                false => by_descriptor(site, now),
            }
        },
    )))
}

/// What the tree does, as far as version 2 lets it: it moves to a cgroup of another name, and
/// removes the old one.
fn rename(site: &Cgroup, job: &Cgroup) -> Result<(), DetectError> {
    let other = site.create("other")?;
    for pid in job.procs()?.pids {
        other.write("cgroup.procs", &pid.to_string())?;
    }
    Ok(site.remove_child("job")?)
}

fn by_path(path: &Path, now: MonoNs) -> Result<Option<Verdict>, DetectError> {
    match std::fs::remove_dir(path) {
        Ok(()) => Ok(Some(Verdict::empty(now))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Some(Verdict::empty(now))),
        Err(e) if e.raw_os_error() == Some(Errno::EBUSY as i32) => Ok(None),
        Err(e) => Err(SysError::io("rmdir", allgone::Target::Path(path.into()), &e).into()),
    }
}

fn by_descriptor(site: &Cgroup, now: MonoNs) -> Result<Option<Verdict>, DetectError> {
    match site.remove_descendants() {
        Ok(()) if !site.events()?.populated => Ok(Some(Verdict::empty(now))),
        Ok(()) => Ok(None),
        Err(e) if e.errno() == Some(Errno::EBUSY) => Ok(None),
        Err(e) => Ok(Some(Verdict::from_cgroup(&e))),
    }
}

fn hint(
    set: &ProcessSet,
    _: &mut SpawnOptions,
    faulty: bool,
) -> Result<Box<dyn BlockingWatch>, DetectError> {
    Ok(Box::new(Hinting {
        cgroup: set.cgroup().clone(),
        level: Level::open(set.cgroup())?,
        told: subscribe(set.cgroup())?,
        own: None,
        reads_first: faulty,
    }))
}

/// Sleeps until inotify hints at a change of `cgroup.events`.
#[derive(Debug)]
struct Hinting {
    cgroup: Arc<Cgroup>,
    level: Level,
    /// Not the mechanism's: it shows that the kernel has told all that there is to tell.
    told: Inotify,
    own: Option<Inotify>,
    reads_first: bool,
}

fn subscribe(cgroup: &Cgroup) -> Result<Inotify, DetectError> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let events = cgroup.path().join("cgroup.events");
    inotify.add_watch(&events, AddWatchFlags::IN_MODIFY)?;
    Ok(inotify)
}

/// Sleeps until there is an event, and takes all that there are.
fn next(inotify: &Inotify, deadline: MonoNs) -> Result<Slept, DetectError> {
    let slept = sleep::on(
        &mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)],
        deadline,
    )?;
    loop {
        match inotify.read_events() {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(slept),
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Hinting {
    fn look(&self) -> Option<Verdict> {
        self.level.look(time::now(), &mut Counters::default())
    }
}

impl BlockingWatch for Hinting {
    /// The process waits until this is done: it is alive.
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        entered(child)?;
        // Its birth, which may be told late.
        next(&self.told, time::now() + Duration::from_secs(10))?;
        match self.reads_first {
            true if self.look().is_some() => return Err(Errno::ESRCH.into()),
            true => {}
            false => self.own = Some(subscribe(&self.cgroup)?),
        }
        Ok(())
    }

    fn wait(&mut self, deadline: MonoNs) -> Result<Verdict, DetectError> {
        // Here the tree ends, and the only event that says so comes and goes.
        let over = next(&self.told, deadline)?;
        if over == Slept::Deadline || self.cgroup.events()?.populated {
            return Err(Errno::ETIMEDOUT.into());
        }
        let own = match self.own.take() {
            Some(own) => match self.look() {
                Some(verdict) => return Ok(verdict),
                None => own,
            },
            None => subscribe(&self.cgroup)?,
        };
        loop {
            if next(&own, deadline)? == Slept::Deadline {
                return Ok(Verdict::deadline());
            }
            if let Some(verdict) = self.look() {
                return Ok(verdict);
            }
        }
    }

    fn finish(self: Box<Self>) -> Counters {
        Counters::default()
    }
}
