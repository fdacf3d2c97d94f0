//! Cgroups below the process's own, and the ways out of it.

use std::os::fd::AsFd;

use allgone_sys::actor::fork_into;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{OwnCgroup, Player};
use crate::script::{FOREVER, How};

/// What a cgroup has that its maker may change.
const FILES: [&[u8]; 6] = [
    b"/cgroup.procs",
    b"/cgroup.threads",
    b"/cgroup.events",
    b"/cgroup.freeze",
    b"/cgroup.kill",
    b"/cgroup.subtree_control",
];

/// Begins again if somebody has removed a cgroup before the process was in it: a watcher that finds
/// out by `rmdir` whether the site is empty does that.
pub(super) fn persist(mut enter: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    /// Each is a race against the watcher's next look.
    const TRIES: u32 = 100;
    for _ in 1..TRIES {
        match enter() {
            Err(Errno::ENOENT | Errno::ENODEV) => {}
            other => return other,
        }
    }
    enter()
}

impl Player<'_> {
    fn home(&mut self) -> Result<&mut OwnCgroup, Errno> {
        self.home.as_mut().ok_or(Errno::ENOENT)
    }

    pub(super) fn enter_cgroup(&mut self) -> Result<(), Errno> {
        let pid = self.pid.as_raw();
        self.home()?.enter_new(pid)
    }

    pub(super) fn enter_threaded_cgroup(&mut self) -> Result<(), Errno> {
        let pid = self.pid.as_raw();
        let home = self.home()?;
        let below = home.copy_below(pid)?;
        persist(|| {
            below.make_here()?;
            below.write(b"/cgroup.type", b"threaded")?;
            below.write(b"/cgroup.procs", b"0")
        })?;
        *home = below;
        Ok(())
    }

    /// The path has place for more than a thousand: two bytes each. It moves along, so that what is
    /// made is not empty for long: see [`persist`].
    pub(super) fn enter_deep_cgroup(&mut self, depth: u32) -> Result<(), Errno> {
        const STEP: u32 = 16;
        let home = self.home()?;
        let mut left = depth;
        while left > 0 {
            let step = left.min(STEP);
            let top = *home;
            persist(|| {
                *home = top;
                for _ in 0..step {
                    *home = home.copy_below(0)?;
                    home.make_here()?;
                }
                home.write(b"/cgroup.procs", b"0")
            })?;
            left -= step;
        }
        Ok(())
    }

    pub(super) fn leave_cgroup(&mut self) -> Result<(), Errno> {
        self.home()?.write(b"/../cgroup.procs", b"0")
    }

    /// The cgroup that it has entered last, wherever it is now.
    pub(super) fn freeze_last(&mut self, frozen: bool) -> Result<(), Errno> {
        let value: &[u8] = if frozen { b"1" } else { b"0" };
        self.home()?.write(b"/cgroup.freeze", value)
    }

    pub(super) fn lock_cgroup(&mut self) -> Result<(), Errno> {
        let home = self.home()?;
        for file in FILES {
            match home.set_mode(file, 0) {
                // `cgroup.kill` is of Linux 5.14.
                Ok(()) | Err(Errno::ENOENT) => {}
                refused => return refused,
            }
        }
        home.set_mode(b"", 0)
    }

    pub(super) fn flap(&mut self, count: u64) -> Result<(), Errno> {
        let home = self.home()?;
        let mut done = 0;
        while count == FOREVER || done < count {
            home.write(b"/../cgroup.procs", b"0")?;
            persist(|| match home.write(b"/cgroup.procs", b"0") {
                // It has been removed while it was empty.
                Err(Errno::ENOENT) => home
                    .make_here()
                    .and_then(|()| home.write(b"/cgroup.procs", b"0")),
                other => other,
            })?;
            done += 1;
        }
        Ok(())
    }

    /// Returns only if it failed.
    pub(super) fn churn_cgroups(&mut self, count: u32) -> Result<(), Errno> {
        let count = i32::try_from(count).map_err(|_| Errno::ERANGE)?;
        loop {
            for name in 0..count {
                self.home()?.copy_below(name)?.make_here()?;
            }
            self.say_ready()?;
            for name in 0..count {
                match self.home()?.copy_below(name)?.remove() {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    refused => return refused,
                }
            }
        }
    }

    /// By each way once. A refusal is what ought to happen; a way that is open is gone, and what
    /// comes of it the trial sees.
    pub(super) fn escape(&mut self) -> Result<(), Errno> {
        let mut outside = self.setting.home.ok_or(Errno::ENOENT)?;
        while outside.ascend() {
            for way in [
                &b"/cgroup.procs"[..],
                b"/cgroup.threads",
                b"/control/cgroup.procs",
            ] {
                match outside.write(way, b"0") {
                    Ok(()) | Err(_) => {}
                }
            }
            for way in [&b""[..], b"/control"] {
                self.fork_outside(outside, way);
            }
        }
        Ok(())
    }

    /// A child that is born there goes on as this process does.
    fn fork_outside(&mut self, mut outside: OwnCgroup, way: &[u8]) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = outside
            .push(way)
            .and_then(|()| open(outside.as_c_str()?, flags, Mode::empty()));
        let Ok(dir) = opened else { return };
        match fork_into(dir.as_fd()) {
            Ok(Some(_)) => self.setting.ledger.announce(),
            Ok(None) => self.born(How::Plain),
            Err(_) => {}
        }
    }
}
