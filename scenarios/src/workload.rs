//! A script as the workload of a trial: this executable, re-run as an actor.
//!
//! Nothing has to be located on disk: [`workload`] opens `/proc/self/exe`, and a process whose
//! `argv[0]` is [`actor::NAME`] turns into an actor before it does anything else
//! ([`actor::main_if_actor`]).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use harness::trial::Workload;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::script::{Op, Script};

/// `script`, ready to be started: this executable as an actor, with an empty environment. Its
/// processes have no deadline of their own, because a trial has guards.
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
    let uses_given = |op| matches!(op, Op::ReadGiven | Op::BecomeOther);
    let given = script.ops().any(uses_given);
    let stops = script.ops().any(|op| op == Op::Stop);
    let script_word = CString::new(format!("--script-fd={}", Workload::INPUT_FD))?;
    let ledger = CString::new(format!("--ledger-fd={}", Workload::LEDGER_FD))?;
    let mut argv = vec![actor::NAME.to_owned(), script_word, ledger];
    if given {
        argv.push(CString::new(format!("--given-fd={}", Workload::GIVEN_FD))?);
    }
    Ok(Workload {
        exe: File::open("/proc/self/exe")?.into(),
        argv,
        envp: Vec::new(),
        input,
        stops,
        program: None,
    })
}
