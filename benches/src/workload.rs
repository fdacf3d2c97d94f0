//! The smallest workloads: this same program, run again, that exits at once or sleeps with a number
//! of children.
//!
//! They are not scenarios: they stamp nothing and are not hostile.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use harness::sys::actor::inherited;
use harness::sys::fork::{ActorFork, actor_fork};
use harness::sys::ledger::Ledger;
use harness::sys::spawn::exit_now;
use harness::trial::Workload;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pause;

/// `argv[0]` of a workload.
pub const NAME: &CStr = c"bench-workload";

/// Turns this process into a workload if it was started as one; then it does not return. To be
/// called first in `main`.
pub fn main_if_workload() {
    let mut args = std::env::args_os();
    if args
        .next()
        .is_some_and(|name| name.as_bytes() == NAME.to_bytes())
    {
        let children = args.next().and_then(|n| n.to_str()?.parse().ok());
        exit_now(match children {
            None => 0,
            Some(children) => sleep_with(children),
        })
    }
}

/// Forks, says that all are there, and sleeps for ever. Returns if it could not: the trial then
/// says that it was never ready.
fn sleep_with(children: usize) -> i32 {
    for _ in 0..children {
        match actor_fork(ActorFork::Plain) {
            Ok(Some(_)) => {}
            Ok(None) => sleep_for_ever(),
            Err(_) => return 1,
        }
    }
    match inherited(Workload::LEDGER_FD).and_then(|fd| Ledger::open(fd.as_fd())) {
        Ok(ledger) => {
            ledger.set_ready();
        }
        Err(_) => return 2,
    }
    sleep_for_ever()
}

fn sleep_for_ever() -> ! {
    loop {
        pause();
    }
}

/// One that exits at once. Errors: `/proc` is not mounted.
pub fn exiting() -> io::Result<Workload> {
    of(Vec::new())
}

/// One that sleeps with so many children until it is killed.
pub fn sleepers(children: usize) -> io::Result<Workload> {
    of(vec![CString::new(children.to_string())?])
}

fn of(mut arguments: Vec<CString>) -> io::Result<Workload> {
    arguments.insert(0, NAME.to_owned());
    Ok(Workload {
        exe: File::open("/proc/self/exe")?.into(),
        argv: arguments,
        envp: Vec::new(),
        stops: false,
        // Nothing reads it, but the file has to exist.
        input: memfd_create(c"nothing", MFdFlags::MFD_CLOEXEC)?,
        program: None,
    })
}
