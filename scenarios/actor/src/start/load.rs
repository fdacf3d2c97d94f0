//! Script, ledger and the rest of the setting, read and opened before anything is played.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

use allgone_sys::actor::inherited;
use allgone_sys::ledger::Ledger;
use allgone_sys::{MonoNs, time};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

use super::args::{Play, Ready, Source};
use super::{Failure, NO_CGROUP, NO_LEDGER, NO_READY, NO_SCRIPT};
use crate::play::{Again, OwnCgroup, Program, ReadyAt, Setting};
use crate::script::Script;
use crate::text::{MAX_BYTES, Named};

/// What is to be played, and where, if the process has executed the program and goes on.
pub(super) fn load(play: Play) -> Result<(Setting, Option<Again>), Failure> {
    // The time that the rest takes counts.
    let deadline = match play.again {
        Some(again) => again.deadline_ns.map(MonoNs),
        None => play.deadline.map(|span| time::now() + span),
    };
    let ready = play.ready.map(ready).transpose()?;
    let (script, script_fd) = match play.source {
        Source::Json(fd) => (read_json(fd)?, Some(fd)),
        source => (read(source)?.into_script(), None),
    };
    let ledger = ledger(play.ledger)?;
    let program = match script.executes() {
        false => None,
        true => {
            let fds = (script_fd, play.ledger, play.given);
            let program = myself(&script, &ledger, fds, ready.as_ref());
            Some(program.map_err(|e| {
                let what = "could not prepare to execute the program again (this needs /proc)";
                Failure::new(NO_SCRIPT, format!("{what}: {e}"))
            })?)
        }
    };
    // The operation that needs it says if it is not there.
    let given = play.given.and_then(|fd| inherited(fd).ok());
    let home = if script.needs_own_cgroup() {
        let none = "could not find the own cgroup: the script has to know its path, which \
            needs /proc and a mounted cgroup v2 hierarchy";
        Some(OwnCgroup::find().ok_or_else(|| Failure::new(NO_CGROUP, none))?)
    } else {
        None
    };
    let setting = Setting {
        script,
        ledger,
        home,
        ready: ready.map(|(at, _)| at),
        deadline,
        program,
        given,
    };
    Ok((setting, play.again))
}

/// The program of this process, with what another image of it has to be told. Script and ledger
/// get descriptors that an exec keeps, if they have none.
fn myself(
    script: &Script,
    ledger: &Ledger,
    (script_fd, ledger_fd, given): (Option<RawFd>, Option<RawFd>, Option<RawFd>),
    ready: Option<&(ReadyAt, CString)>,
) -> io::Result<Program> {
    let script_fd = match script_fd {
        Some(fd) => fd,
        None => {
            let mut file = File::from(memfd_create(c"script", MFdFlags::empty())?);
            file.write_all(&script.to_bytes())?;
            file.into_raw_fd()
        }
    };
    let ledger_fd = match (ledger_fd, ledger.memfd()) {
        (Some(fd), _) => fd,
        (None, Some(fd)) => nix::unistd::dup(fd)?.into_raw_fd(),
        (None, None) => return Err(Errno::EBADF.into()),
    };
    let mut words = vec![
        CString::new(format!("--script-fd={script_fd}"))?,
        CString::new(format!("--ledger-fd={ledger_fd}"))?,
    ];
    if let Some(fd) = given {
        words.push(CString::new(format!("--given-fd={fd}"))?);
    }
    words.extend(ready.map(|(_, word)| word.clone()));
    let path = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(Program {
        file: open(c"/proc/self/exe", path, Mode::empty())?,
        words,
        needs: [script_fd, ledger_fd],
    })
}

/// Reads a text.
pub(super) fn read(source: Source) -> Result<Named, Failure> {
    let no_script = |what: &str, why: &dyn std::fmt::Display| {
        Failure::new(NO_SCRIPT, format!("could not read {what}: {why}"))
    };
    let (what, bytes) = match source {
        Source::Text(text) => ("the script".to_owned(), text.into_vec()),
        Source::Stdin => {
            let what = "the script from standard input".to_owned();
            let bytes = limited(io::stdin()).map_err(|e| no_script(&what, &e))?;
            (what, bytes)
        }
        Source::File(path) => {
            let what = path.display().to_string();
            let bytes = File::open(&path).and_then(limited);
            let bytes = bytes.map_err(|e| no_script(&what, &e))?;
            (what, bytes)
        }
        Source::Json(fd) => return read_json(fd).map(Named::from),
    };
    Named::read(&bytes).map_err(|e| no_script(&what, &e))
}

/// As much as is needed to know that it is too long.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).map_err(io::Error::other)? + 1;
    from.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads without moving the offset, which is shared by all processes that have the file.
///
/// The script was checked when it was made, and checking it again here would be part of every
/// trial's time.
fn read_json(fd: RawFd) -> Result<Script, Failure> {
    let read = || {
        let file = File::from(inherited(fd)?);
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    };
    read().map_err(|e| {
        let what = format!("could not read the script from descriptor {fd}: {e}");
        Failure::new(NO_SCRIPT, what)
    })
}

/// The ledger on that descriptor, or one of the tree's own, in which all may go on from the start.
fn ledger(fd: Option<RawFd>) -> Result<Ledger, Failure> {
    let ledger = match fd {
        Some(fd) => inherited(fd).and_then(|fd| Ledger::open(fd.as_fd())),
        None => Ledger::create().inspect(Ledger::let_go),
    };
    ledger.map_err(|errno| {
        let from = fd.map_or(String::new(), |fd| format!(" on descriptor {fd}"));
        Failure::new(
            NO_LEDGER,
            format!("could not map the ledger{from}: {errno}"),
        )
    })
}

/// Where it is said, and the option that says so.
fn ready(ready: Ready) -> Result<(ReadyAt, CString), Failure> {
    let no_ready = |what: String, why: io::Error| {
        Failure::new(
            NO_READY,
            format!("could not use {what} to say \"ready\": {why}"),
        )
    };
    match ready {
        Ready::Descriptor(fd) => {
            let word = CString::new(format!("--ready-fd={fd}"));
            inherited(fd)
                .map_err(io::Error::from)
                .and_then(|own| Ok((ReadyAt::Descriptor(own), word?)))
                .map_err(|e| no_ready(format!("descriptor {fd}"), e))
        }
        Ready::File(path) => {
            let absolute = std::path::absolute(&path).and_then(|path| {
                let path = path.as_os_str().as_bytes();
                let word = [b"--ready-file=", path].concat();
                Ok((ReadyAt::File(CString::new(path)?), CString::new(word)?))
            });
            absolute.map_err(|e| no_ready(path.display().to_string(), e))
        }
    }
}
