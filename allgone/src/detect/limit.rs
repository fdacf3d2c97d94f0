//! Limits of the machine, told apart from other errors and named with their remedy.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use crate::detect::DetectError;
use crate::error::SysError;

fn descriptors() -> DetectError {
    DetectError::Limit {
        limit: "RLIMIT_NOFILE",
        value: getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(soft, _)| soft),
        errno: Errno::EMFILE,
        remedy: "raise it (ulimit -n), or watch fewer sites: one descriptor per site is needed",
    }
}

/// The least of a limit that is kept for a user and for a user namespace, of those that can be
/// read.
pub fn least(of_user: &str, of_namespace: &str) -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    [of_user, of_namespace].into_iter().filter_map(read).min()
}

/// Whether this process has no descriptor number left.
fn no_descriptor_left() -> bool {
    matches!(nix::unistd::dup(std::io::stderr()), Err(Errno::EMFILE))
}

/// The error behind a failed `inotify_init1(2)`: `EMFILE` means either of two limits.
pub fn inotify_init(errno: Errno) -> DetectError {
    match errno {
        Errno::EMFILE if no_descriptor_left() => descriptors(),
        Errno::EMFILE => DetectError::Limit {
            limit: "fs.inotify.max_user_instances",
            value: least(
                "/proc/sys/fs/inotify/max_user_instances",
                "/proc/sys/user/max_inotify_instances",
            ),
            errno,
            remedy: "raise it with sysctl (in a user namespace: user.max_inotify_instances), or \
                end programs of this user that hold inotify instances",
        },
        _ => SysError::plain("inotify_init1", errno).into(),
    }
}

/// The error behind a failed `inotify_add_watch(2)`.
pub fn inotify_watch(path: &std::path::Path, errno: Errno) -> DetectError {
    match errno {
        Errno::ENOSPC => DetectError::Limit {
            limit: "fs.inotify.max_user_watches",
            value: least(
                "/proc/sys/fs/inotify/max_user_watches",
                "/proc/sys/user/max_inotify_watches",
            ),
            errno,
            remedy: "raise it with sysctl (in a user namespace: user.max_inotify_watches), or \
                watch fewer sites",
        },
        _ => SysError::path("watch", path, errno).into(),
    }
}

/// The error behind any call that makes a descriptor.
pub fn descriptor(error: impl Into<DetectError>) -> DetectError {
    let error = error.into();
    let errno = match &error {
        DetectError::Sys(e) => Some(e.errno),
        DetectError::Cgroup(e) => e.errno(),
        DetectError::Limit { .. } | DetectError::Verifier { .. } => None,
    };
    if errno == Some(Errno::EMFILE) {
        descriptors()
    } else {
        error
    }
}

/// The errno inside an error of std.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_meanings_of_emfile_are_told_apart() {
        // This process has descriptors left, so EMFILE can only be the limit on instances.
        let DetectError::Limit { limit, .. } = inotify_init(Errno::EMFILE) else {
            panic!("a limit")
        };
        assert_eq!(limit, "fs.inotify.max_user_instances");
        let DetectError::Limit { limit, .. } = descriptor(SysError::plain("open", Errno::EMFILE))
        else {
            panic!("a limit")
        };
        assert_eq!(limit, "RLIMIT_NOFILE");
        assert!(matches!(inotify_init(Errno::ENOMEM), DetectError::Sys(_)));
        let watch = inotify_watch(std::path::Path::new("/x"), Errno::ENOSPC);
        assert!(watch.to_string().contains("max_user_watches"), "{watch}");
    }
}
