//! What is to be run, and within which bounds.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allgone::SysError;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;

use super::wire::{Outgoing, variable};
use super::{LaunchError, Launcher, Run};
use crate::options::{Hosted, parse_hosted};
use crate::tier::Tier;

/// Where a standard stream comes from or goes to.
#[derive(Clone, Debug, Default)]
pub enum Stream {
    /// The host's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This file, pipe or socket.
    Descriptor(Arc<OwnedFd>),
}

impl From<OwnedFd> for Stream {
    fn from(fd: OwnedFd) -> Self {
        Self::Descriptor(Arc::new(fd))
    }
}

impl From<File> for Stream {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl From<PipeReader> for Stream {
    fn from(pipe: PipeReader) -> Self {
        OwnedFd::from(pipe).into()
    }
}

impl From<PipeWriter> for Stream {
    fn from(pipe: PipeWriter) -> Self {
        OwnedFd::from(pipe).into()
    }
}

/// A program with its bounds, which can be started any number of times.
///
/// What nothing enforces on this machine is refused, as by the command: [`Launch::best_effort`]
/// goes on without it, and the report says so.
#[derive(Clone, Debug)]
pub struct Launch {
    words: Vec<OsString>,
    program: Vec<OsString>,
    /// Changes to the host's environment, or all of it if that was cleared.
    env: Vec<(OsString, Option<OsString>)>,
    clear: bool,
    dir: Option<PathBuf>,
    streams: [Stream; 3],
    lease: Option<Arc<OwnedFd>>,
}

impl Launch {
    /// A program by its name, without bounds yet. One without a slash is looked up in the `PATH` of
    /// its environment.
    pub fn builder(program: impl AsRef<OsStr>) -> Self {
        Self {
            words: Vec::new(),
            program: vec![program.as_ref().to_owned()],
            env: Vec::new(),
            clear: false,
            dir: None,
            streams: Default::default(),
            lease: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.program.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.program.extend(args);
        self
    }

    /// Sets a variable of the environment, which otherwise is the host's at the time of the spawn.
    #[must_use]
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.change(name.as_ref(), Some(value.as_ref().to_owned()))
    }

    /// Removes a variable of the environment.
    #[must_use]
    pub fn env_remove(self, name: impl AsRef<OsStr>) -> Self {
        self.change(name.as_ref(), None)
    }

    /// Removes all variables of the environment, those that were set before included.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self.clear = true;
        self
    }

    fn change(mut self, name: &OsStr, value: Option<OsString>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value));
        self
    }

    /// Its working directory; otherwise the host's.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Its standard input; otherwise the host's.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[0] = stream.into();
        self
    }

    /// Its standard output; otherwise the host's.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[1] = stream.into();
        self
    }

    /// Its standard error; otherwise the host's.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[2] = stream.into();
        self
    }

    /// Runs it by this tier; otherwise by the strongest that the machine allows.
    #[must_use]
    pub fn tier(self, tier: Tier) -> Self {
        self.option("tier", tier.name())
    }

    /// Refuses to run it by any weaker tier.
    #[must_use]
    pub fn require(self, tier: Tier) -> Self {
        self.option("require", tier.name())
    }

    /// Ends everything this much after the spawn.
    #[must_use]
    pub fn timeout(self, time: Duration) -> Self {
        self.option("timeout", &seconds(time))
    }

    /// Ends everything when all of it has used this much processor time.
    #[must_use]
    pub fn cpu_time(self, time: Duration) -> Self {
        self.option("cpu-time", &seconds(time))
    }

    /// Sends SIGTERM to all first, and SIGKILL this much later: at a limit, and at [`Run::end`].
    #[must_use]
    pub fn grace(self, time: Duration) -> Self {
        self.option("grace", &seconds(time))
    }

    /// Over with the main process: what it leaves is killed. Otherwise over with the last one.
    #[must_use]
    pub fn wait_main(self) -> Self {
        self.option("wait", "main")
    }

    /// Ends everything when the other end of this pipe or socket is closed. That the host itself is
    /// gone ends everything without it.
    #[must_use]
    pub fn lease(mut self, lease: impl Into<OwnedFd>) -> Self {
        self.lease = Some(Arc::new(lease.into()));
        self
    }

    /// Leaves it /tmp, /proc, host name and IPC of the host.
    #[must_use]
    pub fn bare(self) -> Self {
        self.flag("bare")
    }

    /// At most so many processes and threads at a time, zombies included.
    #[must_use]
    pub fn pids(self, count: u64) -> Self {
        self.option("pids", &count.to_string())
    }

    /// No more memory for all of it.
    #[must_use]
    pub fn memory_bytes(self, bytes: u64) -> Self {
        self.option("memory", &bytes.to_string())
    }

    /// No more processor time than so many thousandths of a processor: 500 is half of one.
    #[must_use]
    pub fn cpu_thousandths(self, thousandths: u64) -> Self {
        let (whole, rest) = (thousandths / 1_000, thousandths % 1_000);
        self.option("cpu", &format!("{whole}.{rest:03}"))
    }

    /// No file may grow beyond this.
    #[must_use]
    pub fn fsize_bytes(self, bytes: u64) -> Self {
        self.option("fsize", &bytes.to_string())
    }

    /// At most so many descriptors for each process.
    #[must_use]
    pub fn nofile(self, count: u64) -> Self {
        self.option("nofile", &count.to_string())
    }

    /// Gives it another user and group, without supplementary groups, capabilities or a way to get
    /// privileges by exec. Needs `CAP_SETUID` and `CAP_SETGID`.
    #[must_use]
    pub fn user(self, uid: u32, gid: u32) -> Self {
        self.option("user", &format!("{uid}:{gid}"))
    }

    /// Gives it a user and a group of the same number that no other run has at the time, of this
    /// range; otherwise as [`Launch::user`]. The range may have no number that belongs to anything
    /// else. Needs root.
    #[must_use]
    pub fn user_range(self, range: std::ops::RangeInclusive<u32>) -> Self {
        self.option("user-range", &format!("{}-{}", range.start(), range.end()))
    }

    /// Goes on without what cannot be had here; the report says what that is.
    #[must_use]
    pub fn best_effort(self) -> Self {
        self.flag("best-effort")
    }

    /// Any option of `allgone run` that takes a value, by its long name. The last one of a name
    /// counts.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.words.push(format!("--{name}={value}").into());
        self
    }

    /// Any option of `allgone run` without a value, by its long name.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.words.push(format!("--{name}").into());
        self
    }

    /// Starts it. Returns when its launcher exists, before the program has begun: whether that
    /// could be executed is what [`Run::wait`] tells.
    ///
    /// Errors: what is asked for makes no sense, or the directory is not there; the launchers'
    /// parent has died.
    pub fn spawn(&self, launcher: &Launcher) -> Result<Run, LaunchError> {
        let mut words = self.words.clone();
        words.push("--".into());
        words.extend(self.program.iter().cloned());
        parse_hosted(words.iter().cloned(), Hosted::default())?;
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(dir, flags, Mode::empty()).map_err(|e| SysError::path("open", dir, e))?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| SysError::path("open", "/dev/null", e))?;
        let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let own = [input.as_fd(), output.as_fd(), errors.as_fd()];
        let [a, b, c] = &self.streams;
        let null = null.as_fd();
        let (channel, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|e| SysError::plain("socketpair", e))?;
        let request = Outgoing {
            channel: theirs.as_fd(),
            words: &words,
            env: &self.environment()?,
            dir: dir.as_fd(),
            streams: [
                of(a, own[0], null),
                of(b, own[1], null),
                of(c, own[2], null),
            ],
            lease: self.lease.as_deref().map(AsFd::as_fd),
        };
        launcher.ask(&request)?;
        drop(theirs);
        Run::accepted(channel)
    }

    /// All of it.
    fn environment(&self) -> Result<Vec<CString>, SysError> {
        let mut all = Vec::new();
        if !self.clear {
            for (name, value) in std::env::vars_os() {
                if !self.env.iter().any(|(changed, _)| *changed == name) {
                    all.push(variable(&name, &value)?);
                }
            }
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
                let errno = Errno::EINVAL;
                return Err(SysError::plain("pass on a variable without a name", errno));
            }
            if let Some(value) = value {
                all.push(variable(name, value)?);
            }
        }
        Ok(all)
    }
}

fn of<'a>(stream: &'a Stream, own: BorrowedFd<'a>, null: BorrowedFd<'a>) -> BorrowedFd<'a> {
    match stream {
        Stream::Inherit => own,
        Stream::Null => null,
        Stream::Descriptor(fd) => fd.as_fd(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{}.{:09}s", time.as_secs(), time.subsec_nanos())
}
