//! Cgroups of the probe's own, and processes born in them.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allgone_sys::fork::{Worker, worker};
use allgone_sys::time::{MonoNs, now};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{pipe2, read, write};

/// The longest wait: enough for everything, even under emulation on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The cgroup below which all others are made.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    path: PathBuf,
    next: std::cell::Cell<usize>,
}

impl OwnCgroup {
    pub(crate) fn make() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words.get(2) == Some(&"cgroup2")).then(|| words[1].to_owned())
        });
        let root = root.context("cgroup v2 is not mounted")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .context("this process is in no v2 cgroup")?;
        let path = PathBuf::from(
            format!("{root}{own}/lab-probe-{}", std::process::id()).replace("//", "/"),
        );
        fs::create_dir(&path).with_context(|| format!("mkdir {}", path.display()))?;
        Ok(Self {
            path,
            next: std::cell::Cell::new(0),
        })
    }

    /// A fresh cgroup.
    pub(crate) fn group(&self) -> Result<Group> {
        Group::make(&self.next_path())
    }

    /// Where the next cgroup will be.
    pub(crate) fn next_path(&self) -> PathBuf {
        let number = self.next.replace(self.next.get() + 1);
        self.path.join(number.to_string())
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir(&self.path).with_context(|| format!("rmdir {}", self.path.display()))
    }
}

/// A cgroup, its directory and its events file held open.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
    pub(crate) events: File,
}

impl Group {
    pub(crate) fn make(path: &Path) -> Result<Self> {
        fs::create_dir(path).with_context(|| format!("mkdir {}", path.display()))?;
        let dir = File::open(path)
            .with_context(|| format!("open {}", path.display()))?
            .into();
        let events = path.join("cgroup.events");
        let events = File::open(&events).with_context(|| format!("open {}", events.display()))?;
        Ok(Self {
            path: path.to_owned(),
            dir,
            events,
        })
    }

    pub(crate) fn populated(&self) -> Result<bool> {
        flag(&self.events, "populated")
            .context("read cgroup.events")?
            .context("cgroup.events has no populated line")
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, text).with_context(|| format!("write {text:?} to {}", path.display()))
    }

    /// A process born here that runs `body`.
    pub(crate) fn spawn(&self, body: impl FnOnce() -> i32) -> Result<Worker> {
        worker(0, Some(self.dir.as_fd()), body).context("clone3 into a cgroup")
    }

    /// Waits for `populated 0` by reading again and again, which needs no notification.
    pub(crate) fn spin_until_empty(&self) -> Result<MonoNs> {
        let deadline = now() + PATIENCE;
        while self.populated()? {
            if deadline.has_passed() {
                bail!(
                    "{} is still populated after {PATIENCE:?}",
                    self.path.display()
                );
            }
        }
        Ok(now())
    }

    /// Removes it; a kernel that still counts a process as there is given time.
    pub(crate) fn remove(self) -> Result<()> {
        let deadline = now() + PATIENCE;
        loop {
            match fs::remove_dir(&self.path) {
                Ok(()) => return Ok(()),
                Err(error)
                    if error.raw_os_error() == Some(Errno::EBUSY as i32)
                        && !deadline.has_passed() =>
                {
                    pause()?
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("rmdir {}", self.path.display()));
                }
            }
        }
    }
}

/// A flag of an events file, read anew from its beginning (`cgroups(7)`); `None` when it has no
/// such line.
pub(crate) fn flag(events: &File, name: &str) -> Result<Option<bool>, Errno> {
    let mut text = [0u8; 256];
    let count = events
        .read_at(&mut text, 0)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let text = std::str::from_utf8(&text[..count]).unwrap_or_default();
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|value| value == "1"))
}

/// Sleeps one millisecond, for retries that no event could replace.
pub(crate) fn pause() -> Result<()> {
    poll(&mut [], PollTimeout::from(1u8)).context("poll")?;
    Ok(())
}

/// A pipe for single messages between processes.
#[derive(Debug)]
pub(crate) struct Line {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Line {
    pub(crate) fn new() -> Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        Ok(Self { reader, writer })
    }

    /// Writes the time; in a child, so without a way to report but the status.
    pub(crate) fn stamp(&self) -> bool {
        self.say(now().0)
    }

    /// Writes a number, as [`Line::stamp`] writes the time.
    pub(crate) fn say(&self, number: u64) -> bool {
        write(&self.writer, &number.to_ne_bytes()) == Ok(8)
    }

    /// Reads a time; fails after [`PATIENCE`].
    pub(crate) fn take(&self) -> Result<MonoNs> {
        self.hear().map(MonoNs)
    }

    /// Reads a number; fails after [`PATIENCE`].
    pub(crate) fn hear(&self) -> Result<u64> {
        if !self.is_ready(PATIENCE)? {
            bail!("nothing was said within {PATIENCE:?}");
        }
        let mut bytes = [0; 8];
        read(&self.reader, &mut bytes).context("read what was said")?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Whether a message came within `limit`.
    fn is_ready(&self, limit: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, timeout).context("poll")? == 1)
    }
}

/// Reaps a process and says how it ended.
pub(crate) fn reap(child: &Worker) -> Result<WaitStatus> {
    waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED).context("waitid")
}

/// Nanoseconds between two moments.
pub(crate) fn ns_between(from: MonoNs, to: MonoNs) -> u64 {
    to.0.saturating_sub(from.0)
}
