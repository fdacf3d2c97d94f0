//! Which system calls are refused, and why: everything that a program needs no privilege for and
//! that reaches the kernel's rarely used parts, other processes' memory, or more namespaces. What
//! is not named is allowed, up to the last call that this list was written for; later ones are
//! answered as by a kernel without them.
//!
//! Written beside Docker's documented profile ("Seccomp security profiles for Docker"), with what
//! that leaves open: `userfaultfd`, io_uring, address families.

use nix::libc;

use super::options::Preset;

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is made.
    Allow,
    /// This error, always.
    Refuse(i32),
    /// This error if one of these bits is set in an argument.
    RefuseBits { arg: u32, bits: u32, errno: i32 },
    /// This error if an argument is one of these.
    RefuseValues {
        arg: u32,
        values: &'static [u32],
        errno: i32,
    },
    /// This error unless an argument is one of these.
    Only {
        arg: u32,
        values: &'static [u32],
        errno: i32,
    },
    /// `EPERM` if a file is made and gets a set-id bit.
    Create { flags: u32, mode: u32 },
    /// Sockets of these families; of netlink the routing protocol alone.
    Socket(&'static [u32]),
}

/// Calls with one reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Why.
    pub(crate) reason: &'static str,
    /// Names and numbers.
    pub(crate) calls: &'static [(&'static str, libc::c_long)],
}

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// One past the last call that this list knows: `file_setattr` of Linux 6.17.
pub(crate) const END: u32 = 470;

/// Refused in every preset, with `EPERM`.
const ALWAYS: &[Group] = &[
    Group {
        reason: "mounts, and another root",
        calls: calls! {
            SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_fsopen SYS_fsconfig SYS_fsmount
            SYS_fspick SYS_open_tree SYS_move_mount SYS_mount_setattr
        },
    },
    Group {
        reason: "mounts, and another root",
        calls: &[("SYS_open_tree_attr", 467)],
    },
    Group {
        reason: "namespaces of its own, or of others",
        calls: calls! { SYS_setns SYS_unshare },
    },
    Group {
        reason: "large parts of the kernel that few programs need",
        calls: calls! {
            SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter
            SYS_io_uring_register SYS_fanotify_init SYS_fanotify_mark SYS_lookup_dcookie
            SYS_nfsservctl SYS_remap_file_pages
        },
    },
    Group {
        reason: "files by handle, past every directory",
        calls: calls! { SYS_open_by_handle_at },
    },
    Group {
        reason: "keys of the user",
        calls: calls! { SYS_add_key SYS_request_key SYS_keyctl },
    },
    Group {
        reason: "descriptors of other processes",
        calls: calls! { SYS_pidfd_getfd },
    },
    Group {
        reason: "the machine",
        calls: calls! {
            SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module
            SYS_reboot SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_quotactl_fd SYS_syslog
            SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_sethostname SYS_setdomainname
            SYS_vhangup
        },
    },
    Group {
        reason: "where memory lies",
        calls: calls! {
            SYS_mbind SYS_set_mempolicy SYS_get_mempolicy SYS_migrate_pages SYS_move_pages
            SYS_set_mempolicy_home_node
        },
    },
    Group {
        reason: "labels of its own",
        calls: &[("SYS_lsm_set_self_attr", 460)],
    },
];

/// Those that only some machines have.
#[cfg(target_arch = "x86_64")]
const OF_MACHINE: &[Group] = &[Group {
    reason: "relics of i386",
    calls: calls! {
        SYS_iopl SYS_ioperm SYS_modify_ldt SYS_uselib SYS_ustat SYS_sysfs SYS__sysctl
    },
}];
#[cfg(not(target_arch = "x86_64"))]
const OF_MACHINE: &[Group] = &[];

/// Refused unless the preset lets processes trace each other.
const TRACING: &[Group] = &[Group {
    reason: "memory and registers of other processes",
    calls: calls! { SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp },
}];

/// What Landlock does not see, so that it is refused where that is all there is: changes to what
/// describes a file, messages and shared memory, priorities of others, and what tells of others'
/// work.
const UNSEEN_BY_LANDLOCK: &[Group] = &[
    Group {
        reason: "permissions, owners, times and attributes of files",
        calls: calls! {
            SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_utimensat
            SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr
            SYS_fremovexattr
        },
    },
    Group {
        reason: "permissions, owners, times and attributes of files",
        calls: &[
            ("SYS_setxattrat", 463),
            ("SYS_removexattrat", 466),
            ("SYS_file_setattr", 469),
        ],
    },
    Group {
        reason: "messages and shared memory of others",
        calls: calls! {
            SYS_shmget SYS_shmat SYS_shmctl SYS_semget SYS_semctl SYS_semop SYS_semtimedop
            SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink
        },
    },
    Group {
        reason: "priorities of others",
        calls: calls! { SYS_setpriority SYS_ioprio_set },
    },
    Group {
        reason: "what others do to files",
        calls: calls! { SYS_inotify_init1 SYS_inotify_add_watch },
    },
];

#[cfg(target_arch = "x86_64")]
const UNSEEN_OF_MACHINE: &[Group] = &[Group {
    reason: "permissions, owners, times and attributes of files",
    calls: calls! { SYS_chmod SYS_chown SYS_lchown SYS_utime SYS_utimes SYS_futimesat },
}];
#[cfg(not(target_arch = "x86_64"))]
const UNSEEN_OF_MACHINE: &[Group] = &[];

/// What is refused besides where Landlock is all there is.
pub(crate) fn unseen_by_landlock() -> impl Iterator<Item = &'static Group> {
    UNSEEN_BY_LANDLOCK.iter().chain(UNSEEN_OF_MACHINE)
}

/// As [`decisions`] where Landlock is all there is. `network`: the host's is the program's too.
/// Without it there is no socket but a pair: Landlock sees TCP alone, and no path.
pub(crate) fn by_landlock(preset: Preset, network: bool) -> Vec<(libc::c_long, Decision)> {
    let mut all = decisions(preset, false);
    let unseen = unseen_by_landlock().flat_map(|group| group.calls);
    all.extend(unseen.map(|(_, number)| (*number, Decision::Refuse(libc::EPERM))));
    let own = [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ];
    all.extend(own.map(|number| {
        let values = &[0];
        let errno = libc::EPERM;
        (
            number,
            Decision::Only {
                arg: 0,
                values,
                errno,
            },
        )
    }));
    let internet = INTERNET;
    for (number, decision) in &mut all {
        if *number == libc::SYS_socket {
            *decision = Decision::Socket(if network { internet } else { &[] });
        }
    }
    all
}

/// `CLONE_NEW…` of clone(2), where they are all in one word.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// `TIOCSTI` types for the user of the terminal, `TIOCLINUX` pastes, `TIOCSETD` loads line
/// disciplines.
const TERMINAL: &[u32] = &[0x5412, 0x541c, 0x5423];
/// The execution domains that Docker allows; and without randomised addresses, for debuggers.
const PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, u32::MAX, 0x4_0000];
const FAMILIES: &[u32] = &[1, 2, 10, 16];
const LOCAL: &[u32] = &[1];
const INTERNET: &[u32] = &[2, 10, 16];
pub(crate) const SET_ID: u32 = 0o6000;

/// What is refused whatever its arguments, with the reason.
pub(crate) fn refused(preset: Preset) -> impl Iterator<Item = &'static Group> {
    let tracing = if preset == Preset::Build {
        &[]
    } else {
        TRACING
    };
    ALWAYS.iter().chain(OF_MACHINE).chain(tracing)
}

/// The families of sockets that may be made.
pub(crate) fn families(preset: Preset) -> &'static [u32] {
    match preset {
        Preset::Judge => LOCAL,
        Preset::Agent | Preset::Build => FAMILIES,
    }
}

/// What becomes of each call that is not simply allowed. `keeps`: something that is written stays
/// on the host, so no file may get a set-id bit.
pub(crate) fn decisions(preset: Preset, keeps: bool) -> Vec<(libc::c_long, Decision)> {
    let refused = refused(preset).flat_map(|group| group.calls);
    let mut all: Vec<_> = refused
        .map(|(_, number)| (*number, Decision::Refuse(libc::EPERM)))
        .collect();
    all.extend([
        // Its flags are behind a pointer; C libraries then use clone(2).
        (libc::SYS_clone3, Decision::Refuse(libc::ENOSYS)),
        (
            libc::SYS_clone,
            Decision::RefuseBits {
                arg: 0,
                bits: NEW_NAMESPACES,
                errno: libc::EPERM,
            },
        ),
        (
            libc::SYS_ioctl,
            Decision::RefuseValues {
                arg: 1,
                values: TERMINAL,
                errno: libc::EPERM,
            },
        ),
        (
            libc::SYS_personality,
            Decision::Only {
                arg: 0,
                values: PERSONALITIES,
                errno: libc::EPERM,
            },
        ),
        // Its own limits; not those of init, which may have the same user.
        (
            libc::SYS_prlimit64,
            Decision::Only {
                arg: 0,
                values: &[0],
                errno: libc::EPERM,
            },
        ),
        (libc::SYS_socket, Decision::Socket(families(preset))),
        (
            libc::SYS_socketpair,
            Decision::Only {
                arg: 0,
                values: LOCAL,
                errno: libc::EAFNOSUPPORT,
            },
        ),
    ]);
    if keeps {
        all.extend(set_id());
    }
    all
}

/// Set-id bits by any call that gives a file its mode.
fn set_id() -> Vec<(libc::c_long, Decision)> {
    let mode = |number, arg| {
        let decision = Decision::RefuseBits {
            arg,
            bits: SET_ID,
            errno: libc::EPERM,
        };
        (number, decision)
    };
    let mut all = vec![
        mode(libc::SYS_fchmod, 1),
        mode(libc::SYS_fchmodat, 2),
        mode(libc::SYS_fchmodat2, 2),
        mode(libc::SYS_mkdirat, 2),
        mode(libc::SYS_mknodat, 2),
        (libc::SYS_openat, Decision::Create { flags: 2, mode: 3 }),
        // Its mode is behind a pointer; C libraries then use openat(2).
        (libc::SYS_openat2, Decision::Refuse(libc::ENOSYS)),
    ];
    #[cfg(target_arch = "x86_64")]
    all.extend([
        mode(libc::SYS_chmod, 1),
        mode(libc::SYS_creat, 1),
        mode(libc::SYS_mkdir, 1),
        mode(libc::SYS_mknod, 1),
        (libc::SYS_open, Decision::Create { flags: 1, mode: 2 }),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_call_is_decided_once_and_known() {
        for preset in [Preset::Agent, Preset::Judge, Preset::Build] {
            for all in [decisions(preset, true), by_landlock(preset, false)] {
                let numbers: BTreeSet<_> = all.iter().map(|(number, _)| *number).collect();
                assert_eq!(numbers.len(), all.len(), "{preset:?}");
                assert!(numbers.iter().all(|number| *number < END.into()));
            }
        }
    }
}
