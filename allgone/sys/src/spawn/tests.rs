//! The test that needs unsafe code: a signal handler of the host. All others are in `tests/`.

use super::*;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::sys::wait::WaitPidFlag;

use crate::wait::{Change, Whose, waitid};

static HEARD: AtomicI32 = AtomicI32::new(-1);

extern "C" fn hear(_: libc::c_int) {
    // SAFETY: a literal, and a descriptor that lives as long as the handler is installed.
    unsafe { libc::write(HEARD.load(Ordering::Relaxed), c"h".as_ptr().cast(), 1) };
}

fn end(spawned: &Spawned) -> Change {
    waitid(Whose::Pidfd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED)
        .unwrap()
        .unwrap()
}

#[test]
fn a_signal_to_the_child_meets_no_handler_of_the_host() {
    let exe = File::open("/bin/true").unwrap();
    let argv = [c"true".to_owned()];
    let (heard, hears) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
    HEARD.store(hears.as_raw_fd(), Ordering::Relaxed);
    let action = SigAction::new(SigHandler::Handler(hear), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler makes one system call.
    let before = unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();

    let (gate, opener) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let spawned = spawn(&Plan {
        gate: Some(gate.as_fd()),
        ..Plan::new(exe.as_fd(), &argv)
    })
    .unwrap();
    crate::pidfd::send_signal(spawned.pidfd.as_fd(), Some(Signal::SIGUSR1)).unwrap();
    // Whether it has reached the gate or has not run at all yet, the signal is its own, and ends
    // it.
    drop(opener);
    let end = end(&spawned);

    // SAFETY: what was there before.
    unsafe { sigaction(Signal::SIGUSR1, &before) }.unwrap();
    assert_eq!(
        nix::unistd::read(&heard, &mut [0]),
        Err(Errno::EAGAIN),
        "the host's handler ran in the child"
    );
    assert_eq!((end.code, end.status), (libc::CLD_KILLED, libc::SIGUSR1));
}

#[test]
fn a_handler_of_the_c_library_is_given_up_too() {
    // The C library hides signals 32 and 33, and has handlers for them in programs with threads.
    // posix_spawn(3) lets programs begin with them ignored, and what is ignored stays so.
    let exe = File::open("/bin/true").unwrap();
    let argv = [c"true".to_owned()];
    for signal in [32, 33, 64] {
        let (gate, opener) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let spawned = spawn(&Plan {
            gate: Some(gate.as_fd()),
            ..Plan::new(exe.as_fd(), &argv)
        })
        .unwrap();
        // SAFETY: an own child, which is not reaped yet.
        assert_eq!(unsafe { libc::kill(spawned.pid.as_raw(), signal) }, 0);
        drop(opener);
        let end = end(&spawned);
        if signals::handler(signal).unwrap() == libc::SIG_IGN {
            assert_eq!((end.code, end.status), (libc::CLD_EXITED, 0));
        } else {
            assert_eq!((end.code, end.status), (libc::CLD_KILLED, signal));
        }
    }
}
