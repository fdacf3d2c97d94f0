//! A thousand jobs in one loop of one thread: `thousand [JOBS]`.
//!
//! Each job is one descriptor in one epoll. Every second one leaves a process behind that outlives
//! its first. A job holds three descriptors while its first process lives, and five after that.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::collections::HashMap;
use std::time::Duration;

use allgone::job::Job;
use allgone::sys::time::now;
use allgone::{Base, Command};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: u64 = std::env::args().nth(1).map_or(Ok(1000), |n| n.parse())?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;

    let base = Base::find()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut jobs: HashMap<u64, Job> = HashMap::new();
    let started = now();
    for number in 0..wanted {
        let script = ["sleep 0.3", "setsid sleep 0.5 & exit"][usize::from(number % 2 == 1)];
        let job = Command::new("sh").args(["-c", script]).spawn(&base)?;
        epoll.add(&job, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        jobs.insert(number, job);
    }
    let all = jobs.len();
    let (mut removed, mut rings) = (0, 0);
    let deadline = now() + Duration::from_secs(120);
    while !jobs.is_empty() && !deadline.has_passed() {
        let mut events = [EpollEvent::empty(); 64];
        let ready = epoll.wait(&mut events, EpollTimeout::from(1000u16))?;
        rings += ready;
        for event in events.iter().take(ready) {
            let Some(job) = jobs.get_mut(&event.data()) else {
                continue;
            };
            if let Some(done) = job.try_wait()? {
                removed += usize::from(done.success());
                // Closing its descriptor takes it out of the epoll.
                jobs.remove(&event.data());
            }
        }
    }
    println!(
        "{removed} of {all} jobs are known to be gone, after {} ms and {rings} looks",
        now().since(started).as_millis()
    );
    if removed == all {
        Ok(())
    } else {
        Err("not all are gone".into())
    }
}
