//! What can be done with processes.

use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::prctl;

use super::{SECCOMP, answer, missing};
use crate::host::{Host, ProbeError, Support, another_user};
use allgone::probe::Subject;

/// Feature `inotify`: `EMFILE` is the limit of instances of this user, or the limit of descriptors.
pub(in crate::host) fn inotify(_: &Host) -> Result<Support, ProbeError> {
    let known = [
        (
            Errno::EMFILE,
            "raise fs.inotify.max_user_instances (sysctl, root), or RLIMIT_NOFILE (ulimit -n)",
        ),
        (Errno::ENFILE, "raise fs.file-max (sysctl, root)"),
        (Errno::ENOSYS, "a kernel with CONFIG_INOTIFY_USER"),
        (Errno::EPERM, SECCOMP),
    ];
    answer(
        "inotify_init1",
        Inotify::init(InitFlags::IN_CLOEXEC),
        &known,
    )
}

/// Feature `subreaper`. The attribute is put back as it was.
pub(in crate::host) fn subreaper(_: &Host) -> Result<Support, ProbeError> {
    let tried = prctl::get_child_subreaper().and_then(|before| {
        prctl::set_child_subreaper(true)?;
        prctl::set_child_subreaper(before)
    });
    answer(
        "prctl(PR_SET_CHILD_SUBREAPER)",
        tried,
        &[(Errno::EINVAL, "Linux 3.4"), (Errno::EPERM, SECCOMP)],
    )
}

/// Feature `root`: actors can be given a user of their own, and be ended.
pub(in crate::host) fn root(host: &Host) -> Result<Support, ProbeError> {
    match another_user::probe()? {
        Support::Available if !host.capabilities.has("KILL") => Ok(Support::missing(
            "root without CAP_KILL",
            "keep this capability (docker: --cap-add)",
        )),
        other => Ok(other),
    }
}

const CLONE_NEWUSER: u64 = 0x1000_0000;

/// Feature `userns`.
pub(in crate::host) fn user_namespace(_: &Host) -> Result<Support, ProbeError> {
    namespace(
        CLONE_NEWUSER,
        "allow user namespaces: sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone \
            and kernel.apparmor_restrict_unprivileged_userns; CONFIG_USER_NS",
    )
}

/// Feature `pid-namespace`.
pub(in crate::host) fn pid_namespace(_: &Host) -> Result<Support, ProbeError> {
    namespace(
        crate::sys::spawn::CLONE_NEWPID,
        "run as root with CAP_SYS_ADMIN, or make a user namespace first",
    )
}

fn namespace(flag: u64, remedy: &str) -> Result<Support, ProbeError> {
    let tried = Subject::start(None, flag, false).and_then(Subject::end);
    Ok(match tried {
        Ok(_) => Support::Available,
        Err(refusal) => missing(&refusal, remedy),
    })
}
