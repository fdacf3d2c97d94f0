//! `--selinux-type`, `--selinux-level`: the program is executed in a context of its own, and so are
//! its private files labelled.
//!
//! Main writes the context to `/proc/self/attr/exec`; exec changes to it or fails. A context that
//! the policy does not have is refused by the write (`EINVAL`), and main ends: exec would go on
//! without it. In a closed run exec has two conditions more than elsewhere: `no_new_privs` is set,
//! and every mount is `nosuid`, so that the policy has to allow `process2 { nnp_transition
//! nosuid_transition }`, or the type has to be bounded by the caller's.
//!
//! Sources: `selinux_bprm_creds_for_exec` and `check_nnp_nosuid` in security/selinux/hooks.c.

mod context;
mod level;
mod policy;

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use allgone::sys::spawn::launch::{Need, Setup};
use allgone::sys::xattr;
use nix::errno::Errno;

use super::options::Closed;
use super::owned::text;
use crate::error::RunError;
use context::{Context, file_types};

/// Where a process says in which context it will be executed.
const EXEC: &CStr = c"/proc/self/attr/exec";

/// The context of a program.
#[derive(Debug)]
struct Label {
    /// That of the launcher.
    caller: String,
    context: String,
    written: CString,
    /// Of the private files; `None`: the policy has no type for them.
    files: Option<String>,
    /// What keeps the level from other runs, if it was chosen here.
    held: Option<OwnedFd>,
    /// What is executed, if it is there.
    program: Option<PathBuf>,
}

/// What SELinux does for a run.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    label: Option<Label>,
    /// What is asked for and not in force, with `--best-effort`.
    lacks: Vec<String>,
}

impl Confinement {
    /// Decides. `paths`: where the program may be. Errors: SELinux is not there or not in force,
    /// which `best_effort` only notes; the policy does not have the context; no level is free.
    pub(crate) fn of(
        closed: &Closed,
        paths: &[CString],
        best_effort: bool,
    ) -> Result<Self, RunError> {
        if closed.selinux_type.is_none() && closed.selinux_level.is_none() {
            return Ok(Self::default());
        }
        let mut lacks = Vec::new();
        let mut lack = |why: String| {
            if !best_effort {
                let why = format!("{why} (--best-effort goes on without it)");
                return Err(RunError::SeLinux(why));
            }
            lacks.push(format!("SELinux is not in force: {why}"));
            Ok(())
        };
        let caller = match caller() {
            Ok(caller) => caller,
            Err(why) => {
                lack(why)?;
                return Ok(Self { label: None, lacks });
            }
        };
        let label = Label::of(closed, caller, paths)?;
        if let Some(why) = label.unenforced() {
            lack(why)?;
        }
        let label = Some(label);
        Ok(Self { label, lacks })
    }

    /// What main does, while it can still write in /proc.
    pub(crate) fn step(&self) -> Option<(Setup<'_>, Need)> {
        let label = self.label.as_ref()?;
        let path = EXEC;
        let text = &label.written;
        Some((Setup::Write { path, text }, Need::Required))
    }

    /// The context of the private files.
    pub(crate) fn files(&self) -> Option<&str> {
        self.label.as_ref()?.files.as_deref()
    }

    /// What has to stay open until all is over.
    pub(crate) fn held(&self) -> Option<BorrowedFd<'_>> {
        let held = self.label.as_ref()?.held.as_ref()?;
        Some(held.as_fd())
    }

    /// What holds, in lines.
    pub(crate) fn describe(&self) -> Vec<String> {
        let Some(label) = &self.label else {
            return Vec::new();
        };
        let files = match &label.files {
            Some(files) => format!("private files are {files:?}"),
            None => "private files are labelled as the policy says".to_owned(),
        };
        vec![format!("selinux context {:?}; {files}", label.context)]
    }

    /// What is asked for and not in force.
    pub(crate) fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// What an exec or another step that failed means, if the policy is why.
    pub(crate) fn explained(&self, error: RunError) -> RunError {
        match (error, &self.label) {
            (RunError::NotExecutable(program, errno), Some(label)) => match label.missing(errno) {
                Some(missing) => RunError::Context {
                    program,
                    context: label.context.clone(),
                    errno,
                    missing,
                },
                None => RunError::NotExecutable(program, errno),
            },
            (RunError::Step { step, errno, .. }, Some(label))
                if errno == Errno::EACCES && label.cannot_fill() =>
            {
                let (caller, files) = (&label.caller, label.files.as_deref().unwrap_or_default());
                let why =
                    format!("the policy does not let {caller} write private files of {files}");
                RunError::SeLinux(format!("{step}: {errno}: {why}"))
            }
            (error, _) => error,
        }
    }
}

/// The launcher's context. Errors: why there is none.
fn caller() -> Result<String, String> {
    if !policy::is_on() {
        return Err("this kernel has no SELinux, or it is off".to_owned());
    }
    let own = policy::own().map_err(|e| format!("could not read the launcher's context: {e}"))?;
    if Context::parse(&own).is_none() {
        return Err("no policy is loaded".to_owned());
    }
    Ok(own)
}

impl Label {
    fn of(closed: &Closed, caller: String, paths: &[CString]) -> Result<Self, RunError> {
        let own = Context::parse(&caller).ok_or_else(|| refused("no policy is loaded"))?;
        let kind = closed.selinux_type.as_deref().unwrap_or(own.kind);
        let (level, held) = match (&closed.selinux_level, own.range) {
            (Some(level), Some(_)) => (Some(level.clone()), None),
            (Some(_), None) => return Err(refused("this policy has no levels")),
            (None, Some(range)) => match level::own(range).map_err(RunError::SeLinux)? {
                Some(level) => (Some(level.text), Some(level.held)),
                None => (Some(low(range).to_owned()), None),
            },
            (None, None) => (None, None),
        };
        let level = level.as_deref();
        let context = own.with(kind, level);
        // Where it cannot be asked for, the kernel says the same when main writes it.
        if let Ok(false) = policy::has(&context) {
            return Err(refused(&format!("the policy has no context {context}")));
        }
        let files = file_types(kind).into_iter();
        let files = files.map(|kind| own.of_file(&kind, level));
        let files = files
            .into_iter()
            .find(|files| matches!(policy::has(files), Ok(true)));
        let path = |path: &CString| PathBuf::from(OsStr::from_bytes(path.to_bytes()));
        let program = paths.iter().map(path).find(|path| path.is_file());
        Ok(Self {
            written: text(context.as_bytes())?,
            caller,
            context,
            files,
            held,
            program,
        })
    }

    /// Why it is not known that the context confines.
    fn unenforced(&self) -> Option<String> {
        match policy::enforces() {
            Ok(true) => {}
            Ok(false) => {
                return Some("SELinux is permissive: it logs and refuses nothing".to_owned());
            }
            Err(e) => return Some(unanswered(&e)),
        }
        match policy::is_permissive(&self.context) {
            Ok(false) => None,
            Ok(true) => Some(format!(
                "the type of {} is permissive: nothing is refused to it",
                self.context
            )),
            Err(e) => Some(unanswered(&e)),
        }
    }

    /// Whether the launcher may not write what it labels.
    fn cannot_fill(&self) -> bool {
        let may = |files: &String| policy::allows(&self.caller, files, "file", "write");
        matches!(self.files.as_ref().map(may), Some(Ok(false)))
    }

    /// What the policy lacks for an exec that ended with this error; `None`: that is not why.
    fn missing(&self, errno: Errno) -> Option<String> {
        let of = |context: &str| Context::parse(context).map(|parts| parts.kind.to_owned());
        let (from, to) = (of(&self.caller)?, of(&self.context)?);
        if !matches!(errno, Errno::EPERM | Errno::EACCES) {
            return None;
        }
        let lacks = |class, permission: &str| {
            let answer = policy::allows(&self.caller, &self.context, class, permission);
            matches!(answer, Ok(false))
        };
        let mut lines = Vec::new();
        if lacks("process", "transition") {
            let own = Context::parse(&self.caller)?;
            let same_level = own.with(&to, own.range);
            let by_type = policy::allows(&self.caller, &same_level, "process", "transition");
            lines.push(match by_type {
                Ok(true) => format!("a constraint that lets {} take that level", self.caller),
                _ => format!("allow {from} {to}:process transition;"),
            });
        }
        // The kernel asks about this first (check_nnp_nosuid); nothing else of exec says EPERM.
        if errno == Errno::EPERM {
            let bounds = format!("typebounds {from} {to};");
            let names = ["nnp_transition", "nosuid_transition"];
            let names = names.into_iter().filter(|name| lacks("process2", name));
            let names: Vec<_> = names.collect();
            if !policy::knows_no_new_privs() {
                lines.push(format!("{bounds} (it lacks nnp_nosuid_transition)"));
            } else if !names.is_empty() {
                let names = names.join(" ");
                lines.push(format!(
                    "allow {from} {to}:process2 {{ {names} }}; or {bounds}"
                ));
            }
        }
        if !lines.is_empty() {
            return Some(lines.join(" "));
        }
        let file = context_of(self.program.as_deref()?)?;
        let entry = policy::allows(&self.context, &file, "file", "entrypoint");
        let kind = of(&file)?;
        matches!(entry, Ok(false)).then(|| format!("allow {to} {kind}:file entrypoint;"))
    }
}

/// The context of a file. Not from `security.selinux` on a disk alone: the kernel answers for every
/// file system.
fn context_of(path: &Path) -> Option<String> {
    let value = xattr::get(path, c"security.selinux").ok()?;
    let text = String::from_utf8(value).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

/// The low level of a range.
fn low(range: &str) -> &str {
    range.split('-').next().unwrap_or(range)
}

fn refused(why: &str) -> RunError {
    RunError::SeLinux(why.to_owned())
}

fn unanswered(e: &io::Error) -> String {
    let at = policy::AT;
    match e.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "no selinuxfs is mounted at {at}, so it cannot be known whether SELinux refuses"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{at} is read-only, so the policy cannot be asked whether it refuses")
        }
        _ => format!("the policy cannot be asked at {at}: {e}"),
    }
}
