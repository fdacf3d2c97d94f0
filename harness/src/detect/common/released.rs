//! A cgroup of a named v1 hierarchy of its own, which the workload enters, and whose release agent
//! is this executable.
//!
//! v1 has no `populated`: the level is whether `cgroup.procs` is empty. The hierarchy bears the
//! run's name and serves all its trials; the first one makes it, before its detector is armed, and
//! the end of the run takes it down ([`crate::host::named`]). The cgroup is the trial's own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use super::agent;
use super::inotify::Subscription;
use super::probe;
use super::removal;
use crate::MonoNs;
use crate::cgroup::{Cgroup, CgroupError};
use crate::detect::{Counters, DetectError, Verdict};
use crate::error::{SysError, Target};
use crate::host::named::{self, Named};
use crate::sys::time::now;
use allgone::detect::Sources;
use allgone::detect::sleep::{self, Slept};
use allgone::host::{Host, ProbeError, Support};

/// The cgroup, and the sources that hint at its end.
#[derive(Debug)]
pub(in crate::detect) struct Released {
    cgroup: Cgroup,
    removal: Subscription,
    reports: UnixDatagram,
    // Dropped last: the paths of the others lead through it.
    _hierarchy: Named,
}

impl Released {
    /// Makes the hierarchy `name` unless it is there, in it the cgroup `path` (absolute, from its
    /// root; the ending says what the agent does), and arms the agent.
    ///
    /// The hierarchy stays, after an error too: it is to be taken down in any case.
    pub(in crate::detect) fn make(name: &str, path: &Path) -> Result<Self, DetectError> {
        let hierarchy = Named::mount_to_stay(name)?;
        let program = agent::program()?;
        let program = program
            .to_str()
            .ok_or_else(|| SysError::path("name as release agent", &program, Errno::EILSEQ))?;
        hierarchy.root().write("release_agent", program)?;
        let reports = agent::listen(path)?;
        let mut cgroup = hierarchy.root().try_clone()?;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            if let Component::Normal(part) = part {
                cgroup = match cgroup.create(&part.to_string_lossy()) {
                    // Where the path leads through, another trial may have led one.
                    Err(e) if e.errno() == Some(Errno::EEXIST) && parts.peek().is_some() => {
                        Cgroup::open(cgroup.path().join(part))?
                    }
                    made => made?,
                };
            }
        }
        cgroup.write("notify_on_release", "1")?;
        Ok(Self {
            removal: removal::watch(&cgroup)?,
            cgroup,
            reports,
            _hierarchy: hierarchy,
        })
    }

    /// The file into which a workload has to write itself.
    pub(in crate::detect) fn tasks(&self) -> Result<OwnedFd, CgroupError> {
        Ok(self.cgroup.open_file("tasks", OFlag::O_WRONLY)?.into())
    }

    /// Reads the state. `None`: there are members, so there is something to wait for.
    pub(in crate::detect) fn look(&self, woke: MonoNs, counters: &mut Counters) -> Option<Verdict> {
        counters.reads += 1;
        match self.cgroup.procs() {
            Ok(members) if members.is_empty() => Some(Verdict::empty(woke)),
            Ok(_) => None,
            Err(e) => Some(Verdict::from_cgroup(&e)),
        }
    }

    /// What hints at a change: the agent, and the removal of the cgroup.
    pub(in crate::detect) fn sources(&self) -> Sources<'_> {
        self.removal.add_to(Sources::none().readable(&self.reports))
    }

    /// Sleeps until the agent or the removal of the cgroup hints at a change, or `also` is
    /// readable.
    pub(in crate::detect) fn sleep(
        &self,
        also: Option<BorrowedFd<'_>>,
        deadline: MonoNs,
    ) -> Result<Slept, SysError> {
        let own = [Some(self.reports.as_fd()), also].into_iter().flatten();
        let mut fds: Vec<PollFd<'_>> = own
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .chain(self.removal.fds())
            .collect();
        sleep::on(&mut fds, deadline)
    }

    /// Takes all reports. Returns the error message of an agent that failed, if there is one.
    pub(in crate::detect) fn drain(&mut self) -> Result<Option<String>, SysError> {
        self.removal.drain(&mut Counters::default())?;
        let mut said = [0u8; 512];
        let mut complaint = None;
        loop {
            match self.reports.recv(&mut said) {
                Ok(0) => {}
                Ok(length) => {
                    complaint = Some(
                        String::from_utf8_lossy(said.get(..length).unwrap_or_default())
                            .into_owned(),
                    )
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(complaint),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(SysError::io("read the agent's report", Target::Nothing, &e)),
            }
        }
    }
}

/// What is missing if the kernel refuses to create a hierarchy.
const HIERARCHY: &str = "root in the initial user namespace, Linux 5.2, and a kernel that was not \
    booted with cgroup_no_v1=named";

/// Lets a process pass through the cgroup of a rehearsal, and through those given by their `tasks`
/// files.
pub(in crate::detect) type Pass<'a> = dyn FnMut(&[BorrowedFd<'_>]) -> Result<(), SysError> + 'a;

/// Whether agents work here. Makes a hierarchy with a cgroup and calls `rehearsal`, which lets a
/// process pass through the cgroup and waits for the report; then removes everything. `path_of`
/// makes the cgroup's path from a free name, which `rehearsal` gets too.
pub(in crate::detect) fn rehearse(
    host: &Host,
    path_of: impl FnOnce(&str) -> PathBuf,
    rehearsal: impl FnOnce(&str, &mut Released, &mut Pass<'_>) -> Result<Support, ProbeError>,
) -> Result<Support, ProbeError> {
    match agent::usable()? {
        Support::Available => {}
        missing => return Ok(missing),
    }
    probe::in_cgroup(host, |site| {
        let name = last(site.path());
        let answer = match Released::make(&name, &path_of(&name)) {
            Ok(mut released) => {
                let mine = released.tasks()?;
                rehearsal(&name, &mut released, &mut |also| {
                    let mut tasks = vec![mine.as_fd()];
                    tasks.extend(also);
                    probe::pass_through(site, 0, &tasks)
                        .map_err(|e| SysError::path("start a process in", site.path(), e))
                })
            }
            Err(e) => Ok(Support::missing(e, HIERARCHY)),
        };
        named::take_down(&name, now() + PATIENCE, &mut || {})?;
        answer
    })
}

fn last(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// How long a rehearsal waits for something that takes milliseconds.
pub(in crate::detect) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
