//! A program as a workload: found, opened, and started with an environment whose home and temporary
//! directories are the trial's own.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use harness::trial::{self, Site, Workload};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::exit::Failure;
use super::subject::Start;

/// The name of a program's trials in records.
const ID: &str = "exec";
/// As many scripts may be the interpreters of scripts (fs/exec.c).
const INTERPRETERS: usize = 5;
/// As much of the first line of a script is read (`BINPRM_BUF_SIZE`).
const FIRST_LINE: usize = 256;
/// Where programs keep files unless they are told otherwise. All of these are the trial's own
/// directory, which is removed with it.
const PLACES: [&str; 7] = [
    "HOME",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "TMUX_TMPDIR",
    "SCREENDIR",
];

/// What the user decides about a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// How long it runs before it is killed.
    pub kill_after: Duration,
    /// Execute a copy that only the trial has.
    pub own_copy: bool,
    /// A file to which it writes instead of nowhere.
    pub output: Option<PathBuf>,
}

/// A program that can be started.
#[derive(Debug)]
pub(super) struct Program {
    id: String,
    exe: PathBuf,
    argv: Vec<CString>,
    options: Options,
}

impl Program {
    /// Finds `words[0]` as a shell does. A file that is there and cannot be executed is found: what
    /// the kernel says about it is recorded.
    pub(super) fn find(words: &[OsString], options: Options) -> Result<Self, Failure> {
        let name = words
            .first()
            .ok_or_else(|| Failure::usage("no program is named"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let exe = find_in(name, &path).ok_or_else(|| {
            Failure::usage(format!(
                "{}: no such program, neither as a path nor in PATH; nothing was started",
                name.display()
            ))
        })?;
        let argv: Result<Vec<_>, _> = words
            .iter()
            .map(|word| CString::new(word.as_bytes()))
            .collect();
        let argv = argv.map_err(|_| Failure::usage("an argument contains a NUL"))?;
        let (exe, argv) = interpreted(exe, argv).map_err(Failure::usage)?;
        let short = Path::new(name).file_name().unwrap_or(name);
        Ok(Self {
            id: format!("{ID} {}", short.display()),
            exe,
            argv,
            options,
        })
    }

    /// Its name in records and tables.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// One start of it.
    pub(super) fn workload(&self, start: &Start<'_>) -> anyhow::Result<Workload> {
        let opened = File::open(&self.exe);
        let mut exe: OwnedFd = opened
            .with_context(|| format!("could not open {}", self.exe.display()))?
            .into();
        if self.options.own_copy {
            exe =
                copy_of(&exe).with_context(|| format!("could not copy {}", self.exe.display()))?;
        }
        let output = match &self.options.output {
            None => None,
            Some(path) => Some(
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("could not open {}", path.display()))?
                    .into(),
            ),
        };
        Ok(Workload {
            exe,
            argv: self.argv.clone(),
            envp: environment(&Site::scratch_of(start.run, start.seq))?,
            input: File::open("/dev/null")
                .context("could not open /dev/null")?
                .into(),
            stops: true,
            program: Some(trial::Program {
                output,
                kill_after: self.options.kill_after,
                own_copy: self.options.own_copy,
            }),
        })
    }
}

/// The first file of this name in the directories of `path`; a name with a slash is a path itself.
fn find_in(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Path::new(name).exists().then(|| name.into());
    }
    std::env::split_paths(path)
        .filter(|dir| !dir.as_os_str().is_empty())
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// As the kernel does: a script is the last but one argument of its interpreter. Here and not in
/// the kernel, because a program is executed by its descriptor, which an interpreter could not open
/// again.
fn interpreted(
    mut exe: PathBuf,
    mut argv: Vec<CString>,
) -> Result<(PathBuf, Vec<CString>), String> {
    for _ in 0..INTERPRETERS {
        let Some((interpreter, argument)) = shebang(&exe)? else {
            return Ok((exe, argv));
        };
        let c = |bytes: &[u8]| CString::new(bytes).map_err(|_| "a path contains a NUL".to_owned());
        let mut all = vec![c(interpreter.as_os_str().as_bytes())?];
        if let Some(argument) = argument {
            all.push(c(&argument)?);
        }
        all.push(c(exe.as_os_str().as_bytes())?);
        all.extend(argv.into_iter().skip(1));
        (exe, argv) = (interpreter, all);
    }
    Err(format!(
        "{}: more than {INTERPRETERS} scripts are each other's interpreters",
        exe.display()
    ))
}

/// An interpreter, and the one argument that its script gives it.
type Interpreter = (PathBuf, Option<Vec<u8>>);

/// The interpreter of a script and its one argument, from the first line. Source: execve(2),
/// "Interpreter scripts".
fn shebang(file: &Path) -> Result<Option<Interpreter>, String> {
    let mut line = Vec::new();
    let opened =
        File::open(file).and_then(|file| file.take(FIRST_LINE as u64).read_to_end(&mut line));
    opened.map_err(|e| format!("could not read {}: {e}", file.display()))?;
    let Some(rest) = line.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let text = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let text = text.trim_ascii();
    let (name, argument) = match text.iter().position(u8::is_ascii_whitespace) {
        None => (text, None),
        Some(at) => (&text[..at], Some(text[at..].trim_ascii().to_vec())),
    };
    match name.is_empty() {
        true => Ok(None),
        false => Ok(Some((OsString::from_vec(name.to_vec()).into(), argument))),
    }
}

/// This process's environment, with the trial's directory for the program's files.
fn environment(scratch: &Path) -> anyhow::Result<Vec<CString>> {
    let own = std::env::vars_os().filter(|(name, _)| !PLACES.iter().any(|place| name == *place));
    let places = PLACES
        .iter()
        .map(|place| (OsString::from(place), scratch.as_os_str().to_owned()));
    own.chain(places)
        .map(|(name, value)| {
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(pair).map_err(|_| anyhow!("the environment contains a NUL"))
        })
        .collect()
}

/// An executable copy of a file that nothing else has open, opened for reading alone.
fn copy_of(exe: impl AsFd) -> anyhow::Result<OwnedFd> {
    let mut from = File::from(exe.as_fd().try_clone_to_owned()?);
    let writable = File::from(memfd_create(c"program", MFdFlags::MFD_CLOEXEC)?);
    from.seek(SeekFrom::Start(0))?;
    let mut at = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        writable.write_all_at(&buffer[..n], at)?;
        at += n as u64;
    }
    let link = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&writable)
    );
    Ok(File::open(link)?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn in_words(argv: &[CString]) -> Vec<&str> {
        argv.iter().map(|word| word.to_str().unwrap()).collect()
    }

    #[test]
    fn a_script_becomes_an_argument_of_its_interpreter_as_in_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#! /bin/sh  -e x \nexit 3\n").unwrap();
        let line = format!("{} a b", script.display());
        let found = Program::find(&words(&line), Options::default()).unwrap();
        assert_eq!(found.exe, Path::new("/bin/sh"));
        let script = script.to_str().unwrap();
        assert_eq!(in_words(&found.argv), ["/bin/sh", "-e x", script, "a", "b"]);
        assert_eq!(found.id(), "exec script");
        fs::write(script, format!("#!{script}\n")).unwrap();
        let endless = Program::find(&words(script), Options::default()).unwrap_err();
        assert!(endless.error.to_string().contains("interpreters"));
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let found = Program::find(&words("sh -c true"), Options::default()).unwrap();
        assert!(found.exe.ends_with("sh") && found.exe.is_absolute());
        assert_eq!(in_words(&found.argv), ["sh", "-c", "true"]);
        for missing in ["no-such-program-at-all", "/nowhere/sh"] {
            let error = Program::find(&words(missing), Options::default()).unwrap_err();
            assert!(error.error.to_string().contains("nothing was started"));
        }
    }

    #[test]
    fn the_home_of_a_program_is_the_trials_directory() {
        let all = environment(Path::new("/tmp/x")).unwrap();
        let homes: Vec<_> = all
            .iter()
            .filter(|pair| pair.to_bytes().starts_with(b"HOME="))
            .collect();
        assert_eq!(homes, [&CString::new("HOME=/tmp/x").unwrap()]);
    }

    #[test]
    fn a_copy_has_no_other_owner() {
        let file = File::open("/bin/sh").unwrap();
        let copy = copy_of(&file).unwrap();
        assert_eq!(
            fs::read(format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&copy)
            ))
            .unwrap(),
            fs::read("/bin/sh").unwrap()
        );
    }
}
