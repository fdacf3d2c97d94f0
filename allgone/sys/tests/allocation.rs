//! The child asks for no memory between clone and exec: another thread of the host may have held
//! the allocator's lock.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod support;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use allgone_sys::alloc::Guarded;
use allgone_sys::spawn::{Credentials, Plan, Session, Step, spawn};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use support::{end, pipe, refuse, sh};

/// The process that may allocate. After a successful exec a child is another program.
static HOST: AtomicU32 = AtomicU32::new(0);

#[global_allocator]
static ALLOCATOR: Guarded = Guarded::new(|| {
    let host = HOST.load(Ordering::Relaxed);
    host != 0 && host != std::process::id()
});

#[test]
fn every_step_does_without_memory() {
    HOST.store(std::process::id(), Ordering::Relaxed);
    let cpus: CpuSet = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let shell = sh("exit 7");
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let (gate, opener) = pipe();
    drop(opener);
    let inherit = [(null.as_fd(), 3), (gate.as_fd(), 4), (null.as_fd(), 5)];
    let tasks = [null.as_fd()];
    let plan = Plan {
        session: Session::Group,
        credentials: nix::unistd::geteuid().is_root().then_some(Credentials {
            uid: 65_534,
            gid: 65_534,
        }),
        no_new_privs: true,
        inherit: &inherit,
        gate: Some(gate.as_fd()),
        init: true,
        parent_death_signal: Some(Signal::SIGKILL),
        affinity: Some(cpus),
        tasks: &tasks,
        ..shell.plan()
    };
    for refused in [false, true] {
        if refused {
            refuse(nix::libc::SYS_close_range, nix::errno::Errno::ENOSYS);
        }
        let spawned = spawn(&plan).unwrap();
        assert_eq!(
            end(&spawned),
            WaitStatus::Exited(spawned.pid, 7),
            "{:?}",
            spawned.failure()
        );

        let no_program = spawn(&Plan {
            exe: null.as_fd().into(),
            ..plan
        })
        .unwrap();
        assert_eq!(end(&no_program), WaitStatus::Exited(no_program.pid, 127));
        assert_eq!(no_program.failure().unwrap().unwrap().step, Step::Exec);
    }
}
