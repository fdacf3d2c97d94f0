//! Whether a child is killed at birth in a cgroup that was written `1` to `cgroup.kill` when it was
//! empty or earlier: a bug that came with a fix of early 2025, was backported to many stable
//! kernels, and was fixed in 2026.

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::Answer;
use crate::site::{OwnCgroup, reap};

pub(crate) fn ask(own: &OwnCgroup, tries: usize) -> Result<Vec<Answer>> {
    let mut fresh = Answer::new("reuse", "child of clone3 in a fresh cgroup");
    let mut killed = Answer::new("reuse", "child of clone3 in a cgroup killed before");
    for _ in 0..tries {
        for (answer, kill_first) in [(&mut fresh, false), (&mut killed, true)] {
            let group = own.group()?;
            if kill_first {
                group.write("cgroup.kill", "1")?;
            }
            let child = group.spawn(|| 0)?;
            answer.tries += 1;
            answer.count(match reap(&child)? {
                WaitStatus::Exited(_, 0) => "lived",
                WaitStatus::Signaled(_, Signal::SIGKILL, _) => "killed at birth",
                _ => "ended otherwise",
            });
            group.remove()?;
        }
    }
    Ok(vec![fresh, killed])
}
