//! Where an actor that burrows lives: a path in a buffer, so that it can grow without memory being allocated.

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// `PATH_MAX`.
const CAPACITY: usize = 4096;

/// The directory of this process's cgroup in the v2 hierarchy.
#[derive(Clone, Copy)]
pub(super) struct Home {
    path: [u8; CAPACITY],
    length: usize,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Home {
    /// Asks the kernel. `None`: no v2 hierarchy is mounted, or not the part of it that this process is in.
    pub(super) fn find() -> Option<Self> {
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let path = directory(&cgroup, &mounts)?;
        let mut home = Self {
            path: [0; CAPACITY],
            length: 0,
        };
        home.push(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
            .ok()?;
        Some(home)
    }

    /// Makes a cgroup named after `pid` below this one, moves the calling process there, and calls that its home.
    ///
    /// Errors: `EACCES` the cgroup was not delegated, `ENAMETOOLONG`, and as mkdir(2).
    pub(super) fn burrow(&mut self, pid: i32) -> Result<(), Errno> {
        self.push(b"/")?;
        let mut digits = [0; 10];
        self.push(decimal(pid.unsigned_abs(), &mut digits))?;
        nix::unistd::mkdir(self.as_c_str()?, Mode::from_bits_truncate(0o755))?;
        let mut procs = *self;
        procs.push(b"/cgroup.procs")?;
        let file = open(procs.as_c_str()?, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
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

/// Joins what `/proc/self/cgroup` and `/proc/self/mountinfo` say. Sources: cgroups(7), proc_pid_mountinfo(5).
fn directory(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let below = own.strip_prefix(root).ok()?;
        (filesystem.split(' ').next() == Some("cgroup2")).then(|| Path::new(&point).join(below))
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
                          31 25 0:27 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids\n";

    #[test]
    fn the_directory_is_mount_point_and_path() {
        let own = "12:pids:/p\n0::/run/trial/site\n";
        assert_eq!(
            directory(own, HYBRID),
            Some("/sys/fs/cgroup/unified/run/trial/site".into())
        );
        assert_eq!(directory("12:pids:/p\n", HYBRID), None);
        assert_eq!(
            directory(own, "31 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"),
            None
        );
        let container = "30 25 0:26 /run/trial /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(directory(own, container), Some("/sys/fs/my cgroup/site".into()));
        assert_eq!(directory("0::/elsewhere\n", container), None);
    }

    #[test]
    fn a_path_grows_up_to_its_end() {
        let mut home = Home {
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
