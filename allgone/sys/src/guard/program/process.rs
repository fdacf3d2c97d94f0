//! System calls on processes and their properties, one a function. As in `call`, what they are
//! given lives for the call, so they are safe.

use core::ffi::CStr;

use super::attr::Attr;
use super::call::{Fd, fd, int};
use super::raw::{Errno, number, syscall};

/// Sets this process's signal mask: rt_sigprocmask(2).
pub(crate) fn signal_mask(mask: u64) -> Result<(), Errno> {
    const SIG_SETMASK: usize = 2;
    let at = core::ptr::from_ref(&mask) as usize;
    // SAFETY: the set is live and has the size that is passed.
    unsafe { syscall(number::RT_SIGPROCMASK, [SIG_SETMASK, at, 0, 8, 0, 0]) }.map(|_| ())
}

/// What a signal does.
pub(crate) enum Disposition {
    /// `SIG_DFL`.
    Default,
    /// This function, which does not return: so it needs no way back.
    Never(extern "C" fn(i32) -> !),
}

/// rt_sigaction(2).
pub(crate) fn on_signal(signal: i32, does: &Disposition) -> Result<(), Errno> {
    const SA_RESTORER: usize = 0x0400_0000;
    let action: [usize; 4] = match does {
        Disposition::Default => [0; 4],
        // x86-64 refuses a handler without a restorer; this one is never reached.
        Disposition::Never(handler) => {
            let at = *handler as *const () as usize;
            [at, SA_RESTORER, at, usize::MAX]
        }
    };
    let at = action.as_ptr() as usize;
    // SAFETY: the structure is live; the handler is a function that does not return.
    unsafe { syscall(number::RT_SIGACTION, [int(signal), at, 0, 8, 0, 0]) }.map(|_| ())
}

/// kill(2).
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: integers.
    unsafe { syscall(number::KILL, [int(pid), int(signal), 0, 0, 0, 0]) }.map(|_| ())
}

/// A descriptor of a process: pidfd_open(2), Linux 5.3. It is closed at exec.
pub(crate) fn open(pid: i32) -> Result<Fd, Errno> {
    // SAFETY: integers.
    unsafe { syscall(number::PIDFD_OPEN, [int(pid), 0, 0, 0, 0, 0]) }.and_then(fd)
}

/// To the process behind a descriptor: pidfd_send_signal(2), Linux 5.1.
pub(crate) fn send(process: Fd, signal: i32) -> Result<(), Errno> {
    let args = [int(process), int(signal), 0, 0, 0, 0];
    // SAFETY: integers, and no `siginfo_t`.
    unsafe { syscall(number::PIDFD_SEND_SIGNAL, args) }.map(|_| ())
}

/// getppid(2).
pub(crate) fn parent() -> i32 {
    // SAFETY: no arguments.
    let pid = unsafe { syscall(number::GETPPID, [0; 6]) };
    pid.and_then(fd).unwrap_or(0)
}

/// getpid(2).
pub(crate) fn own_pid() -> i32 {
    // SAFETY: no arguments.
    let pid = unsafe { syscall(number::GETPID, [0; 6]) };
    pid.and_then(fd).unwrap_or(0)
}

/// Waits for a signal: ppoll(2) of nothing.
pub(crate) fn pause() {
    // SAFETY: no descriptors, no time, no mask.
    match unsafe { syscall(number::PPOLL, [0, 0, 0, 0, 8, 0]) } {
        Ok(_) | Err(_) => {}
    }
}

/// Waits so long, or for a signal: ppoll(2) of nothing.
pub(crate) fn pause_ms(time: u64) {
    let time = [0, time * 1_000_000];
    let at = time.as_ptr() as usize;
    // SAFETY: no descriptors, a live `struct timespec`, no mask.
    match unsafe { syscall(number::PPOLL, [0, 0, at, 0, 8, 0]) } {
        Ok(_) | Err(_) => {}
    }
}

/// prctl(2) with integers.
pub(crate) fn prctl(option: usize, value: usize) -> Result<(), Errno> {
    // SAFETY: the options that are used here take integers.
    unsafe { syscall(number::PRCTL, [option, value, 0, 0, 0, 0]) }.map(|_| ())
}

/// prctl(2) `PR_SET_NAME`.
pub(crate) fn set_name(name: &CStr) {
    const PR_SET_NAME: usize = 15;
    // It only fails for an address that cannot be read.
    match prctl(PR_SET_NAME, name.as_ptr() as usize) {
        Ok(()) | Err(_) => {}
    }
}

/// A process that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_kib: u64,
}

/// Reaps one child of any kind that has ended: waitid(2) with the resource usage that the system
/// call gives. `None`: none has. Errors: `ECHILD` there is none.
#[expect(
    clippy::cast_possible_wrap,
    reason = "fields of siginfo_t are C ints in words"
)]
pub(crate) fn reap() -> Result<Option<Ended>, Errno> {
    const P_ALL: usize = 0;
    const WNOHANG: usize = 1;
    const WEXITED: usize = 4;
    const WALL: usize = 0x4000_0000;
    let mut info = [0u32; 32];
    let mut usage = [0u64; 18];
    let (info_at, usage_at) = (info.as_mut_ptr() as usize, usage.as_mut_ptr() as usize);
    // SAFETY: siginfo_t has 128 bytes, `struct rusage` 144.
    unsafe {
        syscall(
            number::WAITID,
            [P_ALL, 0, info_at, WNOHANG | WEXITED | WALL, usage_at, 0],
        )
    }?;
    let us = |at: usize| {
        usage[at]
            .wrapping_mul(1_000_000)
            .wrapping_add(usage[at + 1])
    };
    Ok(match info[4] as i32 {
        0 => None,
        pid => Some(Ended {
            pid,
            code: info[2] as i32,
            status: info[6] as i32,
            user_us: us(0),
            system_us: us(2),
            peak_kib: usage[4],
        }),
    })
}

/// Waits until a child has ended, and reaps it: waitid(2).
pub(crate) fn wait_for(pid: i32) {
    const P_PID: usize = 1;
    const WEXITED: usize = 4;
    // SAFETY: no structures.
    match unsafe { syscall(number::WAITID, [P_PID, int(pid), 0, WEXITED, 0, 0]) } {
        Ok(_) | Err(_) => {}
    }
}

/// A fork: clone3(2) with a pidfd, into a cgroup. 0 in the child. The copy has its own memory.
pub(crate) fn fork_into(cgroup: Fd) -> Result<(i32, Fd), Errno> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const SIGCHLD: u64 = 17;
    let mut pidfd: Fd = -1;
    let mut args = [0u64; 11];
    args[0] = CLONE_PIDFD | CLONE_INTO_CGROUP;
    args[1] = core::ptr::from_mut(&mut pidfd) as u64;
    args[4] = SIGCHLD;
    args[10] = u64::try_from(cgroup).map_err(|_| Errno::INVAL)?;
    let (at, size) = (args.as_ptr() as usize, size_of_val(&args));
    // SAFETY: the structure is complete; without CLONE_VM the child has a copy of this stack.
    let pid = unsafe { syscall(number::CLONE3, [at, size, 0, 0, 0, 0]) }?;
    Ok((fd(pid)?, pidfd))
}

/// A fork: clone(2), with a pidfd where the kernel has them (5.2). 0 in the child.
pub(crate) fn fork() -> Result<(i32, Fd), Errno> {
    const CLONE_PIDFD: usize = 0x1000;
    const SIGCHLD: usize = 17;
    let mut pidfd: Fd = -1;
    let at = core::ptr::from_mut(&mut pidfd) as usize;
    // SAFETY: no stack and no CLONE_VM: fork(2), which stores a pidfd through its third argument.
    let pid = unsafe { syscall(number::CLONE, [CLONE_PIDFD | SIGCHLD, 0, at, 0, 0, 0]) }?;
    Ok((fd(pid)?, pidfd))
}

/// exit_group(2).
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: an integer.
        let ended = unsafe { syscall(number::EXIT_GROUP, [int(code), 0, 0, 0, 0, 0]) };
        match ended {
            Ok(_) | Err(_) => {}
        }
    }
}

/// setsid(2).
pub(crate) fn new_session() -> Result<(), Errno> {
    // SAFETY: no arguments.
    unsafe { syscall(number::SETSID, [0; 6]) }.map(|_| ())
}

/// setpgid(2) of this process: a group of its own.
pub(crate) fn new_group() -> Result<(), Errno> {
    // SAFETY: integers.
    unsafe { syscall(number::SETPGID, [0; 6]) }.map(|_| ())
}

/// fchdir(2).
pub(crate) fn change_dir(dir: Fd) -> Result<(), Errno> {
    // SAFETY: an integer.
    unsafe { syscall(number::FCHDIR, [int(dir), 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// chdir(2).
pub(crate) fn change_dir_to(path: &CStr) -> Result<(), Errno> {
    let path = path.as_ptr() as usize;
    // SAFETY: the path is live and ends in zero.
    unsafe { syscall(number::CHDIR, [path, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// umask(2), which has no error.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: an integer.
    match unsafe { syscall(number::UMASK, [mask as usize, 0, 0, 0, 0, 0]) } {
        Ok(_) | Err(_) => {}
    }
}

/// How this process is scheduled: sched_getattr(2).
pub(crate) fn scheduling() -> Result<Attr, Errno> {
    let mut found = Attr::room();
    let (at, size) = (core::ptr::from_mut(&mut found) as usize, size_of::<Attr>());
    // SAFETY: room of the size that is passed.
    unsafe { syscall(number::SCHED_GETATTR, [0, at, size, 0, 0, 0]) }?;
    Ok(found)
}

/// Changes that: sched_setattr(2).
pub(crate) fn set_scheduling(new: &Attr) -> Result<(), Errno> {
    let at = core::ptr::from_ref(new) as usize;
    // SAFETY: a live structure of the size that it says.
    unsafe { syscall(number::SCHED_SETATTR, [0, at, 0, 0, 0, 0]) }.map(|_| ())
}

/// `RLIMIT_NOFILE`.
pub(crate) const NOFILE: u64 = 7;

/// prlimit(2) of this process: soft and hard limit, the new ones if there are any. Returns the old.
pub(crate) fn limit(resource: u64, new: Option<[u64; 2]>) -> Result<[u64; 2], Errno> {
    let mut old = [0u64; 2];
    let resource = usize::try_from(resource).map_err(|_| Errno::INVAL)?;
    let new_at = new.as_ref().map_or(0, |new| new.as_ptr() as usize);
    let old_at = old.as_mut_ptr() as usize;
    // SAFETY: `struct rlimit` is two words; the new one is null or live.
    unsafe { syscall(number::PRLIMIT64, [0, resource, new_at, old_at, 0, 0]) }?;
    Ok(old)
}

/// execve(2); returns only if that failed.
///
/// # Safety
///
/// All three are addresses as execve(2) wants them: of a string, and of arrays of strings that end
/// in null.
pub(crate) unsafe fn execute(path: usize, argv: usize, envp: usize) -> Errno {
    // SAFETY: the caller's duty.
    match unsafe { syscall(number::EXECVE, [path, argv, envp, 0, 0, 0]) } {
        Ok(_) => Errno(0),
        Err(errno) => errno,
    }
}

/// execveat(2) of a descriptor; returns only if that failed.
///
/// # Safety
///
/// As [`execute`].
pub(crate) unsafe fn execute_file(file: Fd, argv: usize, envp: usize) -> Errno {
    const AT_EMPTY_PATH: usize = 0x1000;
    let name = c"".as_ptr() as usize;
    // SAFETY: the caller's duty.
    match unsafe {
        syscall(
            number::EXECVEAT,
            [int(file), name, argv, envp, AT_EMPTY_PATH, 0],
        )
    } {
        Ok(_) => Errno(0),
        Err(errno) => errno,
    }
}

/// Another user for good: setgroups(2), setresgid(2), setresuid(2), capset(2), and nothing left in
/// the bounding set. As `privilege::become_user`.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    const PR_CAPBSET_DROP: usize = 24;
    /// `_LINUX_CAPABILITY_VERSION_3`, and this process.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    let (uid, gid) = (uid as usize, gid as usize);
    // One that is that user already might not be allowed to give its groups up.
    let same = ids(number::GETRESUID)? == [uid; 3] && ids(number::GETRESGID)? == [gid; 3];
    if !same {
        // SAFETY: no groups, no list.
        unsafe { syscall(number::SETGROUPS, [0; 6]) }?;
        // SAFETY: integers.
        unsafe { syscall(number::SETRESGID, [gid, gid, gid, 0, 0, 0]) }?;
    }
    for capability in 0..64 {
        // `EINVAL` marks the end of those that the kernel knows, `EPERM` that there are none.
        if prctl(PR_CAPBSET_DROP, capability).is_err() {
            break;
        }
    }
    if !same {
        // SAFETY: integers.
        unsafe { syscall(number::SETRESUID, [uid, uid, uid, 0, 0, 0]) }?;
    }
    let (header, data) = (HEADER.as_ptr() as usize, none.as_ptr() as usize);
    // SAFETY: version 3 reads one header and two data structures of three words.
    unsafe { syscall(number::CAPSET, [header, data, 0, 0, 0, 0]) }.map(|_| ())
}

/// Real, effective and saved: getresuid(2) and getresgid(2).
fn ids(call: usize) -> Result<[usize; 3], Errno> {
    let mut ids = [0u32; 3];
    let at = ids.as_mut_ptr() as usize;
    // SAFETY: three writable ids.
    unsafe { syscall(call, [at, at + 4, at + 8, 0, 0, 0]) }?;
    Ok(ids.map(|id| id as usize))
}

/// prctl(2) `PR_SET_NO_NEW_PRIVS`.
pub(crate) fn no_new_privs() -> Result<(), Errno> {
    const PR_SET_NO_NEW_PRIVS: usize = 38;
    prctl(PR_SET_NO_NEW_PRIVS, 1)
}
