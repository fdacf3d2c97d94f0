//! Starting the command, and looking for what it left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use allgone::layout::{Layout, Paths};
use allgone::sys::time::now;

#[path = "../support/marks.rs"]
mod marks;
#[path = "../support/mod.rs"]
mod shared;

pub(crate) use marks::Marks;
pub(crate) use shared::{bearing, has, within};

/// Whose launcher it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Of the user that runs the tests.
    Own,
    /// Of an ordinary user, which a test that is not root is itself.
    Ordinary,
}

/// Both kinds, or the one that there is.
pub(crate) fn users() -> &'static [Whose] {
    if nix::unistd::geteuid().is_root() {
        &[Whose::Own, Whose::Ordinary]
    } else {
        &[Whose::Own]
    }
}

/// A run whose processes all bear a mark in their environment.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) command: Command,
    mark: String,
    /// For as long as it may be started.
    _executable: Arc<Executable>,
}

/// `allgone run ARGS`.
pub(crate) fn allgone(whose: Whose, args: &[&str]) -> Marked {
    named(whose, "allgone", &[&["run"], args].concat())
}

/// The launcher, called by `name`.
pub(crate) fn named(whose: Whose, name: &str, args: &[&str]) -> Marked {
    let mark = format!("ALLGONE_MARK={}-{}", std::process::id(), now().0);
    let (key, value) = mark.split_once('=').unwrap();
    let executable = binary();
    let mut command = Command::new(executable.path());
    command
        .arg0(name)
        .args(args)
        .env(key, value)
        .current_dir("/");
    if whose == Whose::Ordinary && nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    Marked {
        command,
        mark,
        _executable: executable,
    }
}

/// The command as every user may execute it.
#[derive(Debug)]
pub(crate) struct Executable {
    path: PathBuf,
    /// Where a copy is; a static one would never be removed.
    _copy: Option<tempfile::TempDir>,
}

impl Executable {
    fn find() -> Self {
        let path = PathBuf::from(env!("CARGO_BIN_EXE_allgone"));
        let everyone_may = |part: &Path| fs::metadata(part).unwrap().permissions().mode() & 1 == 1;
        if path.ancestors().all(everyone_may) {
            return Self { path, _copy: None };
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let copy = dir.path().join("allgone");
        fs::copy(path, &copy).unwrap();
        Self {
            path: copy,
            _copy: Some(dir),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// The same one for all that hold it at a time.
pub(crate) fn binary() -> Arc<Executable> {
    static HELD: Mutex<Weak<Executable>> = Mutex::new(Weak::new());
    let mut held = HELD.lock().unwrap();
    held.upgrade().unwrap_or_else(|| {
        let found = Arc::new(Executable::find());
        *held = Arc::downgrade(&found);
        found
    })
}

impl Marked {
    /// To its end, with what it printed.
    pub(crate) fn output(mut self) -> Output {
        let output = self.command.output().unwrap();
        self.nothing_left();
        output
    }

    /// The exit code, or 128 and the signal, as a shell says it.
    pub(crate) fn code(self) -> i32 {
        code(&self.output())
    }

    /// Processes that bear the mark.
    pub(crate) fn alive(&self) -> Vec<String> {
        bearing(&self.mark)
    }

    /// No process a second later at most.
    pub(crate) fn nothing_left(&self) {
        let gone = within(Duration::from_secs(1), || self.alive().is_empty());
        assert!(gone, "still there: {:?}", self.alive());
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let status = output.status;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap())
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Cgroups that the launcher with this number has made below the tests' own.
pub(crate) fn cgroups(launcher: u32) -> Vec<PathBuf> {
    let Ok(own) = Layout::read(&Paths::default()).unwrap().own_v2() else {
        return Vec::new();
    };
    let prefix = format!("allgone-{launcher}-");
    fs::read_dir(own)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .collect()
}
