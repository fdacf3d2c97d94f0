//! A user of its own for each run: `--user-range`.
//!
//! One number of the range is taken by an exclusive lock on a byte of one file, which launcher and
//! init hold open. It is free again when the end is proved, or when both are gone: init is the last
//! process of a run. A number that a process has nevertheless is not taken. Sources: fcntl(2)
//! `F_OFD_SETLK`, getpriority(2) `PRIO_USER`, and for the ranges
//! <https://systemd.io/UIDS-GIDS/>.
//!
//! What a run leaves in files, keyrings or System V objects belongs to the number and not to the
//! run. A number is taken again as late as possible: the search begins at a place of its own.

use std::fs::{self, File, OpenOptions};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use allgone::sys::privilege;
use allgone::sys::spawn::Credentials;
use allgone::sys::time::now;
use allgone::{SysError, Target};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::duration::parse_count;
use crate::error::RunError;

/// Where the locks are.
const LOCKS: &str = "/run/allgone-users";

/// Numbers that nothing else uses, by the table that systemd publishes: above its containers.
const AUTO: RangeInclusive<u32> = 1_900_000_000..=1_900_009_999;

/// Numbers that belong to something, with what that is.
const TAKEN: [(RangeInclusive<u32>, &str); 4] = [
    (0..=0, "root"),
    (61_184..=65_519, "systemd's DynamicUser="),
    (65_534..=65_535, "nobody"),
    (u32::MAX..=u32::MAX, "no user"),
];

/// Tables of users and groups, and in which column their numbers are. In the last two it is the
/// first of a range, and its length is in the next column.
const TABLES: [(&str, usize); 4] = [
    ("/etc/passwd", 2),
    ("/etc/group", 2),
    ("/etc/subuid", 1),
    ("/etc/subgid", 1),
];

/// A number that is this run's until it is released or the last copy of this is closed.
#[derive(Debug)]
pub(crate) struct Held {
    /// User and group, of the same number.
    pub(crate) user: Credentials,
    /// The lock.
    pub(crate) lock: File,
}

impl Held {
    /// Gives the number back, of which no process is left.
    pub(crate) fn release(&self) -> Result<(), SysError> {
        lock(&self.lock, self.user.uid, libc::F_UNLCK).map(|_| ())
    }
}

/// Reads `FIRST-LAST` or `auto`.
pub(crate) fn parse(text: &str) -> Option<RangeInclusive<u32>> {
    if text == "auto" {
        return Some(AUTO);
    }
    let (first, last) = text.split_once('-')?;
    let number = |text| u32::try_from(parse_count(text)?).ok();
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

/// `UID` or `UID:GID`; the group's number is the user's if there is none.
pub(crate) fn parse_user(text: &str) -> Option<Credentials> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let id = |text| u32::try_from(parse_count(text)?).ok();
    let (uid, gid) = (id(uid)?, id(gid)?);
    // The last number means "no change" to the kernel.
    (uid != u32::MAX && gid != u32::MAX).then_some(Credentials { uid, gid })
}

/// Takes a number of the range. Errors: the range has one that belongs to something else; all are
/// in use; the caller is not root.
pub(crate) fn hold(range: &RangeInclusive<u32>) -> Result<Held, RunError> {
    let refused = |why| RunError::UserRange(why);
    if !nix::unistd::geteuid().is_root() {
        return Err(refused("only root can become another user".to_owned()));
    }
    if let Some(why) = belongs(range, |path| fs::read_to_string(path)) {
        return Err(refused(why));
    }
    let path = Path::new(LOCKS);
    // Not a link that someone has put there; and another user's lock would keep numbers for ever.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| SysError::io("open", Target::Path(path.to_owned()), &e))?;
    let (first, last) = (u64::from(*range.start()), u64::from(*range.end()));
    let count = last - first + 1;
    // Nanoseconds are as good as chance here.
    let begin = now().0 % count;
    for offset in (begin..count).chain(0..begin) {
        let Ok(uid) = u32::try_from(first + offset) else {
            continue;
        };
        if !lock(&file, uid, libc::F_WRLCK)? {
            continue;
        }
        match privilege::is_in_use(uid) {
            Ok(false) => {
                let user = Credentials { uid, gid: uid };
                return Ok(Held { user, lock: file });
            }
            Ok(true) => {
                lock(&file, uid, libc::F_UNLCK)?;
            }
            Err(e) => return Err(SysError::plain("getpriority", e).into()),
        }
    }
    let why = format!("every number of {first}-{last} is in use");
    Err(refused(why))
}

/// Locks or unlocks the byte of a number. `false`: another open file has it.
fn lock(file: &File, uid: u32, kind: libc::c_int) -> Result<bool, SysError> {
    let failed = |errno| SysError::path("lock", LOCKS, errno);
    let lock = libc::flock {
        l_type: libc::c_short::try_from(kind).map_err(|_| failed(Errno::EINVAL))?,
        l_whence: 0,
        l_start: libc::off_t::from(uid),
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(failed(errno)),
    }
}

/// What a number of the range belongs to. A table that is not there has none; one that cannot be
/// read could have any.
fn belongs(
    range: &RangeInclusive<u32>,
    read: impl Fn(&str) -> std::io::Result<String>,
) -> Option<String> {
    let meets = |first: u64, last: u64| {
        first <= u64::from(*range.end()) && u64::from(*range.start()) <= last
    };
    for (taken, whose) in TAKEN {
        if meets((*taken.start()).into(), (*taken.end()).into()) {
            let (first, last) = taken.into_inner();
            return Some(format!("{first}-{last} of it is {whose}"));
        }
    }
    for (path, column) in TABLES {
        let text = match read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Some(format!("could not read {path}: {e}")),
        };
        for line in text.lines() {
            let mut columns = line.split(':').skip(column);
            let Some(first) = columns.next().and_then(parse_count) else {
                continue;
            };
            let length = match column {
                1 => columns.next().and_then(parse_count).unwrap_or(1),
                _ => 1,
            };
            if meets(first, first.saturating_add(length.saturating_sub(1))) {
                return Some(format!("{path} has {line:?}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse("auto"), Some(AUTO));
        assert_eq!(parse("5000-5009"), Some(5_000..=5_009));
        for text in ["", "5000", "5009-5000", "-5", "5-x", "5-4294967296"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_that_belongs_to_something_is_found() {
        let tables = |path: &str| match path {
            "/etc/passwd" => Ok("root:x:0:0::/:\nme:x:7000:7000::/:\n".to_owned()),
            "/etc/subuid" => Ok("me:100000:65536\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        for (range, whose) in [
            (0..=5, "root"),
            (60_000..=61_184, "DynamicUser"),
            (65_519..=65_520, "DynamicUser"),
            (u32::MAX - 1..=u32::MAX, "no user"),
            (6_999..=7_001, "me:x:7000"),
            (165_535..=165_535, "me:100000"),
        ] {
            let why = belongs(&range, tables).unwrap_or_default();
            assert!(why.contains(whose), "{range:?}: {why}");
        }
        for range in [AUTO, 7_001..=7_005, 165_536..=170_000] {
            assert_eq!(belongs(&range, tables), None, "{range:?}");
        }
        let denied = |_: &str| Err(std::io::ErrorKind::PermissionDenied.into());
        assert!(belongs(&AUTO, denied).is_some());
    }
}
