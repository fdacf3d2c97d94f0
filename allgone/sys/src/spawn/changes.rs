//! What has become of children and tracees, one after the other.
//!
//! Async-signal-safe. Source: waitid(2).

use nix::errno::Errno;

use crate::check;

/// The next change of a child.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Number, code and status.
    Change(libc::pid_t, libc::c_int, libc::c_int),
    /// None yet, with `WNOHANG`; or it could not be asked for.
    None,
    /// There is no such child any more.
    Alone,
}

pub(super) fn ended(code: libc::c_int) -> bool {
    matches!(code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED)
}

/// Any change of these children.
pub(super) fn change(kind: libc::idtype_t, pid: libc::pid_t, flags: libc::c_int) -> Next {
    // SAFETY: all zeros is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = flags | libc::WEXITED | libc::__WALL;
    let id = libc::id_t::try_from(pid).unwrap_or(0);
    loop {
        // SAFETY: `info` is writable for the call.
        let ret = unsafe { libc::waitid(kind, id, &mut info, flags) };
        match check(libc::c_long::from(ret)) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Next::Alone,
            Err(_) => return Next::None,
        }
    }
    // SAFETY: waitid fills in the SIGCHLD part of the union, or leaves zeros.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    match pid {
        0 => Next::None,
        pid => Next::Change(pid, info.si_code, status),
    }
}
