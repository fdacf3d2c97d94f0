//! Machines that lack something, made from this one: by a mount namespace, a limit, another user.

use harness::cgroup::Cgroup;
use harness::host::base::Options;
use harness::host::name::RunName;
use harness::host::{Layout, LimitSource, NoBase, Paths, Refusal, Support, features, look};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

use crate::support::{Outcome, ensure, options, search, text, worker};

/// A user that owns nothing.
const NOBODY: u32 = 61_234;

/// A new mount namespace, so that no mount reaches the machine.
pub(crate) fn private_mounts() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(text)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(text)
}

pub(crate) fn v2_mount() -> Result<std::path::PathBuf, String> {
    let layout = Layout::read(&Paths::default()).map_err(text)?;
    Ok(layout.v2().ok_or("no v2 mount")?.point.clone())
}

pub(crate) fn no_base(options: &Options) -> Result<NoBase, String> {
    match search(options) {
        Err(error) => Ok(error),
        Ok(base) => Err(format!("found {}", base.cgroup().path().display())),
    }
}

pub(crate) fn read_only() -> Outcome {
    worker(|| {
        private_mounts()?;
        let none: Option<&str> = None;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &v2_mount()?, none, flags, none).map_err(text)?;
        let error = no_base(&options())?;
        ensure(
            matches!(error.attempts[0].why, Refusal::ReadOnly(_)),
            || text(&error),
        )?;
        ensure(
            error
                .remedies
                .iter()
                .any(|r| r.contains("remount") || r.contains("--cgroupns")),
            || text(&error),
        )
    })
}

pub(crate) fn no_v2() -> Outcome {
    worker(|| {
        private_mounts()?;
        umount2(&v2_mount()?, MntFlags::MNT_DETACH).map_err(text)?;
        let error = no_base(&options())?;
        ensure(
            error
                .to_string()
                .contains("no cgroup v2 hierarchy is mounted"),
            || text(&error),
        )
    })
}

pub(crate) fn no_pids() -> Outcome {
    worker(|| {
        private_mounts()?;
        let layout = Layout::read(&Paths::default()).map_err(text)?;
        umount2(
            &layout.v1("pids").ok_or("no v1 pids")?.point,
            MntFlags::MNT_DETACH,
        )
        .map_err(text)?;
        let error = no_base(&options())?;
        ensure(
            error
                .attempts
                .iter()
                .any(|a| matches!(a.why, Refusal::NoPids(_))),
            || text(&error),
        )?;
        ensure(error.to_string().contains("CONFIG_CGROUP_PIDS"), || {
            text(&error)
        })?;
        let allowed = Options {
            allow_no_limits: true,
            ..options()
        };
        let base = search(&allowed).map_err(text)?;
        ensure(
            *base.limits() == LimitSource::None && !base.notes().is_empty(),
            || format!("{base:?}"),
        )
    })
}

/// Runs `body` as a user that owns nothing but the new cgroup that is handed to it.
pub(crate) fn as_nobody(body: impl FnOnce(&Cgroup) -> Outcome) -> Outcome {
    let base = search(&options()).map_err(text)?;
    let name = format!("{}.nobody", RunName::own().map_err(text)?);
    let cgroup = base.cgroup().create(&name).map_err(text)?;
    cgroup.delegate(NOBODY, NOBODY).map_err(text)?;
    let outcome = worker(|| {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setresgid(gid, gid, gid).map_err(text)?;
        setresuid(uid, uid, uid).map_err(text)?;
        body(&cgroup)
    });
    base.cgroup().remove_child(&name).map_err(text)?;
    outcome
}

pub(crate) fn processes_exhausted() -> Outcome {
    worker(|| {
        as_nobody(|cgroup| {
            // This worker is the only process of its user.
            setrlimit(Resource::RLIMIT_NPROC, 1, 1).map_err(text)?;
            let error = no_base(&Options {
                cgroup: Some(cgroup.path().to_path_buf()),
                allow_no_limits: true,
                ..options()
            })?;
            let why = &error.attempts[0].why;
            ensure(why.errno() == Some(Errno::EAGAIN), || text(&error))?;
            ensure(
                error.remedies.iter().any(|r| r.contains("ulimit -u")),
                || text(&error),
            )
        })
    })
}

pub(crate) fn inotify_exhausted() -> Outcome {
    use nix::sys::inotify::{InitFlags, Inotify};
    worker(|| {
        as_nobody(|_| {
            let host = look(&Paths::default()).map_err(text)?;
            let mut instances = Vec::new();
            while let Ok(instance) = Inotify::init(InitFlags::IN_CLOEXEC) {
                instances.push(instance);
            }
            let support = features::by_name("inotify")
                .map_err(text)?
                .probe(&host)
                .map_err(text)?;
            let Support::Missing { why, remedy } = support else {
                return Err(format!(
                    "after {} instances there still is one",
                    instances.len()
                ));
            };
            ensure(
                why.contains("EMFILE") && remedy.contains("max_user_instances"),
                || format!("{why}; {remedy}"),
            )
        })
    })
}
