//! Script, ledger and the rest of the setting, read and opened before anything is played.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

use allgone_sys::actor::inherited;
use allgone_sys::ledger::Ledger;
use allgone_sys::time;

use super::args::{Play, Ready, Source};
use super::{Failure, NO_CGROUP, NO_LEDGER, NO_READY, NO_SCRIPT};
use crate::play::{OwnCgroup, ReadyAt, Setting};
use crate::script::Script;
use crate::text::{MAX_BYTES, Named};

pub(super) fn load(play: Play) -> Result<Setting, Failure> {
    // The time that the rest takes counts.
    let deadline = play.deadline.map(|span| time::now() + span);
    let script = match play.source {
        Source::Json(fd) => read_json(fd)?,
        source => read(source)?.into_script(),
    };
    let home = if script.needs_own_cgroup() {
        let none = "could not find the own cgroup: the script has to know its path, which \
            needs /proc and a mounted cgroup v2 hierarchy";
        Some(OwnCgroup::find().ok_or_else(|| Failure::new(NO_CGROUP, none))?)
    } else {
        None
    };
    Ok(Setting {
        script,
        ledger: ledger(play.ledger)?,
        home,
        ready: play.ready.map(ready).transpose()?,
        deadline,
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

/// The ledger on that descriptor, or one of the tree's own, in which nobody waits to let go.
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

fn ready(ready: Ready) -> Result<ReadyAt, Failure> {
    let no_ready = |what: String, why: io::Error| {
        Failure::new(
            NO_READY,
            format!("could not use {what} to say \"ready\": {why}"),
        )
    };
    match ready {
        Ready::Descriptor(fd) => inherited(fd)
            .map(ReadyAt::Descriptor)
            .map_err(|errno| no_ready(format!("descriptor {fd}"), errno.into())),
        Ready::File(path) => {
            let absolute = std::path::absolute(&path)
                .and_then(|path| Ok(CString::new(path.as_os_str().as_bytes())?));
            absolute
                .map(ReadyAt::File)
                .map_err(|e| no_ready(path.display().to_string(), e))
        }
    }
}
