//! Watch `cgroup.events` with fanotify.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify as Group, InitFlags, MarkFlags, MaskFlags};

use super::common::hinted::{Hinted, Source, Taken};
use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::expect::Scope;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::SpawnOptions;

/// `FAN_MODIFY` on the inode of `cgroup.events`, in a group that reports file handles.
///
/// Without `FAN_REPORT_FID` such a mark is accepted and stays silent: kernfs notifies by inode, and
/// events without a path reach only groups that do not want descriptors (seen on 6.18.44). A mark
/// on the directory or on the file system reports every cgroup.
#[derive(Debug)]
pub(super) struct Fanotify;

static SPEC: DetectorSpec = DetectorSpec {
    id: "fanotify",
    summary: "Marks cgroup.events for FAN_MODIFY (FAN_REPORT_FID) and reads populated after every \
        event.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(4),
    since: KernelVersion(5, 1),
    privilege: "CAP_SYS_ADMIN before 5.13; none since",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "as cgroup-events-inotify: the same delayed notification through the same work item",
    idle_cost: "nothing",
    overflow: "FAN_Q_OVERFLOW is counted, and the state is read again",
    loses_on_removal: false,
    sources: &[
        "fanotify(7)",
        "fanotify_init(2): FAN_REPORT_FID",
        "fs/kernfs/file.c: kernfs_notify_workfn()",
    ],
    axes: &[],
};

/// `FAN_REPORT_FID`, which nix does not name.
const REPORT_FID: InitFlags = InitFlags::from_bits_retain(0x200);

impl Detector for Fanotify {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        probe::in_cgroup(host, |site| match mark(site) {
            Ok(_) => Ok(Support::Available),
            Err(DetectError::Sys(e)) => match e.errno {
                Errno::ENOSYS | Errno::EINVAL => Ok(Support::missing(
                    e,
                    "Linux 5.1 or later with CONFIG_FANOTIFY",
                )),
                Errno::EPERM => Ok(Support::missing(e, "CAP_SYS_ADMIN, or Linux 5.13 or later")),
                Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EXDEV => Ok(Support::missing(
                    e,
                    "a kernel with file handles and a file system id for cgroups",
                )),
                _ => Err(e.into()),
            },
            Err(e) => probe::armed::<()>(Err(e)),
        })
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Hinted::new(
            Marked(mark(set.cgroup())?),
            set.cgroup(),
        )?))
    }
}

fn mark(cgroup: &Cgroup) -> Result<Group, DetectError> {
    let flags =
        InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | REPORT_FID;
    let group = Group::init(flags, EventFFlags::O_RDONLY).map_err(|e| match e {
        Errno::EMFILE => DetectError::Limit {
            limit: "fs.fanotify.max_user_groups",
            value: limit::least(
                "/proc/sys/fs/fanotify/max_user_groups",
                "/proc/sys/user/max_fanotify_groups",
            ),
            errno: e,
            remedy: "raise it with sysctl, or end programs of this user that hold fanotify groups",
        },
        _ => SysError::plain("fanotify_init", e).into(),
    })?;
    group
        .mark(
            MarkFlags::FAN_MARK_ADD,
            MaskFlags::FAN_MODIFY,
            cgroup,
            Some("cgroup.events"),
        )
        .map_err(|e| match e {
            Errno::ENOSPC => DetectError::Limit {
                limit: "fs.fanotify.max_user_marks",
                value: limit::least(
                    "/proc/sys/fs/fanotify/max_user_marks",
                    "/proc/sys/user/max_fanotify_marks",
                ),
                errno: e,
                remedy: "raise it with sysctl, or watch fewer sites",
            },
            _ => SysError::path("fanotify_mark", cgroup.path().join("cgroup.events"), e).into(),
        })?;
    Ok(group)
}

/// A group with its mark.
#[derive(Debug)]
struct Marked(Group);

impl AsFd for Marked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Source for Marked {
    const AHEAD: bool = false;

    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError> {
        let mut buffer = [0u8; 4096];
        match nix::unistd::read(&self.0, &mut buffer) {
            Ok(length) => {
                counters.overflows += overflows(&buffer[..length]);
                Ok(Taken::Hint)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Taken::Nothing),
            Err(e) => Err(limit::descriptor(SysError::plain("read of fanotify", e))),
        }
    }
}

/// How many of the events say that others were lost. An event begins with its length (4 bytes); its
/// mask follows at 8.
fn overflows(mut events: &[u8]) -> u64 {
    const Q_OVERFLOW: u64 = 0x4000;
    let mut lost = 0;
    while let (Some(length), Some(mask)) = (events.first_chunk::<4>(), events.get(8..16)) {
        let mask = u64::from_ne_bytes(mask.try_into().unwrap_or_default());
        lost += u64::from(mask & Q_OVERFLOW != 0);
        match usize::try_from(u32::from_ne_bytes(*length)) {
            Ok(length) if length >= 16 && length <= events.len() => events = &events[length..],
            _ => break,
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflows_are_counted_among_other_events() {
        let event = |mask: u64| {
            let mut bytes = 24u32.to_ne_bytes().to_vec();
            bytes.extend([0; 4]);
            bytes.extend(mask.to_ne_bytes());
            bytes.extend([0; 8]);
            bytes
        };
        let mut buffer = event(2);
        buffer.extend(event(0x4000));
        buffer.extend(event(2));
        assert_eq!(overflows(&buffer), 1);
        assert_eq!(overflows(&[0; 16]), 0, "a length of zero ends it");
    }
}
