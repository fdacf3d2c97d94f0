//! The cgroup of an actor that makes cgroups: a path in a buffer, which can grow without an
//! allocation.

use std::ffi::CStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use allgone::layout::{Layout, Paths};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// `PATH_MAX`.
const CAPACITY: usize = 4096;

/// The directory of this process's cgroup in the v2 hierarchy.
#[derive(Clone, Copy)]
pub(crate) struct OwnCgroup {
    path: [u8; CAPACITY],
    length: usize,
}

impl fmt::Debug for OwnCgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl OwnCgroup {
    /// Asks the kernel. `None`: no v2 hierarchy is mounted, or not the part of it that this process
    /// is in.
    pub(crate) fn find() -> Option<Self> {
        let path = Layout::read(&Paths::default()).ok()?.own_v2().ok()?;
        let mut home = Self {
            path: [0; CAPACITY],
            length: 0,
        };
        home.push(path.as_os_str().as_bytes()).ok()?;
        Some(home)
    }

    /// Makes a cgroup named after `pid` below this one, moves the calling process there, and notes
    /// that as its own cgroup.
    ///
    /// Errors: `EACCES` the cgroup was not delegated, `ENAMETOOLONG`, and as mkdir(2).
    pub(super) fn enter_new(&mut self, pid: i32) -> Result<(), Errno> {
        let length = self.length;
        let moved = self.make_and_move(pid);
        if moved.is_err()
            && let Some(added) = self.path.get_mut(length..self.length)
        {
            added.fill(0);
            self.length = length;
        }
        moved
    }

    fn make_and_move(&mut self, pid: i32) -> Result<(), Errno> {
        self.push(b"/")?;
        let mut digits = [0; 10];
        self.push(decimal(pid.unsigned_abs(), &mut digits))?;
        nix::unistd::mkdir(self.as_c_str()?, Mode::from_bits_truncate(0o755))?;
        let mut procs = *self;
        procs.push(b"/cgroup.procs")?;
        let file = open(
            procs.as_c_str()?,
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        nix::unistd::write(&file, b"0").map(|_| ())
    }

    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        // The last byte stays zero.
        if end >= CAPACITY {
            return Err(Errno::ENAMETOOLONG);
        }
        self.path
            .get_mut(self.length..end)
            .ok_or(Errno::ENAMETOOLONG)?
            .copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.path.get(..self.length).unwrap_or_default()
    }

    fn as_c_str(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_until_nul(&self.path).map_err(|_| Errno::ENAMETOOLONG)
    }
}

/// Writes `number` without allocating.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        // One digit at a time, so the remainder fits.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        first = at;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_up_to_its_end() {
        let mut home = OwnCgroup {
            path: [0; CAPACITY],
            length: 0,
        };
        home.push(b"/x").unwrap();
        assert_eq!(home.as_c_str().unwrap(), c"/x");
        assert_eq!(home.push(&[b'y'; CAPACITY]), Err(Errno::ENAMETOOLONG));
        home.push(&vec![b'y'; CAPACITY - 3]).unwrap();
        assert_eq!(home.push(b"z"), Err(Errno::ENAMETOOLONG));
        assert_eq!(home.as_c_str().unwrap().count_bytes(), CAPACITY - 1);
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }
}
