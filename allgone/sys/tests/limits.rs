//! A low limit on descriptors. It holds for the whole process, so this program has one test.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod support;

use std::fs::File;
use std::os::fd::AsFd;

use allgone_sys::spawn::{Plan, Step, spawn};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::WaitStatus;

use support::{end, output, pipe, sh};

#[test]
fn a_low_limit_on_descriptors_is_enough_for_what_is_given() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let shell = sh("/bin/echo hello > /proc/self/fd/40");
    let (read, write) = pipe();
    let inherit = [(write.as_fd(), 40)];
    let plan = Plan {
        inherit: &inherit,
        ..shell.plan()
    };
    let spawned = spawn(&plan).unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 0));
    assert_eq!(spawned.failure(), Ok(None));
    drop(write);
    assert_eq!(output(read), "hello\n");

    // A number beyond the limit cannot be given, and the step says so.
    let null = File::open("/dev/null").unwrap();
    let inherit = [(null.as_fd(), 64)];
    let spawned = spawn(&Plan {
        inherit: &inherit,
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 127));
    let failure = spawned.failure().unwrap().unwrap();
    assert_eq!(
        (failure.step, failure.errno),
        (Step::Descriptors, Errno::EBADF)
    );
}
