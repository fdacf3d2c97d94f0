//! A cgroup for one test, and what is done in it.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::guard::{Channel, Guard, GuardOptions, Request, Said, Spawned};
use allgone::sys::time::{now, sleep_until};
use allgone::{MonoNs, SysError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// For what comes at once, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PREFIX: &str = "test.";

/// A cgroup that is removed with everything in it.
pub(crate) struct Base {
    pub(crate) cgroup: Cgroup,
}

impl Base {
    pub(crate) fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|e| e.to_string())?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
        });
        let mount = mount.ok_or("no cgroup2 is mounted")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap_or("");
        let parent = Cgroup::open(mount.join(own)).map_err(|e| e.to_string())?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("allgone-guard-test-{}-{number}", std::process::id());
        let cgroup = parent.create(&name).map_err(|e| e.to_string())?;
        Ok(Self { cgroup })
    }

    /// One is there: the tests run only then.
    pub(crate) fn must() -> Self {
        Self::new().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.cgroup.path()
    }

    pub(crate) fn guard(&self) -> Guard {
        Guard::start(&self.cgroup, PREFIX, &GuardOptions::default()).unwrap()
    }

    /// Nothing lives in it, and nothing is below it.
    pub(crate) fn is_clear(&self) -> bool {
        let below = self.cgroup.descendants().unwrap().count();
        below == 0 && !self.cgroup.events().unwrap().populated
    }

    /// Waits until it is clear; returns how long that took.
    pub(crate) fn wait_clear(&self, patience: Duration) -> Duration {
        let begun = now();
        until(patience, || self.is_clear().then_some(())).unwrap_or_else(|| {
            let left: Vec<_> = self.cgroup.descendants().unwrap().flatten().collect();
            panic!("left: {left:?}, {:?}", self.cgroup.procs_recursive());
        });
        Duration::from_nanos(now().0 - begun.0)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        // After a failure, so that nothing of it outlives the test.
        drop(self.cgroup.kill());
        let empty = || (!self.cgroup.events().ok()?.populated).then_some(());
        until(PATIENCE, empty);
        if let Ok(again) = self.cgroup.try_clone() {
            drop(again.remove_tree());
        }
    }
}

/// Asks again and again, at growing intervals, until there is an answer.
pub(crate) fn until<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        let answer = ask();
        if answer.is_some() || deadline.has_passed() {
            return answer;
        }
        sleep_until(now() + pause).unwrap();
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

pub(crate) fn strings(words: &[&str]) -> Vec<CString> {
    words
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect()
}

/// What a script may name: its cgroup, and this program.
pub(crate) fn environment(cgroup: &Cgroup) -> Vec<CString> {
    let home = format!("CGROUP={}", cgroup.path().display());
    let this = format!("THIS={}", std::env::current_exe().unwrap().display());
    strings(&["PATH=/usr/bin:/bin", &home, &this])
}

/// A cgroup with a shell in it that does what `script` says.
pub(crate) struct Shell {
    pub(crate) cgroup: Cgroup,
    pub(crate) spawned: Spawned,
}

impl Shell {
    pub(crate) fn start(guard: &Guard, base: &Cgroup, number: usize, script: &str) -> Self {
        let cgroup = base.create(&format!("{}{number}", guard.prefix())).unwrap();
        let (paths, argv) = (strings(&["/bin/sh"]), strings(&["sh", "-c", script]));
        let envp = environment(&cgroup);
        let nothing = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null");
        let nothing = nothing.unwrap();
        let request = Request {
            envp: &envp,
            fds: &[0, 1, 2].map(|number| (nothing.as_fd(), number)),
            ..Request::new(&paths, &argv)
        };
        let spawned = guard.spawn(cgroup.as_fd(), &request).unwrap();
        Self { cgroup, spawned }
    }

    pub(crate) fn next(&mut self) -> Said {
        next(&mut self.spawned.channel)
    }
}

/// The next thing that the guard says.
pub(crate) fn next(channel: &mut Channel) -> Said {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(said) = channel.hear().unwrap() {
            return said;
        }
        wait(channel, deadline).unwrap();
    }
}

fn wait(channel: &Channel, deadline: MonoNs) -> Result<(), SysError> {
    assert!(!deadline.has_passed(), "the guard says nothing");
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    let second = PollTimeout::from(1000u16);
    poll(&mut fds, second)
        .map(|_| ())
        .map_err(|e| SysError::plain("poll", e))
}

/// The process behind a pidfd.
pub(crate) fn pid_of(pidfd: &impl AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap();
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.unwrap().trim().parse().unwrap()
}
