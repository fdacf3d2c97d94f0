//! Giving up privileges, for adversaries that must not be root.

use nix::errno::Errno;

use crate::check;

/// User and group that the child becomes, with no supplementary groups, no capabilities and
/// `no_new_privs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
}

/// Drops every capability from the bounding, ambient, inheritable, permitted and effective sets.
/// Allocates nothing.
///
/// Without `CAP_SETPCAP` the bounding set stays as it is, which is fine when the permitted set is
/// empty anyway, so it is not an error here; [`clear_capabilities`] decides.
pub fn drop_capabilities() -> Result<(), Errno> {
    match empty_bounding_set() {
        Ok(()) | Err(_) => {}
    }
    clear_capabilities()
}

/// Drops every capability from the bounding set, and so from what an exec can ever give, and from
/// the ambient set. Allocates nothing.
///
/// Sources: prctl(2) `PR_CAPBSET_DROP`, `PR_CAP_AMBIENT`. Errors: `EPERM` without `CAP_SETPCAP`.
pub fn empty_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes integers only.
        let ret = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match check(libc::c_long::from(ret)) {
            Ok(_) => {}
            // The end of those that the kernel knows.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: PR_CAP_AMBIENT takes integers only.
    let ret = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) };
    check(libc::c_long::from(ret)).map(|_| ())
}

/// Empties the inheritable, permitted and effective sets (capset(2)). Allocates nothing.
pub fn clear_capabilities() -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;

    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let data = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: version 3 reads one header and two data structures, both live for the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) };
    check(ret).map(|_| ())
}

/// Takes another user's ids, real, effective and saved, and no supplementary group. Allocates
/// nothing.
///
/// Affects the calling thread only (the system calls themselves, not glibc's process-wide
/// wrappers): for processes with one thread. Sources: setgroups(2), setresgid(2), setresuid(2).
/// Needs `CAP_SETUID` and `CAP_SETGID`. Errors: `EINVAL` an id that the user namespace lacks.
fn change_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: integers and one null pointer with count 0.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0usize, 0usize) })?;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(|_| ())
}

/// Becomes another user for good: no supplementary groups, no capabilities, `no_new_privs`.
/// Allocates nothing. A process that is that user already keeps its supplementary groups, because
/// it might not be allowed to give them up (a user namespace with `setgroups` denied), and loses
/// the rest.
///
/// Affects the calling thread only: for processes with one thread. Sources: setgroups(2),
/// setresuid(2), prctl(2) `PR_SET_NO_NEW_PRIVS`. Needs `CAP_SETUID` and `CAP_SETGID`.
pub fn become_user(credentials: Credentials) -> Result<(), Errno> {
    take_user(credentials)?;
    no_new_privs()
}

/// As [`become_user`], without `no_new_privs`: a set-user-ID program that is executed later gets
/// its user, and no capability that is left out here.
pub fn take_user(credentials: Credentials) -> Result<(), Errno> {
    let Credentials { uid, gid } = credentials;
    if !is(credentials)? {
        change_ids(uid, gid)?;
    }
    drop_capabilities()
}

/// From now on no exec gives this thread privileges (prctl(2) `PR_SET_NO_NEW_PRIVS`). Cannot be
/// taken back. Async-signal-safe.
pub fn no_new_privs() -> Result<(), Errno> {
    // SAFETY: integers only.
    let ret = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(libc::c_long::from(ret)).map(|_| ())
}

/// Whether a process whose real user this is can be seen from here; zombies count.
///
/// Source: getpriority(2) `PRIO_USER`, kernel/sys.c: `ESRCH` if there is none in this PID namespace
/// or below. A process that has the number as another of its ids got it by a file's set-user-id
/// bit, or from root.
pub fn is_in_use(uid: u32) -> Result<bool, Errno> {
    // SAFETY: integers. The system call itself returns 20 minus the value, never a negative one.
    match check(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_USER, uid) }) {
        Ok(_) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether real, effective and saved ids are all these.
fn is(Credentials { uid, gid }: Credentials) -> Result<bool, Errno> {
    let (users, groups) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
    let users = [users.real, users.effective, users.saved];
    let groups = [groups.real, groups.effective, groups.saved];
    Ok(users.iter().all(|id| id.as_raw() == uid) && groups.iter().all(|id| id.as_raw() == gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_is_in_use() {
        assert_eq!(is_in_use(nix::unistd::getuid().as_raw()), Ok(true));
        assert_eq!(is_in_use(1_999_999_999), Ok(false));
    }
}
