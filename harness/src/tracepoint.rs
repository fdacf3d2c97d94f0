//! Tracepoints by name: their numbers from tracefs, and the online processors.
//!
//! tracefs is mounted only while a number is read, on no directory. Privilege: `CAP_SYS_ADMIN`.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{SysError, Target};
use crate::sys::mount;

/// A tracefs of one's own.
#[derive(Debug)]
pub(crate) struct Tracefs(OwnedFd);

impl Tracefs {
    /// Mounts it. Errors: `EPERM`, `ENODEV` a kernel without tracefs.
    pub(crate) fn mount() -> Result<Self, SysError> {
        let root =
            mount::detached(c"tracefs", &[]).map_err(|e| SysError::plain("mount tracefs", e))?;
        Ok(Self(root))
    }

    /// The number of the tracepoint `name`, such as `sched/sched_waking`. Errors: `ENOENT` this
    /// kernel does not have it.
    pub(crate) fn number(&self, name: &str) -> Result<u64, SysError> {
        let path = format!("/proc/self/fd/{}/events/{name}/id", self.0.as_raw_fd());
        let text = std::fs::read_to_string(&path).map_err(|e| {
            SysError::io(
                "read the number of the tracepoint",
                Target::Path(name.into()),
                &e,
            )
        })?;
        text.trim()
            .parse()
            .map_err(|_| SysError::path("understand", path, Errno::EINVAL))
    }
}

/// Processors that are online.
pub(crate) fn online_cpus() -> Result<Vec<i32>, SysError> {
    let source = "/sys/devices/system/cpu/online";
    let list = std::fs::read_to_string(source)
        .map_err(|e| SysError::io("read", Target::Path(source.into()), &e))?;
    cpus(&list).ok_or_else(|| SysError::path("understand", source, Errno::EINVAL))
}

/// Reads a list such as `0-3,8`.
fn cpus(list: &str) -> Option<Vec<i32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        match part.split_once('-') {
            Some((first, last)) => all.extend(first.parse::<i32>().ok()?..=last.parse().ok()?),
            None => all.push(part.parse().ok()?),
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_understood() {
        assert_eq!(cpus("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpus("0\n"), Some(vec![0]));
        assert_eq!(cpus(""), None);
        assert_eq!(cpus("0-x"), None);
    }
}
