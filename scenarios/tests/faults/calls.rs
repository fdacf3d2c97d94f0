//! The system calls that are made to fail, and their errors: those of their manual pages, and EPERM
//! where a seccomp filter or a security module commonly refuses.
//!
//! Left out, because they cannot fail with any of these: close (the kernel closes in any case; one
//! that did not would be a fault of the test), exit, exit_group, rt_sigreturn, restart_syscall, the
//! ids (getpid, gettid, geteuid ...), clocks and sleeps, waiting for children, futex, lseek, signal
//! actions and masks, sched_getaffinity, uname, brk (it answers the old break; the allocator goes
//! on with mmap, which is in), and fcntl but for new descriptors and seals. What comes before
//! `main` is left out too: the loader and the C library end the process there by themselves.

use nix::errno::Errno::{self, EAGAIN, EMFILE, ENOMEM, ENOSPC, EPERM};
use nix::libc;

/// The name of a system call and the errors that it may answer; nothing for one that is left out.
pub(crate) fn errors(
    number: i64,
    args: [u64; 3],
    nonblocking: impl Fn() -> bool,
) -> Option<(&'static str, &'static [Errno])> {
    let answer: (&str, &[Errno]) = match number {
        libc::SYS_read | libc::SYS_recvfrom | libc::SYS_recvmsg if nonblocking() => {
            ("read", &[EAGAIN, ENOMEM])
        }
        libc::SYS_read => ("read", &[ENOMEM]),
        libc::SYS_pread64 => ("pread64", &[ENOMEM]),
        libc::SYS_recvfrom | libc::SYS_recvmsg => ("recv", &[ENOMEM]),
        libc::SYS_getdents64 => ("getdents64", &[ENOMEM]),
        libc::SYS_statx
        | libc::SYS_newfstatat
        | libc::SYS_fstat
        | libc::SYS_stat
        | libc::SYS_lstat => ("stat", &[ENOMEM]),
        libc::SYS_readlink | libc::SYS_readlinkat => ("readlink", &[ENOMEM]),
        libc::SYS_access | libc::SYS_faccessat | libc::SYS_faccessat2 => ("access", &[ENOMEM]),
        libc::SYS_statfs | libc::SYS_fstatfs => ("statfs", &[ENOMEM]),
        libc::SYS_lgetxattr | libc::SYS_getxattr | libc::SYS_fgetxattr => {
            ("getxattr", &[ENOMEM, EPERM])
        }
        libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 => {
            let flags = if number == libc::SYS_open {
                args[1]
            } else {
                args[2]
            };
            match number != libc::SYS_openat2
                && flags & u64::from(libc::O_CREAT.cast_unsigned()) != 0
            {
                true => ("open", &[EMFILE, ENOMEM, ENOSPC, EPERM]),
                false => ("open", &[EMFILE, ENOMEM, EPERM]),
            }
        }
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => {
            ("write", &[EAGAIN, ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_mkdir | libc::SYS_mkdirat => ("mkdir", &[EAGAIN, ENOMEM, ENOSPC, EPERM]),
        libc::SYS_rmdir | libc::SYS_unlink | libc::SYS_unlinkat => ("unlink", &[ENOMEM, EPERM]),
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => {
            ("rename", &[ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_ftruncate | libc::SYS_fallocate => ("ftruncate", &[ENOMEM, ENOSPC, EPERM]),
        libc::SYS_fsync | libc::SYS_fdatasync => ("fsync", &[ENOSPC]),
        // flock(2): memory is needed for a lock, not for giving it back.
        libc::SYS_flock if args[1] & u64::from(libc::LOCK_UN.cast_unsigned()) != 0 => {
            return None;
        }
        libc::SYS_flock if args[1] & u64::from(libc::LOCK_NB.cast_unsigned()) != 0 => {
            ("flock", &[ENOMEM, EAGAIN])
        }
        libc::SYS_flock => ("flock", &[ENOMEM]),
        libc::SYS_chown | libc::SYS_fchown | libc::SYS_fchownat | libc::SYS_lchown => {
            ("chown", &[ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_chmod | libc::SYS_fchmod | libc::SYS_fchmodat => {
            ("chmod", &[ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_fsopen | libc::SYS_open_tree => ("fsopen", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_fsconfig => ("fsconfig", &[ENOMEM, EPERM]),
        libc::SYS_fsmount => ("fsmount", &[EMFILE, ENOMEM, ENOSPC, EPERM]),
        libc::SYS_mount | libc::SYS_umount2 | libc::SYS_move_mount => {
            ("mount", &[ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_clone | libc::SYS_clone3 | libc::SYS_fork | libc::SYS_vfork => {
            ("clone", &[EAGAIN, EMFILE, ENOMEM, ENOSPC, EPERM])
        }
        libc::SYS_unshare | libc::SYS_setns => ("unshare", &[ENOMEM, ENOSPC, EPERM]),
        libc::SYS_pipe2 | libc::SYS_pipe => ("pipe2", &[EMFILE, ENOMEM]),
        libc::SYS_eventfd2 => ("eventfd2", &[EMFILE, ENOMEM]),
        libc::SYS_memfd_create => ("memfd_create", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_signalfd4 => ("signalfd4", &[EMFILE, ENOMEM]),
        libc::SYS_timerfd_create => ("timerfd_create", &[EMFILE, ENOMEM]),
        libc::SYS_epoll_create1 => ("epoll_create1", &[EMFILE, ENOMEM]),
        libc::SYS_epoll_ctl => ("epoll_ctl", &[ENOMEM, ENOSPC, EPERM]),
        libc::SYS_inotify_init1 => ("inotify_init1", &[EMFILE, ENOMEM]),
        libc::SYS_inotify_add_watch => ("inotify_add_watch", &[ENOMEM, ENOSPC]),
        libc::SYS_fanotify_init => ("fanotify_init", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_fanotify_mark => ("fanotify_mark", &[ENOMEM, ENOSPC, EPERM]),
        libc::SYS_pidfd_open => ("pidfd_open", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 => ("dup", &[EMFILE]),
        libc::SYS_fcntl => match i32::try_from(args[1]).unwrap_or(-1) {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => ("fcntl F_DUPFD", &[EMFILE]),
            libc::F_ADD_SEALS => ("fcntl F_ADD_SEALS", &[EPERM]),
            _ => return None,
        },
        libc::SYS_socket => ("socket", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_bind => ("bind", &[ENOMEM, EPERM]),
        libc::SYS_setsockopt => ("setsockopt", &[ENOMEM, EPERM]),
        libc::SYS_sendto | libc::SYS_sendmsg => ("send", &[EAGAIN, ENOMEM, EPERM]),
        libc::SYS_bpf => ("bpf", &[EAGAIN, EMFILE, ENOMEM, ENOSPC, EPERM]),
        libc::SYS_perf_event_open => ("perf_event_open", &[EMFILE, ENOMEM, ENOSPC, EPERM]),
        libc::SYS_io_uring_setup => ("io_uring_setup", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_io_uring_enter => ("io_uring_enter", &[EAGAIN, ENOMEM]),
        libc::SYS_io_uring_register => ("io_uring_register", &[EMFILE, ENOMEM, EPERM]),
        libc::SYS_ioctl => ("ioctl", &[ENOMEM, EPERM]),
        libc::SYS_mmap => ("mmap", &[EAGAIN, ENOMEM, EPERM]),
        libc::SYS_munmap => ("munmap", &[ENOMEM]),
        libc::SYS_mremap => ("mremap", &[EAGAIN, ENOMEM]),
        libc::SYS_mprotect | libc::SYS_madvise => ("mprotect", &[ENOMEM]),
        libc::SYS_poll | libc::SYS_ppoll | libc::SYS_epoll_pwait | libc::SYS_epoll_wait => {
            ("poll", &[ENOMEM])
        }
        libc::SYS_kill | libc::SYS_tgkill | libc::SYS_pidfd_send_signal => {
            ("kill", &[EAGAIN, EPERM])
        }
        libc::SYS_prctl => ("prctl", &[EPERM]),
        libc::SYS_prlimit64 | libc::SYS_setrlimit => ("prlimit64", &[EPERM]),
        libc::SYS_ptrace => ("ptrace", &[EPERM]),
        libc::SYS_process_mrelease => ("process_mrelease", &[ENOMEM]),
        libc::SYS_sched_setaffinity => ("sched_setaffinity", &[ENOMEM, EPERM]),
        libc::SYS_setsid => ("setsid", &[EPERM]),
        libc::SYS_getrandom if args[2] & u64::from(libc::GRND_NONBLOCK) != 0 => {
            ("getrandom", &[EAGAIN])
        }
        _ => return None,
    };
    Some(answer)
}
