//! A program in the manner of [`std::process::Command`].

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::StartError;
use super::limits::{self, Wanted};
use super::output::Output;
use super::place::{Ground, Place};
use super::running::{Job, Leftovers};
use super::stdio::{Stdio, Streams};
use crate::MonoNs;
use crate::job::error::JobError;
use crate::set::ProcessSet;
use crate::spawn::Request;
use crate::spawn::{Child, Program, SpawnError, SpawnOptions};
use crate::sys::spawn::{Credentials, Exe, Rlimit, Session};
use nix::sys::resource::Resource;

/// A program by its name, with arguments and environment; [`Command::spawn`] makes a [`Job`] of it.
///
/// Standard input, output and error are the host's unless they are set; no other descriptor is
/// inherited. Signals are as after [`std::process::Command`]: none is blocked, handlers are reset,
/// and ignored signals stay ignored except `SIGPIPE`. The process has a session of its own unless
/// [`Command::session`] says otherwise.
///
/// ```
/// let mut command = allgone::Command::new("sort");
/// command.args(["-u", "names"]).env("LC_ALL", "C").current_dir("/tmp");
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    /// Changes to the host's environment, or all of it if that was cleared.
    envs: Vec<(OsString, Option<OsString>)>,
    clear: bool,
    dir: Option<PathBuf>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    session: Session,
    user: Option<Credentials>,
    no_new_privs: bool,
    rlimits: Vec<Rlimit>,
    umask: Option<u32>,
    wanted: Wanted,
    leftovers: Leftovers,
}

impl Command {
    /// A program. A name without a slash is looked up in `PATH` as execvp(3) does, in the directory
    /// and with the rights of the new process; `PATH` is that of the new process, too.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            clear: false,
            dir: None,
            stdin: None,
            stdout: None,
            stderr: None,
            session: Session::New,
            user: None,
            no_new_privs: false,
            rlimits: Vec::new(),
            umask: None,
            wanted: Wanted::default(),
            leftovers: Leftovers::Wait,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args.extend(args);
        self
    }

    /// Sets a variable of the environment, which otherwise is the host's at the time of the spawn.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.change(name.as_ref(), Some(value.as_ref().to_owned()))
    }

    /// Sets variables of the environment.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Removes a variable of the environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.change(name.as_ref(), None)
    }

    /// Removes all variables of the environment, those that were set before included.
    pub fn env_clear(&mut self) -> &mut Self {
        self.envs.clear();
        self.clear = true;
        self
    }

    fn change(&mut self, name: &OsStr, value: Option<OsString>) -> &mut Self {
        self.envs.retain(|(known, _)| known != name);
        self.envs.push((name.to_owned(), value));
        self
    }

    /// Its working directory; otherwise the host's. It is entered with the rights of the new
    /// process.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Its standard input.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stdin = Some(stream.into());
        self
    }

    /// Its standard output.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stdout = Some(stream.into());
        self
    }

    /// Its standard error.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stderr = Some(stream.into());
        self
    }

    /// Gives it another user and group, without supplementary groups, capabilities or a way to get
    /// privileges by exec. Needs `CAP_SETUID` and `CAP_SETGID`.
    pub fn user(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.user = Some(Credentials { uid, gid });
        self
    }

    /// No exec gives it privileges (`PR_SET_NO_NEW_PRIVS`).
    pub fn no_new_privs(&mut self) -> &mut Self {
        self.no_new_privs = true;
        self
    }

    /// Its session and process group.
    pub fn session(&mut self, session: Session) -> &mut Self {
        self.session = session;
        self
    }

    /// Sets a limit of each of its processes, in the unit of the resource; setrlimit(2). More than
    /// the host's hard limit needs `CAP_SYS_RESOURCE`.
    pub fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Self {
        self.rlimits.retain(|known| known.resource != resource);
        self.rlimits.push(Rlimit {
            resource,
            soft,
            hard,
        });
        self
    }

    /// Its file mode creation mask; otherwise the host's.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.umask = Some(mask);
        self
    }

    /// How many tasks (threads, and processes that are not reaped) the job may have at a time:
    /// `pids.max`. Needs a base with that limit.
    pub fn limit_tasks(&mut self, tasks: u64) -> &mut Self {
        self.wanted.tasks = Some(tasks);
        self
    }

    /// How much memory the job may use: `memory.max`. Needs a base with that limit.
    pub fn limit_memory(&mut self, bytes: u64) -> &mut Self {
        self.wanted.memory_bytes = Some(bytes);
        self
    }

    /// What happens to processes that outlive the first one.
    pub fn leftovers(&mut self, leftovers: Leftovers) -> &mut Self {
        self.leftovers = leftovers;
        self
    }

    /// Starts it in a cgroup of its own at `place`. Returns when the program has been executed.
    ///
    /// Errors name what was tried, on which object, the kernel's answer and what to do; nothing is
    /// left behind.
    pub fn spawn<P: Place + ?Sized>(&self, place: &P) -> Result<Job, StartError> {
        self.start(place, &Stdio::inherit(), &Stdio::inherit())
    }

    /// Starts it, collects what it writes, and waits for the end of the *job*, or for `deadline`:
    /// see [`Job::output`]. Its standard input is empty, unless it was set.
    ///
    /// Errors: as [`Command::spawn`] and [`Job::output`].
    pub fn output<P: Place + ?Sized>(
        &self,
        place: &P,
        deadline: MonoNs,
    ) -> Result<(Job, Output), OutputError> {
        let mut job = self.start(place, &Stdio::null(), &Stdio::piped())?;
        let output = job.output(deadline)?;
        Ok((job, output))
    }

    fn start<P: Place + ?Sized>(
        &self,
        place: &P,
        stdin: &Stdio,
        out: &Stdio,
    ) -> Result<Job, StartError> {
        let prepared = self.prepare()?;
        let or = |set: &Option<Stdio>, otherwise: &Stdio| set.as_ref().unwrap_or(otherwise).clone();
        let (input, output) = (or(&self.stdin, stdin), or(&self.stdout, out));
        let streams = Streams::open(&input, &output, &or(&self.stderr, out))?;
        let (host_in, host_out, host_err) =
            (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let host = [host_in.as_fd(), host_out.as_fd(), host_err.as_fd()];
        let fds = streams.of_program(&host);
        let mut ground = place.ground()?;
        if let Err(e) = limits::apply(&mut ground.site, self.wanted) {
            Job::undo(ground);
            return Err(e);
        }
        let request = Request {
            paths: &prepared.paths,
            argv: &prepared.argv,
            envp: &prepared.envp,
            dir: prepared.dir.as_deref(),
            fds: &fds,
            session: self.session,
            credentials: self.user,
            no_new_privs: self.no_new_privs,
            rlimits: &self.rlimits,
            umask: self.umask,
            tasks: &[],
        };
        start_in(ground, &request, self.leftovers).map(|job| job.with_streams(streams))
    }

    /// Starts it in the cgroup of `set`, the way mechanisms that watch and kill need it: for
    /// mechanisms of one's own. The result is not a [`Job`]: nothing is removed or proved.
    ///
    /// Streams are the host's; [`Stdio::piped`] is not for this. Errors: clone3(2).
    /// [`Child::failure`] says what failed between clone and exec.
    pub fn spawn_in(&self, set: &ProcessSet, options: &SpawnOptions) -> Result<Child, SpawnError> {
        let failed = |e: StartError| SpawnError::Clone(std::io::Error::other(e));
        let prepared = self.prepare().map_err(failed)?;
        let inherit = Stdio::inherit();
        let or = |set: &Option<Stdio>| set.as_ref().unwrap_or(&inherit).clone();
        let streams = Streams::open(&or(&self.stdin), &or(&self.stdout), &or(&self.stderr))
            .map_err(failed)?;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let host = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        Program {
            envp: &prepared.envp,
            inherit: &streams.of_program(&host),
            session: self.session,
            credentials: self.user,
            no_new_privs: self.no_new_privs,
            rlimits: &self.rlimits,
            umask: self.umask,
            dir: prepared.dir.as_deref(),
            ..Program::new(Exe::Paths(&prepared.paths), &prepared.argv)
        }
        .spawn(set, options)
    }

    fn prepare(&self) -> Result<Prepared, StartError> {
        let environment = self.environment();
        let paths = candidates(&self.program, path_of(&environment));
        let argv = std::iter::once(&self.program).chain(&self.args);
        let lines = environment.iter().map(|(name, value)| {
            let mut line = name.clone();
            line.push("=");
            line.push(value);
            line
        });
        let dir = self.dir.as_ref().map(|dir| dir.clone().into_os_string());
        Ok(Prepared {
            paths: texts("the program's path", paths)?,
            argv: texts("an argument", argv.cloned())?,
            envp: texts("a variable of the environment", lines)?,
            dir: texts("the working directory", dir)?.pop(),
        })
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut all: Vec<(OsString, OsString)> = if self.clear {
            Vec::new()
        } else {
            std::env::vars_os().collect()
        };
        for (name, value) in &self.envs {
            all.retain(|(known, _)| known != name);
            all.extend(value.clone().map(|value| (name.clone(), value)));
        }
        all
    }
}

/// The errors of [`Command::output`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It could not be waited for.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// The arguments for the kernel.
#[derive(Debug)]
struct Prepared {
    paths: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    dir: Option<CString>,
}

fn start_in(
    ground: Ground,
    request: &Request<'_>,
    leftovers: Leftovers,
) -> Result<Job, StartError> {
    // Descriptors of v1 limits belong to the site, which moves into the job.
    let tasks: Vec<std::fs::File> = match ground.site.v1() {
        Some(v1) => {
            let copies: std::io::Result<_> = v1.tasks().map(std::fs::File::try_clone).collect();
            copies.map_err(|e| crate::SysError::io("dup", crate::Target::Nothing, &e))?
        }
        None => Vec::new(),
    };
    let tasks: Vec<BorrowedFd<'_>> = tasks.iter().map(AsFd::as_fd).collect();
    let request = Request {
        tasks: &tasks,
        ..*request
    };
    Job::start(ground, &request, leftovers)
}

fn texts(
    what: &'static str,
    all: impl IntoIterator<Item = OsString>,
) -> Result<Vec<CString>, StartError> {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(|_| StartError::Nul { what });
    all.into_iter().map(text).collect()
}

fn path_of(environment: &[(OsString, OsString)]) -> &OsStr {
    let path = environment.iter().find(|(name, _)| name == "PATH");
    path.map_or(OsStr::new("/bin:/usr/bin"), |(_, value)| value)
}

/// Where `program` may be. An empty part of `PATH` is the working directory.
fn candidates(program: &OsStr, path: &OsStr) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') || program.is_empty() {
        return vec![program.to_owned()];
    }
    let dirs = std::env::split_paths(path);
    dirs.map(|dir| dir.join(program).into_os_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(command: &Command) -> Vec<(String, String)> {
        let text = |text: OsString| text.into_string().unwrap();
        let all = command.environment().into_iter();
        all.map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_is_not() {
        let path = OsStr::new("/a:/b/c");
        assert_eq!(candidates(OsStr::new("sh"), path), ["/a/sh", "/b/c/sh"]);
        assert_eq!(candidates(OsStr::new("./sh"), path), ["./sh"]);
        assert_eq!(candidates(OsStr::new(""), path), [""]);
    }

    #[test]
    fn the_environment_is_changed_in_the_order_of_the_calls() {
        let mut command = Command::new("sh");
        command.env("LOST", "1").env_clear();
        command
            .env("A", "1")
            .env("B", "2")
            .env("A", "3")
            .env_remove("B");
        assert_eq!(listed(&command), [("A".to_owned(), "3".to_owned())]);
        let inherited = Command::new("sh");
        assert_eq!(listed(&inherited).len(), std::env::vars_os().count());
        let mut without = Command::new("sh");
        without.env_remove("PATH");
        assert!(listed(&without).iter().all(|(name, _)| name != "PATH"));
    }

    #[test]
    fn a_zero_byte_is_refused_by_name() {
        let refused = Command::new("sh").arg("a\0b").prepare().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "could not pass an argument to a program: it contains a zero byte"
        );
    }
}
