//! The child between clone and exec. Nothing in here allocates, locks, logs or unwinds.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sched::sched_setaffinity;
use nix::unistd::Pid;

use super::clone::raw_fork;
use super::descriptors::{Slot, close_all_but};
use super::report::ChildFailure;
use super::steps::{Action, Handlers, Need, Rlimit, Sequence};
use super::{exit_now, signals};
use crate::time::now;
use crate::{check, privilege};

impl Sequence<'_> {
    /// Makes one step after the other; if one fails, tells the parent, and ends with 127.
    ///
    /// Only in a child with memory of its own, in which it never returns and drops nothing.
    pub(super) fn run(mut self, report: Option<Slot>) -> ! {
        let failure = self.until_failure();
        if let (Some(failure), Some(report)) = (failure, report) {
            failure.send(self.table.number(report));
        }
        exit_now(127)
    }

    /// Makes one step after the other. The last is exec, so it returns only if one has failed.
    ///
    /// Only in a child.
    pub(super) fn until_failure(&mut self) -> Option<ChildFailure> {
        let mut index = 0;
        while let Some(action) = self.actions.get(index).copied() {
            if let Err(errno) = self.make_noted(index, action) {
                if let Some(results) = self.results {
                    results.fail(index);
                }
                return Some(ChildFailure {
                    step: action.step(),
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    errno,
                });
            }
            index += 1;
        }
        None
    }

    /// Makes a step, notes its result where there is a place for it, and lets an optional one fail.
    fn make_noted(&mut self, index: usize, action: Action<'_>) -> Result<(), Errno> {
        let Some(results) = self.results else {
            return self.make(action);
        };
        let since = now();
        let made = self.make(action);
        results.note(index, since, made.err());
        match action {
            Action::Setup(_, Need::Optional) => Ok(()),
            _ => made,
        }
    }

    fn make(&mut self, action: Action<'_>) -> Result<(), Errno> {
        match action {
            Action::Signals(Handlers::Inherited) => signals::reset(),
            Action::Signals(Handlers::Cleared) => signals::reset_cleared(),
            Action::Affinity(cpus) => sched_setaffinity(Pid::from_raw(0), &cpus),
            Action::JoinCgroup(file) | Action::Tasks(file) => write_self(self.table.number(file)),
            // SAFETY: setsid takes no arguments.
            Action::Session => check(libc::c_long::from(unsafe { libc::setsid() })).map(|_| ()),
            // SAFETY: setpgid takes integers.
            Action::Group => check(libc::c_long::from(unsafe { libc::setpgid(0, 0) })).map(|_| ()),
            Action::Descriptors => self.table.place(),
            Action::CloseOthers => self.table.close_others(),
            Action::Rlimit(limit) => set_limit(limit),
            Action::Umask(mask) => {
                // SAFETY: umask takes an integer and cannot fail.
                unsafe { libc::umask(mask) };
                Ok(())
            }
            Action::Dir(path) => {
                // SAFETY: a string of the plan, which outlives the child's steps.
                check(libc::c_long::from(unsafe { libc::chdir(path) })).map(|_| ())
            }
            Action::Credentials(credentials) => privilege::become_user(credentials),
            Action::User(credentials) => privilege::take_user(credentials),
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
            Action::ExecPaths => Err(self.exec_paths()),
            Action::Setup(setup, _) => setup.make(&mut self.made),
            Action::Main(main) => main.fork(self.made, self.results),
            Action::Mask(mask) => signals::give_back(mask),
        }
    }

    /// execve(2) of the first path that there is, as execvp(3); returns only if none was executed.
    /// The answer is `EACCES` if there was one that may not be executed, else the last path's.
    fn exec_paths(&mut self) -> Errno {
        let mut answer = Errno::ENOENT;
        for path in self.paths.iter().take_while(|path| !path.is_null()) {
            // SAFETY: both arrays end in null, and all strings live in the parent's plan.
            unsafe { libc::execve(*path, self.argv.as_ptr(), self.envp.as_ptr()) };
            match Errno::last() {
                Errno::EACCES => answer = Errno::EACCES,
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV => {}
                Errno::ENOEXEC => {
                    if let [shell, script, ..] = self.shell.as_mut_slice() {
                        *script = *path;
                        // SAFETY: as above.
                        unsafe { libc::execve(*shell, self.shell.as_ptr(), self.envp.as_ptr()) };
                    }
                    return Errno::ENOEXEC;
                }
                errno => return errno,
            }
        }
        answer
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

/// setrlimit(2).
pub(super) fn set_limit(limit: Rlimit) -> Result<(), Errno> {
    nix::sys::resource::setrlimit(limit.resource, limit.soft, limit.hard)
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

/// Forks: the fork returns and goes on to exec, and this process becomes a minimal init that reaps
/// until no child is left.
fn stay_behind_as_init() -> Result<(), Errno> {
    // SAFETY: both sides only make system calls until they exec or exit.
    let Some(first) = (unsafe { raw_fork() })? else {
        return Ok(());
    };
    // Only the workload may hold the failure pipe open, or its exec would not be noticed. The same
    // holds for all other inherited descriptors: their end of file would not be noticed. The init
    // needs none of them.
    match close_all_but(&[]) {
        Ok(()) => reap_until_alone(first),
        Err(errno) => {
            // SAFETY: integers; it is this process's own child, and not reaped.
            unsafe { libc::kill(first.as_raw(), libc::SIGKILL) };
            Err(errno)
        }
    }
}

/// The minimal init of a PID namespace: reaps all processes, then exits with the first child's exit
/// status.
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
