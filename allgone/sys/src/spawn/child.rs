//! The child between clone and exec. Nothing in here allocates, locks, logs or unwinds.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sched::sched_setaffinity;
use nix::unistd::Pid;

use super::clone::raw_fork;
use super::descriptors::close_all_but;
use super::report::ChildFailure;
use super::steps::{Action, Sequence};
use super::{exit_now, signals};
use crate::{check, privilege};

impl Sequence<'_> {
    /// Makes one step after the other. The last is exec; if one fails, the parent is told, and the
    /// child ends with 127.
    ///
    /// Only in a child, in which it never returns and drops nothing.
    pub(super) fn run(mut self) -> ! {
        let mut index = 0;
        while let Some(action) = self.actions.get(index).copied() {
            if let Err(errno) = self.make(action) {
                let failure = ChildFailure {
                    step: action.step(),
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    errno,
                };
                failure.send(self.table.number(self.report));
                break;
            }
            index += 1;
        }
        exit_now(127)
    }

    fn make(&mut self, action: Action) -> Result<(), Errno> {
        match action {
            Action::Signals => signals::reset(),
            Action::Affinity(cpus) => sched_setaffinity(Pid::from_raw(0), &cpus),
            Action::JoinCgroup(file) | Action::Tasks(file) => write_self(self.table.number(file)),
            // SAFETY: setsid takes no arguments.
            Action::Session => check(libc::c_long::from(unsafe { libc::setsid() })).map(|_| ()),
            // SAFETY: setpgid takes integers.
            Action::Group => check(libc::c_long::from(unsafe { libc::setpgid(0, 0) })).map(|_| ()),
            Action::Descriptors => self.table.place(),
            Action::CloseOthers => self.table.close_others(),
            Action::Credentials(credentials) => privilege::become_user(credentials),
            Action::NoNewPrivs => privilege::no_new_privs(),
            Action::InitFork => stay_behind_as_init(),
            Action::DeathSignal(signal) => {
                // SAFETY: PR_SET_PDEATHSIG takes integers.
                let ret = unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0)
                };
                check(libc::c_long::from(ret)).map(|_| ())
            }
            Action::Gate(gate) => pass_gate(self.table.number(gate)),
            Action::Exec(exe) => Err(self.exec(self.table.number(exe))),
        }
    }

    /// execveat(2) of a descriptor; returns only if that failed.
    fn exec(&self, exe: RawFd) -> Errno {
        // SAFETY: both arrays end in null, and all strings live in the parent's plan, which this
        // process has a copy of.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                exe,
                c"".as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Errno::last()
    }
}

/// Writes `0`, which stands for the writer, to a file of a cgroup that lists its members.
fn write_self(file: RawFd) -> Result<(), Errno> {
    // SAFETY: a literal of one byte and an inherited descriptor.
    check(unsafe { libc::write(file, c"0".as_ptr().cast(), 1) } as libc::c_long).map(|_| ())
}

fn pass_gate(gate: RawFd) -> Result<(), Errno> {
    let mut byte = 0u8;
    loop {
        // SAFETY: one writable byte.
        let read = unsafe { libc::read(gate, std::ptr::from_mut(&mut byte).cast(), 1) };
        match check(read as libc::c_long) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Forks: the fork returns and goes on to exec, and this process becomes a tiny init that reaps
/// until nobody is left.
fn stay_behind_as_init() -> Result<(), Errno> {
    // SAFETY: both sides only make system calls until they exec or exit.
    let Some(first) = (unsafe { raw_fork() })? else {
        return Ok(());
    };
    // Only the workload may hold the failure pipe open, or its exec would not be seen, and whatever
    // else it inherits, or an end of that would not be. The init needs none of it.
    match close_all_but(&[]) {
        Ok(()) => reap_until_alone(first),
        Err(errno) => {
            // SAFETY: integers; it is this process's own child, and not reaped.
            unsafe { libc::kill(first.as_raw(), libc::SIGKILL) };
            Err(errno)
        }
    }
}

/// The tiny init of a PID namespace: reaps everybody, then ends with the first child's exit status.
fn reap_until_alone(first: Pid) -> ! {
    let mut code = 0;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
        if pid < 0 && Errno::last() != Errno::EINTR {
            exit_now(code)
        }
        if pid == first.as_raw() {
            code = if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            };
        }
    }
}
