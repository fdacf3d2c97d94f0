//! How a guard comes to be: started by a host of any size, with any number of threads, and no child
//! of it.
//!
//! The host makes a process that shares its memory and descriptors, and waits until it has ended
//! (`CLONE_VM | CLONE_VFORK | CLONE_FILES`, vfork(2)): nothing is copied. That one makes another of
//! the same kind in the guard's cgroup, which executes the program; then it ends, and so leaves the
//! guard to the nearest subreaper or to init. It has no exit signal, so the host gets no `SIGCHLD`
//! and a `waitpid(-1)` elsewhere in it does not see it. Sources: clone(2), clone3(2), vfork(2),
//! wait(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::program::serve::{Guard, Memory};
use super::program::{ground::Ground, process};
use super::{Birth, How, StartFailure, wire::born};
use crate::bare::call;
use crate::bare::raw::{self, number};
use crate::spawn::sharing::{self, CLONE_PIDFD, CLONE_VFORK, CLONE_VM, clone_sharing};
use crate::spawn::{close_all_but, signals};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const SIGCHLD: usize = 17;

/// What host, go-between and guard share until the guard is executed. Numbers, because descriptors
/// are the processes' own.
struct Shared {
    /// Socket, base, host, home, lock, limits; see [`born`].
    given: [i32; 7],
    cgroup: i32,
    exe: Option<i32>,
    argv: [*const libc::c_char; 4],
    ground: Ground,
    pidfd: i32,
    join: bool,
    failed: Option<(&'static str, raw::Errno)>,
}

/// Starts a guard; returns its pidfd. Waits until it has been executed.
///
/// The calling thread's signals are blocked meanwhile. Nothing else of the process changes, but
/// that `errno` may. Errors: `EACCES` or `EPERM` at `execveat`: files in memory may not be executed
/// here; clone3(2).
pub fn start(birth: &Birth<'_>, how: How<'_>) -> Result<OwnedFd, StartFailure> {
    let fail = |step| move |errno| StartFailure { step, errno };
    // The fork that needs them outlives this function, in its own copy of the memory.
    let text = |text: &CStr| Box::<CStr>::from(text);
    let (prefix, own) = (text(birth.prefix), text(birth.own));
    // SAFETY: both boxes live until the end of this function, and no process uses them longer that
    // shares this memory.
    let lasting = |text: &CStr| unsafe { CStr::from_ptr(text.as_ptr()) };
    let mut shared = Shared {
        given: [
            birth.socket,
            birth.base,
            birth.host,
            birth.home,
            birth.lock,
            birth.limits[0],
            birth.limits[1],
        ]
        .map(|fd| fd.as_raw_fd()),
        cgroup: -1,
        exe: match how {
            How::Exec(file) => Some(file.as_raw_fd()),
            How::Fork => None,
        },
        argv: [
            c"allgone-guard".as_ptr(),
            prefix.as_ptr(),
            own.as_ptr(),
            std::ptr::null(),
        ],
        ground: Ground {
            prefix: lasting(&prefix),
            own: lasting(&own),
        },
        pidfd: -1,
        join: false,
        failed: None,
    };
    // SAFETY: `between` makes system calls alone and ends.
    unsafe { sharing::through_a_go_between(between, &mut shared) }
        .map_err(|(step, errno)| fail(step)(errno))?;
    if shared.pidfd >= 0 {
        // SAFETY: stored by the kernel, in the table of descriptors that the go-between shared.
        let pidfd = unsafe { OwnedFd::from_raw_fd(shared.pidfd) };
        if shared.failed.is_none() {
            return Ok(pidfd);
        }
    }
    if shared.failed.is_none() {
        // The go-between has been killed, with nothing in the cgroup that it may have made.
        match call::remove_dir(birth.base.as_raw_fd(), &own) {
            Ok(()) | Err(_) => {}
        }
    }
    let (step, raw::Errno(errno)) = shared.failed.unwrap_or(("clone3", raw::Errno(libc::EIO)));
    Err(fail(step)(Errno::from_raw(errno)))
}

/// The go-between's life.
extern "C" fn between(shared: *mut Shared) -> ! {
    // SAFETY: of the host, which waits.
    let me = unsafe { &mut *shared };
    if let Err(failed) = make_cgroup(me) {
        me.failed = Some(failed);
        process::exit(0);
    }
    let vm = if me.exe.is_some() {
        CLONE_VM | CLONE_VFORK
    } else {
        0
    };
    let mut args = [0u64; 11];
    args[0] = (vm | CLONE_PIDFD) as u64 | CLONE_INTO_CGROUP;
    args[1] = (&raw mut me.pidfd) as u64;
    args[4] = SIGCHLD as u64;
    args[10] = u64::from(me.cgroup.unsigned_abs());
    let (at, size) = (args.as_ptr() as usize, size_of_val(&args));
    // SAFETY: `guard` makes system calls alone until it executes or ends, and this process waits
    // for that, or has other memory.
    let cloned = unsafe { clone_sharing(number::CLONE3, [at, size, 0, 0, 0], guard, shared) };
    // SAFETY: as above; the guard has stopped using it.
    let me = unsafe { &mut *shared };
    let refused = match cloned {
        // As when a program is spawned: an old kernel, or a seccomp policy.
        Err(raw::Errno::NOSYS | raw::Errno::PERM | raw::Errno::TOO_BIG) => {
            me.join = true;
            let (flags, at) = (vm | CLONE_PIDFD | SIGCHLD, (&raw mut me.pidfd) as usize);
            // SAFETY: as above.
            unsafe { clone_sharing(number::CLONE, [flags, 0, at, 0, 0], guard, shared) }
        }
        cloned => cloned,
    };
    if let Err(errno) = refused {
        // SAFETY: as above.
        unsafe { (*shared).failed = Some(("clone3", errno)) };
    }
    // SAFETY: as above.
    let me = unsafe { &*shared };
    call::close(me.cgroup);
    if me.failed.is_some() {
        // There has been a process in it, which may be on its way out still.
        for _ in 0..1000 {
            if call::remove_dir(me.given[1], me.ground.own) != Err(raw::Errno::BUSY) {
                break;
            }
            process::pause_ms(1);
        }
    }
    process::exit(0)
}

/// The guard's cgroup. Made here and not by the host: if the host is killed now, this process goes
/// on, and the guard removes it.
fn make_cgroup(me: &mut Shared) -> Result<(), (&'static str, raw::Errno)> {
    let (base, own) = (me.given[1], me.ground.own);
    call::make_dir(base, own).map_err(|errno| ("mkdir", errno))?;
    me.cgroup = call::open(base, own, call::DIRECTORY).map_err(|errno| {
        match call::remove_dir(base, own) {
            Ok(()) | Err(_) => ("open its own cgroup", errno),
        }
    })?;
    Ok(())
}

/// The guard, until it is the program.
extern "C" fn guard(shared: *mut Shared) -> ! {
    // SAFETY: of the host, which waits; or, after a fork, this process's own copy.
    let me = unsafe { &mut *shared };
    let failed = become_guard(me);
    me.failed = Some(failed);
    process::exit(127)
}

fn become_guard(me: &mut Shared) -> (&'static str, raw::Errno) {
    // Copies: the go-between uses the numbers, too, of its own descriptors.
    let (mut given, mut exe) = (me.given, me.exe);
    let mut steps = || -> Result<(), (&'static str, raw::Errno)> {
        let at = |step| move |errno| (step, errno);
        if me.join {
            let procs = call::open(me.cgroup, c"cgroup.procs", call::WRITE_ONLY);
            let joined = procs.and_then(|procs| call::write(procs, b"0"));
            joined.map_err(at("write cgroup.procs"))?;
        }
        process::new_session().map_err(at("setsid"))?;
        process::change_dir_to(c"/").map_err(at("chdir"))?;
        // First out of the way of the numbers they get.
        for fd in given.iter_mut().chain(exe.iter_mut()) {
            *fd = call::copy_above(*fd, born::FREE).map_err(at("fcntl"))?;
        }
        for (target, fd) in (0..).zip(given) {
            call::copy_to(fd, target).map_err(at("dup3"))?;
        }
        let exe = exe.unwrap_or(-1);
        let kept = [0, 1, 2, 3, 4, 5, 6, exe];
        let kept = if exe < 0 { &kept[..7] } else { &kept[..] };
        let closed = close_all_but(kept);
        closed.map_err(|errno| ("close_range", raw::Errno(errno as i32)))
    };
    if let Err(failed) = steps() {
        return failed;
    }
    match exe {
        Some(exe) => {
            let (argv, envp) = (me.argv.as_ptr() as usize, [0usize; 1]);
            // SAFETY: two arrays of strings that end in null.
            let errno = unsafe { process::execute_file(exe, argv, envp.as_ptr() as usize) };
            ("execveat", errno)
        }
        None => serve_here(me.ground),
    }
}

/// Runs the guard's program in a fork of the host, which has its own copy of the memory.
fn serve_here(ground: Ground) -> (&'static str, raw::Errno) {
    // The host's handlers are not for this process, nor for jobs.
    if let Err(errno) = signals::reset() {
        return ("rt_sigaction", raw::Errno(errno as i32));
    }
    let at = match call::memory(size_of::<Memory>()) {
        Ok(at) => at as *mut Memory,
        Err(errno) => return ("mmap", errno),
    };
    // SAFETY: zeroed, as large as that and aligned to a page, and of integers whose zero is a
    // value; nobody else has it.
    let memory = unsafe { &mut *at };
    // Not spared by the OOM killer: this copy of the host's memory may be large.
    match Guard::begin(memory, ground, false) {
        Ok(guard) => guard.serve(),
        Err(errno) => ("begin", errno),
    }
}
