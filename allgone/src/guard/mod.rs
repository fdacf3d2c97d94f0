//! The guard: a small process that is the parent of a host's jobs, and outlives the host.
//!
//! A host that starts its jobs through a guard gets no `SIGCHLD` for them, loses none to a
//! `waitpid(-1)` of its own, and pays for no copy of its page tables. The guard is the subreaper of
//! the jobs: it reaps orphans at once, and reports that a job is empty as soon as its last process
//! has ended. If the host dies, in whatever way, the guard kills and removes all its jobs; if the
//! guard dies, a second one does. If both are killed together, only the host is left to act, and
//! does when it looks at a job; if all three are, nothing is. What that means where the kernel
//! kills whole cgroups for want of memory is on the page of [`sys::guard`](crate::sys::guard).
//!
//! One guard serves any number of jobs below one directory. It has a cgroup of its own there, and
//! about 100 KiB of memory; two processes. What the jobs have of it is on the page of
//! [`sys::guard`](crate::sys::guard).
//!
//! # Effects on the host
//!
//! None on signals and children, unless the host is a subreaper (or PID 1 of its namespace): then
//! the guard, which has no other parent, becomes its child when it is started. Three descriptors,
//! and two a job.

mod channel;
mod error;
mod request;

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::cgroup::{Cgroup, CgroupError, remove_when_empty};
use crate::error::{SysError, Target, retry_eintr};
use crate::layout::V1Dir;
use crate::limits::LimitSource;
use crate::sys::guard::wire::{self, Header};
use crate::sys::guard::{self, Birth, How, StartFailure};
use crate::sys::pidfd;
use crate::sys::spawn::ReportPipe;
use crate::sys::wait::{Whose, waitid};

pub use crate::spawn::Request;
pub use channel::{Channel, Ended, Said};
pub use error::{Attempt, GuardError, RefusedError};

/// How long the exec of a program may take, and the end of a guard.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the guard's program may be run.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    in_memory: bool,
    installed: Vec<PathBuf>,
    fork: bool,
    limits: LimitSource,
}

impl Default for GuardOptions {
    /// The embedded program from memory, else `/usr/libexec/allgone-guard`; no fork.
    fn default() -> Self {
        Self {
            in_memory: true,
            installed: vec![PathBuf::from("/usr/libexec/allgone-guard")],
            fork: false,
            limits: LimitSource::None,
        }
    }
}

impl GuardOptions {
    /// Whether the embedded program may be executed from a file in memory, which is tried first.
    #[must_use]
    pub fn in_memory(mut self, allowed: bool) -> Self {
        self.in_memory = allowed;
        self
    }

    /// Paths at which the program may be installed, tried next. Its bytes are
    /// [`sys::guard::PROGRAM`](crate::sys::guard::PROGRAM). Empty: none.
    #[must_use]
    pub fn installed(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.installed = paths.into_iter().collect();
        self
    }

    /// Whether the guard may be a fork of the host if no program can be executed. It copies the
    /// host's page tables once, and its memory is the host's until one of them writes: under memory
    /// pressure it may look like a large process.
    #[must_use]
    pub fn fork(mut self, allowed: bool) -> Self {
        self.fork = allowed;
        self
    }

    /// Where the limits of its jobs come from. In v1 hierarchies each job has directories, which
    /// the guard removes with its cgroup.
    #[must_use]
    pub fn limits(mut self, source: &LimitSource) -> Self {
        self.limits = source.clone();
        self
    }
}

/// The way in which a guard's program was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a file in memory.
    Memory,
    /// From this file.
    Installed(PathBuf),
    /// No program: a fork of the host.
    Fork,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("a file in memory"),
            Self::Installed(path) => write!(f, "{}", path.display()),
            Self::Fork => f.write_str("a fork"),
        }
    }
}

/// A running guard, from its host's side. Dropping it ends the guard: jobs that are left are killed
/// and removed first.
#[derive(Debug)]
pub struct Guard {
    socket: OwnedFd,
    pidfd: OwnedFd,
    /// Closing it releases the lock that shows that the host is alive.
    _lock: OwnedFd,
    base: Cgroup,
    own: String,
    prefix: String,
    way: Way,
    attempts: Vec<Attempt>,
    /// The process that it is for. A fork has copies of the descriptors, and may not use them.
    host: Pid,
}

impl Guard {
    /// Starts one for jobs in children of `base` whose names begin with `prefix`. Nothing else in
    /// there may have such a name: the guard ends it. The guard's own cgroup is `<prefix>guard`.
    ///
    /// Returns when it runs. Any number of threads may be running; the calling one has its signals
    /// blocked for the time.
    ///
    /// Errors: its cgroup or its descriptors cannot be made, or no way to run it works.
    pub fn start(base: &Cgroup, prefix: &str, options: &GuardOptions) -> Result<Self, GuardError> {
        let sys = |op| move |errno| SysError::plain(op, errno);
        let own = format!("{prefix}guard");
        let name = |name: &str| {
            let fit = !prefix.is_empty() && !prefix.contains('/');
            let name = CString::new(name).ok().filter(|_| fit);
            name.ok_or_else(|| GuardError::Name(prefix.to_owned()))
        };
        let (prefix_name, own_name) = (name(prefix)?, name(&own)?);
        let (socket, its_socket) = pair().map_err(sys("socketpair"))?;
        let host = pidfd::open(Pid::this()).map_err(sys("pidfd_open"))?;
        let lock = guard::locked().map_err(sys("lock a file in memory"))?;
        let home = home(base);
        let limits = limits_of(&options.limits)?;
        let limit = |place: usize| limits.get(place).map_or(base.as_fd(), AsFd::as_fd);
        let birth = Birth {
            socket: its_socket.as_fd(),
            base: base.as_fd(),
            host: host.as_fd(),
            // A directory cannot be written to, so the guard goes on to the next cgroup by itself.
            home: home.as_ref().map_or(base.as_fd(), AsFd::as_fd),
            lock: lock.as_fd(),
            limits: [limit(0), limit(1)],
            prefix: &prefix_name,
            own: &own_name,
        };
        let base_again = base.try_clone()?;
        let (pidfd, way, attempts) = run(&birth, options, &base.path().join(&own))?;
        Ok(Self {
            socket,
            pidfd,
            _lock: lock,
            base: base_again,
            own,
            prefix: prefix.to_owned(),
            way,
            attempts,
            host: Pid::this(),
        })
    }

    /// The prefix of the guard's names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How its program was run.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// What was tried before that, and failed.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether it has died. Channels may end a moment before that.
    pub fn has_died(&self) -> Result<bool, SysError> {
        pidfd::has_exited(self.pidfd.as_fd()).map_err(|e| SysError::plain("poll the guard", e))
    }

    /// Starts a program in `cgroup`, a child of the base that begins with the guard's prefix.
    /// Returns when it is executed, or when it is known why it is not, within ten seconds.
    ///
    /// After an error, a kill of `cgroup` ends what is left of the attempt.
    pub fn spawn(
        &self,
        cgroup: BorrowedFd<'_>,
        request: &Request<'_>,
    ) -> Result<Spawned, RefusedError> {
        if Pid::this() != self.host {
            return Err(RefusedError::Fork);
        }
        let sys = |op| move |errno| SysError::plain(op, errno);
        let (channel, its_channel) = pair().map_err(sys("socketpair"))?;
        let (report, its_report) = ReportPipe::new().map_err(sys("pipe2"))?;
        let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        request.send(
            self.socket.as_fd(),
            its_channel.as_fd(),
            its_report.as_fd(),
            cgroup,
            timeout,
        )?;
        // From here on the guard's ends are the only ones.
        drop((its_channel, its_report));
        let mut executed = [PollFd::new(report.as_fd(), PollFlags::POLLIN)];
        let ready = retry_eintr(|| poll(&mut executed, timeout)).map_err(sys("poll"))?;
        if ready == 0 {
            return Err(RefusedError::Late(PATIENCE.as_secs()));
        }
        if let Some(failure) = report.take().map_err(sys("read the child's report"))? {
            return Err(RefusedError::Child(failure));
        }
        let mut channel = Channel::new(channel);
        // Sent when the process existed, before its exec; but the two messages are not ordered.
        let mut there = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        if retry_eintr(|| poll(&mut there, timeout)).map_err(sys("poll"))? == 0 {
            return Err(RefusedError::Late(PATIENCE.as_secs()));
        }
        match channel.hear()? {
            Some(Said::Started { pid, pidfd, moved }) => Ok(Spawned {
                pid: Pid::from_raw(pid),
                pidfd,
                moved,
                channel,
            }),
            Some(Said::Refused(Errno::EMFILE | Errno::ENFILE)) => Err(RefusedError::Descriptors),
            Some(Said::Refused(errno)) => Err(RefusedError::Clone(errno)),
            Some(Said::Died) => Err(RefusedError::Died),
            _ => Err(SysError::plain("hear the guard", Errno::EBADMSG).into()),
        }
    }

    /// Ends it, and removes its cgroup.
    fn end(&self) -> Result<(), RefusedError> {
        // It sees to what is left, and so does its second if it cannot be asked.
        if self.finish().is_err() {
            match pidfd::send_signal(self.pidfd.as_fd(), Some(Signal::SIGKILL)) {
                Ok(()) | Err(_) => {}
            }
        }
        let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        match retry_eintr(|| poll(&mut ended, timeout)) {
            Ok(1) => {}
            // It does not answer.
            _ => match self.kill() {
                Ok(()) | Err(_) => {}
            },
        }
        // Its parent is init or a subreaper, which may be this process.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        match waitid(Whose::Pidfd(self.pidfd.as_fd()), flags) {
            Ok(_) | Err(_) => {}
        }
        // If it is not there, the guard or its second has removed it.
        if let Ok(leaf) = self.base.child(&self.own) {
            remove_when_empty(leaf).map_err(|e| match e.errno() {
                Some(errno) => SysError::path("rmdir", self.base.path().join(&self.own), errno),
                None => SysError::plain("rmdir", Errno::EIO),
            })?;
        }
        Ok(())
    }
}

impl Guard {
    fn kill(&self) -> Result<(), CgroupError> {
        self.base.child(&self.own)?.kill()
    }

    /// Asks it to end.
    fn finish(&self) -> Result<(), RefusedError> {
        let finish = Header {
            version: wire::VERSION,
            kind: wire::FINISH,
            bytes: u32::try_from(size_of::<Header>()).unwrap_or(0),
        };
        let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        request::send(self.socket.as_fd(), wire::bytes(&finish), &[], timeout)
    }
}

impl AsFd for Guard {
    /// Its pidfd: readable when it has died.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A fork of the host must not end the host's jobs.
        if Pid::this() == self.host {
            // What cannot be removed is left: a drop cannot report an error.
            match self.end() {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// A program that a guard has started.
#[derive(Debug)]
pub struct Spawned {
    /// Process id.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// Why it was not born in its cgroup, and moved there by itself, if so.
    pub moved: Option<Errno>,
    /// The reports about it.
    pub channel: Channel,
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

/// Runs the program, in the first way that works.
fn run(
    birth: &Birth<'_>,
    options: &GuardOptions,
    at: &Path,
) -> Result<(OwnedFd, Way, Vec<Attempt>), GuardError> {
    /// What is done before there is a program to run.
    const OF_NO_WAY: [&str; 6] = [
        "rt_sigprocmask",
        "clone",
        "mkdir",
        "open its own cgroup",
        "clone3",
        "write cgroup.procs",
    ];
    let mut attempts = Vec::new();
    let mut attempt = |way: Way, how: Result<How<'_>, StartFailure>| {
        let failed = match how.and_then(|how| guard::start(birth, how)) {
            Ok(pidfd) => return Ok(Some((pidfd, way))),
            // No other way to run it would help.
            Err(failed) if OF_NO_WAY.contains(&failed.step) => {
                return Err(SysError::path(failed.step, at, failed.errno));
            }
            Err(failed) => failed,
        };
        attempts.push(Attempt {
            way: way.to_string(),
            step: failed.step,
            errno: failed.errno,
        });
        Ok(None)
    };
    let mut started = None;
    if options.in_memory {
        let file = guard::program_in_memory();
        let how = file.as_ref().map(|file| How::Exec(file.as_fd()));
        let how = how.map_err(|errno| StartFailure {
            step: "memfd_create",
            errno: *errno,
        });
        started = attempt(Way::Memory, how)?;
    }
    for path in &options.installed {
        if started.is_none() {
            let file = File::open(path);
            let how = file.as_ref().map(|file| How::Exec(file.as_fd()));
            let how = how.map_err(|e| StartFailure {
                step: "open",
                errno: Errno::from_raw(e.raw_os_error().unwrap_or(0)),
            });
            started = attempt(Way::Installed(path.clone()), how)?;
        }
    }
    if started.is_none() && options.fork {
        started = attempt(Way::Fork, Ok(How::Fork))?;
    }
    match started {
        Some((pidfd, way)) => Ok((pidfd, way, attempts)),
        None => Err(GuardError::NotRun { attempts }),
    }
}

/// The directories of v1 hierarchies in which jobs have theirs.
fn limits_of(source: &LimitSource) -> Result<Vec<File>, SysError> {
    let LimitSource::V1 { pids, memory, .. } = source else {
        return Ok(Vec::new());
    };
    let open = |dir: &V1Dir| {
        let failed = |e| SysError::io("open", Target::Path(dir.path.clone()), &e);
        File::open(&dir.path).map_err(failed)
    };
    std::iter::once(pids).chain(memory).map(open).collect()
}

/// `cgroup.procs` of the cgroup that this process is in, if it can be found from `base` and written
/// to.
fn home(base: &Cgroup) -> Option<OwnedFd> {
    let directory = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let up = |from: BorrowedFd<'_>| openat(from, "..", directory, Mode::empty()).ok();
    let device = |of: BorrowedFd<'_>| nix::sys::stat::fstat(of).ok().map(|stat| stat.st_dev);
    let hierarchy = device(base.as_fd())?;
    let mut root = openat(base.as_fd(), ".", directory, Mode::empty()).ok()?;
    loop {
        let parent = up(root.as_fd())?;
        if device(parent.as_fd())? != hierarchy {
            break;
        }
        root = parent;
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let procs = PathBuf::from(own).join("cgroup.procs");
    openat(
        &root,
        &procs,
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .ok()
}
