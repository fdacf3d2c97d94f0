//! A program in the manner of `std::process::Command`.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Child, Program, SpawnError, SpawnOptions};
use crate::set::ProcessSet;
use crate::sys::spawn::{Credentials, Session};

/// A program by its name, with arguments and environment.
///
/// Standard input, output and error are the caller's; no other descriptor is inherited. The process
/// has a session of its own.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    user: Option<Credentials>,
}

impl Command {
    /// A program. A name without a slash is looked up in `PATH` when it is started. The environment
    /// is the caller's of now.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: std::env::vars_os().collect(),
            user: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.envs.retain(|(known, _)| *known != name);
        self.envs.push((name, value.into()));
        self
    }

    /// Gives it another user, without capabilities. Needs `CAP_SETUID` and `CAP_SETGID`.
    #[must_use]
    pub fn user(mut self, user: Credentials) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts it in the cgroup of `set`.
    ///
    /// Errors: the program cannot be opened, or contains a zero byte in its name, arguments or
    /// environment; clone3(2).
    pub fn spawn(&self, set: &ProcessSet, options: &SpawnOptions) -> Result<Child, SpawnError> {
        let exe = open(&self.program).map_err(SpawnError::Clone)?;
        let text = |text: Vec<u8>| CString::new(text).map_err(|e| SpawnError::Clone(e.into()));
        let zeroth = self.program.clone().into_os_string();
        let argv = std::iter::once(&zeroth).chain(&self.args);
        let argv = argv
            .map(|arg| text(arg.as_bytes().to_vec()))
            .collect::<Result<Vec<_>, _>>()?;
        let envp = self.envs.iter().map(|(name, value)| {
            let mut line = name.clone();
            line.push("=");
            line.push(value);
            text(line.into_vec())
        });
        let envp = envp.collect::<Result<Vec<_>, _>>()?;
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let inherit: [(BorrowedFd<'_>, i32); 3] =
            [(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)];
        Program {
            exe: exe.as_fd(),
            argv: &argv,
            envp: &envp,
            inherit: &inherit,
            session: Session::New,
            credentials: self.user,
            no_new_privs: false,
            affinity: None,
        }
        .spawn(set, options)
    }
}

/// Opens a program by its path, or by its name from `PATH`. A script is found but cannot be
/// executed through a descriptor that is closed at exec; its interpreter has to be named.
fn open(program: &Path) -> io::Result<File> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return File::open(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned());
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for dir in std::env::split_paths(&path) {
        match File::open(dir.join(program)) {
            Ok(file) => return Ok(file),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_a_path_is_not() {
        assert!(open(Path::new("sh")).is_ok());
        assert!(open(Path::new("/bin/sh")).is_ok());
        assert_eq!(
            open(Path::new("./sh-of-nobody")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            open(Path::new("sh-of-nobody")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_variable_is_set_once() {
        let command = Command::new("sh")
            .env("A_VARIABLE", "1")
            .env("A_VARIABLE", "2");
        let set = command.envs.iter().filter(|(name, _)| name == "A_VARIABLE");
        assert_eq!(
            set.map(|(_, value)| value.clone()).collect::<Vec<_>>(),
            ["2"]
        );
    }
}
