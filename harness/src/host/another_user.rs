//! Whether this process can give others an unused user id, and whether that user may execute a
//! program. Both are tried.
//!
//! The root of a user namespace (rootless containers, `unshare -Ur`) has user id 0 and may not be
//! able to change it: the namespace has no other users, or denies `setgroups`. Sources:
//! user_namespaces(7), setresuid(2), setgroups(2).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;

use super::{ProbeError, Support};
use crate::error::{SysError, Target, retry_eintr};
use crate::sys::pidfd;
use crate::sys::spawn::{self, ChildFailure, Credentials, Plan, Step};
use crate::sys::wait::{Whose, waitid};

/// The first of the unused user ids: below the range of systemd's dynamic users, above the usual
/// accounts (systemd, `docs/UIDS-GIDS.md`: 60578 to 61183 are unused).
pub(crate) const UNUSED_UID: u32 = 60_931;

/// Whether processes can be started with a user of their own.
pub(crate) fn probe() -> Result<Support, ProbeError> {
    let euid = nix::unistd::geteuid().as_raw();
    if euid != 0 {
        let why = format!("the effective user is {euid}");
        return Ok(Support::missing(why, "run as root (sudo)"));
    }
    let user = Credentials {
        uid: UNUSED_UID,
        gid: UNUSED_UID,
    };
    let null = File::open("/dev/null")
        .map_err(|e| SysError::io("open", Target::Path("/dev/null".into()), &e))?;
    Ok(match attempt(null.as_fd(), &[], None, Some(user))? {
        Some(ChildFailure {
            step: Step::Credentials,
            errno,
            ..
        }) => Support::missing(
            format_args!(
                "root here cannot become another user ({errno}): {}",
                why_not(user)
            ),
            "run as root of the initial user namespace, or of one with a range of user ids and \
                CAP_SETUID and CAP_SETGID (podman: subuid(5); docker: --cap-add)",
        ),
        // It is not a program, so it gets as far as exec.
        _ => Support::Available,
    })
}

/// What the kernel checks.
fn why_not(user: Credentials) -> String {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    if !maps(&read("uid_map"), user.uid) || !maps(&read("gid_map"), user.gid) {
        format!(
            "this user namespace has no user {} (/proc/self/uid_map, gid_map)",
            user.uid
        )
    } else if read("setgroups").trim() == "deny" {
        "this user namespace denies setgroups (/proc/self/setgroups)".to_owned()
    } else {
        "CAP_SETUID or CAP_SETGID is missing, or a seccomp policy forbids it".to_owned()
    }
}

/// Whether a map of a user namespace has `id` among its inner ids. Each line: first inner id, first
/// outer id, length.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u32> = line
            .split_ascii_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        matches!(numbers[..], [first, _, length] if id >= first && id - first < length)
    })
}

/// Starts `program` as `user`, in `cgroup` if one is given, and ends it as soon as it has exec'd.
/// Returns what failed before that.
pub(crate) fn attempt(
    program: BorrowedFd<'_>,
    argv: &[CString],
    cgroup: Option<BorrowedFd<'_>>,
    user: Option<Credentials>,
) -> Result<Option<ChildFailure>, SysError> {
    let spawned = spawn::spawn(&Plan {
        cgroup,
        credentials: user,
        ..Plan::new(program, argv)
    })
    .map_err(|e| SysError::io("start a process", Target::Nothing, &e))?;
    let failed = |op| move |errno| SysError::pid(op, spawned.pid.as_raw(), errno);
    let mut fds = [PollFd::new(spawned.exec_signal(), PollFlags::POLLIN)];
    let heard = retry_eintr(|| poll(&mut fds, PollTimeout::from(30_000u16)));
    let ended = match pidfd::send_signal(spawned.pidfd.as_fd(), Some(Signal::SIGKILL)) {
        Ok(()) | Err(Errno::ESRCH) => {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
            retry_eintr(|| waitid(Whose::Pidfd(spawned.pidfd.as_fd()), flags)).map(|_| ())
        }
        other => other,
    };
    if heard.map_err(failed("poll"))? == 0 {
        return Err(failed("see an exec")(Errno::ETIMEDOUT));
    }
    ended.map_err(failed("end"))?;
    spawned.failure().map_err(failed("read the spawn report"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_as_the_kernel_writes_it() {
        let whole = "         0          0 4294967295\n";
        assert!(maps(whole, 0) && maps(whole, UNUSED_UID));
        let one = "         0       1000          1\n";
        assert!(maps(one, 0) && !maps(one, UNUSED_UID));
        let range = "0 1000 1\n1 100000 65536\n";
        assert!(maps(range, UNUSED_UID) && !maps(range, 65_537));
        assert!(!maps("", 0));
    }

    #[test]
    fn what_fails_before_an_exec_is_said() {
        let no_program = File::open("/proc/self/status").unwrap();
        let failure = attempt(no_program.as_fd(), &[], None, None)
            .unwrap()
            .unwrap();
        assert_eq!((failure.step, failure.errno), (Step::Exec, Errno::EACCES));
        let program = File::open("/bin/sleep").unwrap();
        let argv = [c"sleep".to_owned(), c"60".to_owned()];
        assert_eq!(attempt(program.as_fd(), &argv, None, None).unwrap(), None);
    }
}
