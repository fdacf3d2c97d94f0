//! The actor: this executable, re-run, playing a script.
//!
//! Nothing has to be located on disk: [`workload`] opens `/proc/self/exe`, and a process whose
//! `argv[0]` is [`NAME`] turns into an actor before it does anything else ([`main_if_actor`]). It
//! reads its script from descriptor [`Workload::INPUT_FD`], maps the ledger from
//! [`Workload::LEDGER_FD`], and then plays.
//!
//! Invariant: from the first operation on, an actor allocates nothing, takes no lock, logs nothing
//! and does not unwind. So its trees can be killed at any instruction, and what is measured is the
//! kernel. A test with an allocator that ends the process checks this.

mod own_cgroup;
mod play;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::sys::actor::inherited;
use harness::sys::ledger::Ledger;
use harness::sys::spawn::exit_now;
use harness::trial::Workload;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::script::Script;
use own_cgroup::OwnCgroup;
use play::Player;

/// `argv[0]` of an actor.
pub const NAME: &CStr = c"actor";

/// Exit code of a process that could not do what its script says. Its exit is in the ledger.
pub const REFUSED: i32 = 71;
/// Exit code of a main process that found no script, or one that it does not understand.
pub const NO_SCRIPT: i32 = 72;
/// Exit code of a main process that found no ledger.
pub const NO_LEDGER: i32 = 73;
/// Exit code of a main process that has to make cgroups and could not find its own.
pub const NO_CGROUP: i32 = 74;

static PLAYING: AtomicBool = AtomicBool::new(false);

/// Whether this process has begun to play. From here on it must not allocate.
pub fn playing() -> bool {
    PLAYING.load(Ordering::Relaxed)
}

/// Turns this process into an actor if it was started as one; then it does not return. Otherwise it
/// returns at once.
///
/// To be called as the very first thing in `main`, while there is one thread.
pub fn main_if_actor() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name.as_bytes() == NAME.to_bytes())
    {
        exit_now(match load() {
            Ok((script, ledger, home)) => {
                PLAYING.store(true, Ordering::Relaxed);
                Player::new(&script, &ledger, home).play()
            }
            Err(code) => code,
        })
    }
}

/// Everything that allocates.
fn load() -> Result<(Script, Ledger, Option<OwnCgroup>), i32> {
    let script = read_script().map_err(|_| NO_SCRIPT)?;
    let ledger = inherited(Workload::LEDGER_FD)
        .and_then(|fd| Ledger::open(fd.as_fd()))
        .map_err(|_| NO_LEDGER)?;
    let home = if script.burrows() {
        Some(OwnCgroup::find().ok_or(NO_CGROUP)?)
    } else {
        None
    };
    Ok((script, ledger, home))
}

/// Reads without moving the offset, which is shared by all processes that have the file.
fn read_script() -> io::Result<Script> {
    let file = File::from(inherited(Workload::INPUT_FD)?);
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    // It was checked when it was made, and checking it again here would be part of every trial's
    // time.
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

/// `script`, ready to be started: this executable as an actor, with an empty environment.
///
/// Errors: `/proc` is not mounted, no memory for the script.
pub fn workload(script: &Script) -> io::Result<Workload> {
    let input = memfd_create(
        c"script",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let mut file = File::from(input);
    file.write_all(&script.to_bytes())?;
    let input = OwnedFd::from(file);
    fcntl(
        &input,
        FcntlArg::F_ADD_SEALS(
            SealFlag::F_SEAL_WRITE
                | SealFlag::F_SEAL_SHRINK
                | SealFlag::F_SEAL_GROW
                | SealFlag::F_SEAL_SEAL,
        ),
    )?;
    Ok(Workload {
        exe: File::open("/proc/self/exe")?.into(),
        argv: vec![NAME.to_owned()],
        envp: Vec::new(),
        input,
    })
}
