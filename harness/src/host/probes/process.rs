//! What can be done with processes.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::{SECCOMP, answer, missing};
use crate::error::SysError;
use crate::host::{Host, LimitSource, ProbeError, Support, another_user, scratch};
use crate::sys::ipc::Kind;
use crate::sys::uffd::MissingPage;
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

/// Feature `realtime`. The priority is given back.
pub(in crate::host) fn realtime(_: &Host) -> Result<Support, ProbeError> {
    let known = [(
        Errno::EPERM,
        "run as root with CAP_SYS_NICE, and outside of v1 cpu cgroups without real-time bandwidth \
            (cpu.rt_runtime_us, CONFIG_RT_GROUP_SCHED)",
    )];
    answer(
        "sched_setscheduler(SCHED_FIFO)",
        crate::sys::probe::realtime(),
        &known,
    )
}

/// Feature `userfaultfd`.
pub(in crate::host) fn userfaultfd(_: &Host) -> Result<Support, ProbeError> {
    let known = [
        (
            Errno::EPERM,
            "run as root with CAP_SYS_PTRACE, and a seccomp policy that allows userfaultfd",
        ),
        (Errno::ENOSYS, "a kernel with CONFIG_USERFAULTFD"),
    ];
    answer("userfaultfd", MissingPage::new(), &known)
}

/// Feature `kernel-objects`: makes one of each kind, and removes it.
pub(in crate::host) fn kernel_objects(_: &Host) -> Result<Support, ProbeError> {
    let known = [
        (
            Errno::ENOSYS,
            "a kernel with CONFIG_SYSVIPC and CONFIG_POSIX_MQUEUE",
        ),
        (
            Errno::ENOSPC,
            "raise the limits kernel.shmmni, kernel.sem, kernel.msgmni (sysctl), or remove what \
                is not needed (ipcs(1), ipcrm(1))",
        ),
        (Errno::EMFILE, "raise RLIMIT_MSGQUEUE"),
    ];
    let tag = crate::sys::time::now().0.to_le_bytes();
    let tag = 0x7072_0000 | u32::from(tag[1]) << 8 | u32::from(tag[2]);
    for kind in Kind::ALL {
        let tried = kind.make(tag).and_then(|()| kind.remove(tag));
        let support = answer(kind.name(), tried, &known)?;
        if !support.is_available() {
            return Ok(support);
        }
    }
    Ok(Support::Available)
}

/// Feature `cpu-limit`: the search has found the controller, or has not.
pub(in crate::host) fn cpu_limit(host: &Host) -> Result<Support, ProbeError> {
    let limits = host.base.as_ref().map(|base| base.limits());
    Ok(match limits {
        Some(LimitSource::V2 { cpu: true, .. } | LimitSource::V1 { cpu: Some(_), .. }) => {
            Support::Available
        }
        _ => Support::missing(
            "the base has no cpu controller",
            "enable the cpu controller for the base, or run as root with the v1 cpu hierarchy",
        ),
    })
}

/// Feature `setuid-file`.
pub(in crate::host) fn setuid_file(host: &Host) -> Result<Support, ProbeError> {
    match root(host)? {
        Support::Available => {}
        missing => return Ok(missing),
    }
    let failed = |errno| SysError::path("statvfs", scratch::PARENT, errno);
    let flags = statvfs(scratch::PARENT).map_err(failed)?.flags();
    if flags.contains(FsFlags::ST_NOSUID) {
        return Ok(Support::missing(
            format_args!("{} is mounted with nosuid", scratch::PARENT),
            "mount it without nosuid",
        ));
    }
    let made = nix::fcntl::open(
        scratch::PARENT,
        OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC,
        Mode::from_bits_truncate(0o600),
    );
    let known = [
        (Errno::EOPNOTSUPP, "a file system with O_TMPFILE for /tmp"),
        (
            Errno::EROFS,
            "a file system for /tmp that can be written to",
        ),
    ];
    answer("open(O_TMPFILE)", made, &known)
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
