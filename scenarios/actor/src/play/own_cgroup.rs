//! The cgroup of an actor that makes cgroups: a path in a buffer, which can grow without an
//! allocation.

use std::ffi::CStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use allgone::layout::{Layout, Paths};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::UnlinkatFlags;

use super::cgroup::persist;

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
        let below = self.copy_below(pid)?;
        persist(|| {
            below.make_here()?;
            below.write(b"/cgroup.procs", b"0")
        })?;
        *self = below;
        Ok(())
    }

    /// The path of a cgroup below this one.
    pub(super) fn copy_below(&self, name: i32) -> Result<Self, Errno> {
        let mut below = *self;
        below.push(b"/")?;
        below.push(decimal(name.unsigned_abs(), &mut [0; 10]))?;
        Ok(below)
    }

    /// Makes the cgroup with this path, unless it is there.
    pub(super) fn make_here(&self) -> Result<(), Errno> {
        match nix::unistd::mkdir(self.as_c_str()?, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes the cgroup with this path.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        nix::unistd::unlinkat(AT_FDCWD, self.as_c_str()?, UnlinkatFlags::RemoveDir)
    }

    /// Writes to a file of this cgroup; `file` begins with a slash.
    pub(super) fn write(&self, file: &[u8], value: &[u8]) -> Result<(), Errno> {
        let mut path = *self;
        path.push(file)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = open(path.as_c_str()?, flags, Mode::empty())?;
        nix::unistd::write(&file, value).map(|_| ())
    }

    /// Reads a file of this cgroup, as much as there is place for.
    pub(super) fn read(&self, file: &[u8], into: &mut [u8]) -> Result<usize, Errno> {
        let mut path = *self;
        path.push(file)?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = open(path.as_c_str()?, flags, Mode::empty())?;
        nix::unistd::read(&file, into)
    }

    /// Sets the permissions of a file of this cgroup, or of its directory if the name is empty.
    pub(super) fn set_mode(&self, file: &[u8], mode: u32) -> Result<(), Errno> {
        let mut path = *self;
        path.push(file)?;
        let mode = Mode::from_bits_truncate(mode);
        fchmodat(
            AT_FDCWD,
            path.as_c_str()?,
            mode,
            FchmodatFlags::FollowSymlink,
        )
    }

    /// Goes to the cgroup above; false: there is none.
    pub(super) fn ascend(&mut self) -> bool {
        let slash = self.as_bytes().iter().rposition(|byte| *byte == b'/');
        let Some(slash @ 1..) = slash else {
            return false;
        };
        if let Some(tail) = self.path.get_mut(slash..self.length) {
            tail.fill(0);
        }
        self.length = slash;
        true
    }

    pub(super) fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
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

    pub(super) fn as_c_str(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_until_nul(&self.path).map_err(|_| Errno::ENAMETOOLONG)
    }
}

/// Writes `number` without allocating.
pub(super) fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
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
    fn a_path_leads_up_to_the_root() {
        let mut home = OwnCgroup {
            path: [0; CAPACITY],
            length: 0,
        };
        home.push(b"/x").unwrap();
        let mut below = home.copy_below(12).unwrap();
        assert_eq!(below.as_c_str().unwrap(), c"/x/12");
        assert!(below.ascend());
        assert_eq!(below.as_c_str().unwrap(), c"/x");
        assert!(!below.ascend());
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }
}
