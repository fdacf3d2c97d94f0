//! The host of a life: it starts a guard and a job, and ends in one of two ways.

use std::io::Read;
use std::os::fd::AsFd;

use allgone::cgroup::Cgroup;
use allgone::guard::{Guard, GuardOptions, Request, Said, Spawned};
use allgone::sys::spawn::exit_now;

use crate::base::{PATIENCE, PREFIX, next, strings, until};

/// Leaves two that ignore what can be ignored, and ends.
const LEAVES: &str = "trap '' TERM INT HUP; setsid sleep 1000 & \
                      setsid sh -c 'sleep 1000 & sleep 1000' & exit 3";

/// Ends as a program that has a guard does: its job is told to be empty or lost, it is removed, and
/// the guard ended.
pub(super) const ENDS: &str = "ends";
/// Ends without a word, while the job lives.
pub(super) const DIES: &str = "dies";

/// The whole program. Exit code 1: somebody has killed what it needs, and it has said goodbye to
/// all that it knows of.
pub(super) fn main(base: &Cgroup, end: &str) -> i32 {
    // The tracer is ready when this ends.
    if std::io::stdin().read_to_end(&mut Vec::new()).is_err() {
        return 2;
    }
    let Ok(guard) = Guard::start(base, PREFIX, &GuardOptions::default()) else {
        return 1;
    };
    let Ok(cgroup) = base.create(&format!("{PREFIX}1")) else {
        return 1;
    };
    let code = match start(&guard, &cgroup) {
        Some(mut job) if end == DIES => {
            while !matches!(next(&mut job.channel), Said::Ended(_) | Said::Died) {}
            exit_now(0)
        }
        Some(mut job) => {
            while !matches!(next(&mut job.channel), Said::Ended(_) | Said::Died) {}
            0
        }
        None => 1,
    };
    // Whatever the guard has come to: a host ends what it has started.
    let removed = until(PATIENCE, || {
        if let Ok(job) = base.child(&format!("{PREFIX}1")) {
            match job.kill() {
                Ok(()) | Err(_) => {}
            }
            return base.remove_child(&format!("{PREFIX}1")).ok();
        }
        Some(())
    });
    if removed.is_none() {
        return 3;
    }
    drop(guard);
    code
}

fn start(guard: &Guard, cgroup: &Cgroup) -> Option<Spawned> {
    let (paths, argv) = (strings(&["/bin/sh"]), strings(&["sh", "-c", LEAVES]));
    let envp = strings(&["PATH=/usr/bin:/bin"]);
    let nothing = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .ok()?;
    let request = Request {
        envp: &envp,
        fds: &[0, 1, 2].map(|number| (nothing.as_fd(), number)),
        ..Request::new(&paths, &argv)
    };
    guard.spawn(cgroup.as_fd(), &request).ok()
}
