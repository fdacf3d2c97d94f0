//! The end of init: it ends what is left, takes the cgroups away and exits.
//!
//! It does so itself, so that nothing stays if the launcher is killed meanwhile. The launcher does
//! again what init could not do, or did not come to. Nothing in here allocates.
//!
//! Sources: kill(2), pid_namespaces(7), cgroups(7).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::changes::{Next, change};
use super::exit_now;
use super::init::{Init, Reach, send, timespec};
use super::orphans::end_children;
use super::setup::{File, read_file, remove_cgroup};
use crate::time::{MonoNs, now};

/// The pause between two attempts to remove a cgroup with members, and how many attempts: a second
/// in all, with short pauses first.
const PAUSES_US: [(u64, u32); 2] = [(100, 100), (2_000, 500)];
/// How long what outlives the end of its cgroup is killed one by one.
const ORPHANS_NS: u64 = 5_000_000_000;
/// How long it sleeps for the end of a child before it kills again.
const AGAIN_US: u64 = 10_000;

impl Init<'_> {
    /// Ends what is left, and this process.
    pub(super) fn kill(&self) -> ! {
        self.lifts.iter().copied().for_each(write);
        match self.reach {
            Reach::Tracees(_) => exit_now(0),
            // The kernel does it at the exit.
            Reach::Namespace(_) if self.cgroup.is_none() && self.groups.is_empty() => exit_now(0),
            Reach::Namespace(_) => self.empty_namespace(),
            Reach::Cgroup(kill) => {
                write(kill);
                // All of it are descendants, wherever they have moved.
                end_children(MonoNs(now().0.saturating_add(ORPHANS_NS)));
            }
        }
        self.finish()
    }

    /// Takes the cgroups away, and ends.
    pub(super) fn finish(&self) -> ! {
        if let Some(memory) = self.memory {
            if let Some(count) = number_in(memory.dir, memory.events, b"oom_kill ") {
                self.results.set_oom_kills(count);
            }
            if let Some(bytes) = number_in(memory.dir, memory.peak, b"") {
                self.results.set_memory_peak_bytes(bytes);
            }
        }
        let groups = self.groups.iter().copied();
        for (parent, name) in self.cgroup.into_iter().chain(groups) {
            self.remove(parent, name);
        }
        exit_now(0)
    }

    /// Kills and reaps until no other process is left in the namespace.
    fn empty_namespace(&self) {
        send(-1, libc::SIGKILL);
        loop {
            match change(libc::P_ALL, 0, libc::WNOHANG) {
                Next::Change(..) => {}
                Next::Alone => return,
                Next::None => {
                    self.sleep_for_child();
                    // Before Linux 4.19 a process that was being made might have been missed.
                    send(-1, libc::SIGKILL);
                }
            }
        }
    }

    fn sleep_for_child(&self) {
        let mut fds = [libc::pollfd {
            fd: self.signals,
            events: libc::POLLIN,
            revents: 0,
        }];
        let time = timespec(AGAIN_US * 1_000);
        // SAFETY: the array is writable and as long as it says; the timeout is live.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 1, &time, std::ptr::null()) };
        if ready > 0 {
            let mut room = [0u8; 128 * 4];
            // SAFETY: the buffer is writable and as long as it says. The descriptor never sleeps.
            unsafe { libc::read(self.signals, room.as_mut_ptr().cast(), room.len()) };
        }
    }

    /// Removes a cgroup with what the program has made in it, as deep as that may be.
    fn remove(&self, parent: BorrowedFd<'_>, name: &CStr) {
        for (pause_us, attempts) in PAUSES_US {
            for _ in 0..attempts {
                match remove_cgroup(parent, name) {
                    // A process may leave its cgroup a moment after it can be reaped (Linux 6.19);
                    // one that was being made may have entered it after the others were killed; and
                    // one that has never been of the run may have been moved into it.
                    Err(Errno::EBUSY) => {
                        if let Reach::Cgroup(kill) | Reach::Namespace(Some(kill)) = self.reach {
                            write(kill);
                        }
                        pause(pause_us);
                    }
                    Ok(()) | Err(_) => return,
                }
            }
        }
    }
}

/// Between two attempts at a thing that the kernel tells nobody about.
pub(super) fn pause(us: u64) {
    let time = timespec(us * 1_000);
    // SAFETY: the timeout is live, and there are no descriptors.
    unsafe { libc::ppoll(std::ptr::null_mut(), 0, &time, std::ptr::null()) };
}

/// Writes what is no less needed if it fails: the launcher does it again, or says so.
fn write(file: File<'_>) {
    match file.write() {
        Ok(()) | Err(_) => {}
    }
}

/// The number behind `key` in the first line of a file that begins with it.
fn number_in(dir: BorrowedFd<'_>, path: &CStr, key: &[u8]) -> Option<u64> {
    let mut room = [0u8; 512];
    let read = read_file(dir.as_raw_fd(), path, &mut room).ok()?;
    count_of(room.get(..read)?, key)
}

fn count_of(text: &[u8], key: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let digits = lines.find_map(|line| line.strip_prefix(key))?;
    let digits = digits.iter().map(|byte| char::from(*byte).to_digit(10));
    let mut count = 0u64;
    for digit in digits {
        count = count.checked_mul(10)?.checked_add(u64::from(digit?))?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions() {
        let v2 = b"low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n";
        let v1 = b"oom_kill_disable 0\nunder_oom 0\noom_kill 12\n";
        assert_eq!(count_of(v2, b"oom_kill "), Some(2));
        assert_eq!(count_of(v1, b"oom_kill "), Some(12));
        assert_eq!(count_of(b"oom_kill x\n", b"oom_kill "), None);
        assert_eq!(count_of(b"low 0\n", b"oom_kill "), None);
        assert_eq!(count_of(b"4096\n", b""), Some(4096));
    }
}
