//! What a launcher needs of the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Adapter;

/// One thing that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The suite runs as root.
    Root,
    /// systemd is PID 1.
    Systemd,
    /// User namespaces may be made.
    Userns,
    /// A program is in `PATH`.
    Program(String),
    /// A file exists.
    File(String),
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match (text.as_str(), text.split_once(':')) {
            ("root", _) => Ok(Self::Root),
            ("systemd", _) => Ok(Self::Systemd),
            ("userns", _) => Ok(Self::Userns),
            (_, Some(("program", name))) => Ok(Self::Program(name.to_owned())),
            (_, Some(("file", path))) => Ok(Self::File(path.to_owned())),
            _ => Err(D::Error::custom(format!(
                "`{text}` is no need; there are root, systemd, userns, program:NAME and file:PATH"
            ))),
        }
    }
}

/// Where a program is: looked for beside the suite's own program, and in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return executable(Path::new(program)).then(|| program.into());
    }
    path()
        .into_iter()
        .map(|dir| dir.join(program))
        .find(|path| executable(path))
}

/// The directories in which programs are looked for.
pub(crate) fn path() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let own = own.and_then(|own| own.parent().map(Path::to_owned));
    let variable = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&variable))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .filter(|dir| dir.is_absolute())
        .collect()
}

fn executable(path: &Path) -> bool {
    let found = std::fs::metadata(path);
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first thing that a launcher needs and does not find here.
pub fn missing(adapter: &Adapter) -> Option<String> {
    let first = adapter.run.words().first().into_iter();
    let own = first
        .filter(|word| !word.contains('{'))
        .map(|word| Need::Program(word.clone()));
    own.chain(adapter.needs.iter().cloned())
        .find_map(|need| absent(&need))
}

fn absent(need: &Need) -> Option<String> {
    let unless = |there: bool, why: String| (!there).then_some(why);
    match need {
        Need::Root => unless(
            nix::unistd::geteuid().is_root(),
            "it has to be run as root".to_owned(),
        ),
        Need::Systemd => unless(
            Path::new("/run/systemd/system").is_dir(),
            "systemd is not PID 1 here".to_owned(),
        ),
        Need::Userns => unless(
            Path::new("/proc/self/ns/user").exists(),
            "the kernel has no user namespaces".to_owned(),
        ),
        Need::Program(name) => unless(find(name).is_some(), format!("{name} is not installed")),
        Need::File(path) => unless(Path::new(path).exists(), format!("{path} does not exist")),
    }
}
