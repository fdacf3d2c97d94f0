//! Jobs that are started through a guard.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::Base as JobBase;
use allgone::job::{Command, Guarded, Job, Pool, Proof, StartError, ToldBy};
use allgone::limits::LimitSource;
use allgone::sys::sched::SHORTEST_SLICE_NS;
use allgone::sys::time::now;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Test;
use crate::base::{Base, PATIENCE, pid_of, until};
use crate::deaths::second_of;

pub(crate) const TESTS: &[Test] = &[
    ("a_guarded_job_is_proved", a_guarded_job_is_proved),
    ("a_program_that_is_not_there", a_program_that_is_not_there),
    ("a_pool_with_a_guard", a_pool_with_a_guard),
    (
        "a_lost_guard_is_in_the_completion",
        a_lost_guard_is_in_the_completion,
    ),
    ("what_was_known_stays_known", what_was_known_stays_known),
    (
        "without_guard_and_second_only_the_host_acts",
        without_guard_and_second_only_the_host_acts,
    ),
    (
        "guard_and_second_run_soon_and_jobs_as_before",
        guard_and_second_run_soon_and_jobs_as_before,
    ),
    (
        "unguarded_jobs_of_the_base_are_let_alone",
        unguarded_jobs_of_the_base_are_let_alone,
    ),
];

fn jobs(base: &Base) -> JobBase {
    let cgroup = base.cgroup.try_clone().unwrap();
    JobBase::given(cgroup, LimitSource::None, "test".to_owned())
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn done(job: &mut Job) -> allgone::job::Completion {
    job.wait(now() + PATIENCE).unwrap().unwrap()
}

fn a_guarded_job_is_proved() {
    let base = Base::must();
    let guarded = Guarded::start(&jobs(&base)).unwrap();
    let mut job = shell("setsid sleep 0.01 & exit 3").spawn(&guarded).unwrap();
    let effects = job.effects();
    assert!(!effects.sigchld && effects.ends_with_host && effects.host.are_harmless());
    let completion = done(&mut job);
    assert_eq!(completion.status.unwrap().code(), Some(3));
    assert_eq!(completion.proof, Proof::Removed);
    assert_ne!(completion.mechanisms.told_by, ToldBy::Main, "one lived on");
    drop(job);
    // Killed, with an orphan-to-be.
    let mut job = shell("setsid sleep 1000 & wait").spawn(&guarded).unwrap();
    let completion = job.kill().unwrap();
    assert_eq!(completion.proof, Proof::Removed);
    assert!(completion.status.is_ok(), "{completion:?}");
    drop(job);
    drop(guarded);
    assert!(base.is_clear());
}

/// The slice of a process, where the kernel has such and tells of them (Linux 6.12,
/// `CONFIG_SCHED_DEBUG`).
fn slice_ns(sched: &str) -> Option<u64> {
    let line = sched.lines().find(|line| line.starts_with("se.slice"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// However busy a job keeps the processors.
fn guard_and_second_run_soon_and_jobs_as_before() {
    let of = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/sched"));
        slice_ns(&text.unwrap_or_default())
    };
    let base = Base::must();
    let own = of("thread-self");
    let guarded = Guarded::start(&jobs(&base)).unwrap();
    let command = shell("cat /proc/self/sched 2>/dev/null || true");
    let (_, output) = command.output(&guarded, now() + PATIENCE).unwrap();
    let of_job = slice_ns(&String::from_utf8_lossy(&output.stdout));
    // The job was served, so the guard has tried.
    let guard = pid_of(guarded.guard());
    let second = until(PATIENCE, || second_of(guard)).unwrap();
    let shortest = own.map(|_| SHORTEST_SLICE_NS);
    let found = [guard, second].map(|pid| of(&pid.to_string()));
    assert_eq!((found, of_job), ([shortest; 2], own));
}

fn a_program_that_is_not_there() {
    let base = Base::must();
    let jobs = jobs(&base);
    let guarded = Guarded::start(&jobs).unwrap();
    let command = || Command::new("/nowhere/program");
    let errors = [
        command().spawn(&guarded).unwrap_err(),
        command().spawn(&jobs).unwrap_err(),
    ];
    for error in &errors {
        assert!(
            matches!(
                error,
                StartError::Child {
                    errno: Errno::ENOENT,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(
        errors[0].to_string(),
        errors[1].to_string(),
        "with a guard and without"
    );
    drop(guarded);
    assert!(base.is_clear());
}

fn a_pool_with_a_guard() {
    let base = Base::must();
    let guarded = Guarded::start(&jobs(&base)).unwrap();
    let pool = Pool::new(&guarded, 2).unwrap();
    for _ in 0..3 {
        let mut job = shell("setsid sleep 0.01 & exit 0").spawn(&pool).unwrap();
        assert_eq!(done(&mut job).proof, Proof::Removed);
    }
    drop((pool, guarded));
    assert!(base.is_clear());
}

fn kill_guard(guarded: &Guarded, and_second: bool) {
    let guard = pid_of(guarded.guard());
    let mut pids = vec![guard];
    if and_second {
        pids.insert(0, until(PATIENCE, || second_of(guard)).unwrap());
    }
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        // Stopped first, so that neither acts for the other.
        for pid in &pids {
            kill(Pid::from_raw(*pid), signal).unwrap();
        }
    }
}

fn a_lost_guard_is_in_the_completion() {
    for and_second in [false, true] {
        let base = Base::must();
        let guarded = Guarded::start(&jobs(&base)).unwrap();
        let mut job = shell("setsid sleep 1000 & wait").spawn(&guarded).unwrap();
        kill_guard(&guarded, and_second);
        let completion = done(&mut job);
        assert_eq!(completion.status.unwrap_err().errno, Errno::EPIPE);
        match completion.proof {
            Proof::Removed => {}
            // The second was first.
            Proof::Unknown(error) if !and_second => {
                assert!(
                    matches!(error.errno, Errno::ENODEV | Errno::ENOENT),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
        let error = shell("exit 0").spawn(&guarded).unwrap_err();
        assert!(error.to_string().contains("it has died"), "{error}");
        drop((job, guarded));
        base.wait_clear(Duration::from_secs(1));
    }
}

/// Until it looks, the job lives. What it does not look at, it ends by dropping it.
fn without_guard_and_second_only_the_host_acts() {
    let base = Base::must();
    let guarded = Guarded::start(&jobs(&base)).unwrap();
    let mut looked_at = shell("setsid sleep 1000 & wait").spawn(&guarded).unwrap();
    let dropped = shell("setsid sleep 1000 & wait").spawn(&guarded).unwrap();
    kill_guard(&guarded, true);
    until(PATIENCE, || {
        guarded.guard().has_died().unwrap().then_some(())
    })
    .unwrap();
    // Each job's descriptor says that there is something to look at.
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    for job in [&looked_at, &dropped] {
        let mut ready = [PollFd::new(job.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ready, patience), Ok(1));
        assert!(
            job.cgroup().events().unwrap().populated,
            "nothing else acts"
        );
    }
    assert_eq!(done(&mut looked_at).proof, Proof::Removed);
    let path = dropped.cgroup().path().to_path_buf();
    drop(dropped);
    assert!(!path.exists());
    drop((looked_at, guarded));
    base.wait_clear(PATIENCE);
}

fn what_was_known_stays_known() {
    let base = Base::must();
    let guarded = Guarded::start(&jobs(&base)).unwrap();
    let mut job = shell("setsid sleep 1000 & exit 5").spawn(&guarded).unwrap();
    let main = format!("/proc/{}", job.id());
    until(PATIENCE, || {
        (!std::path::Path::new(&main).exists()).then_some(())
    })
    .unwrap();
    assert!(job.try_wait().unwrap().is_none());
    kill_guard(&guarded, true);
    let completion = done(&mut job);
    assert_eq!(completion.status.unwrap().code(), Some(5));
    assert_eq!(completion.proof, Proof::Removed);
}

fn unguarded_jobs_of_the_base_are_let_alone() {
    let base = Base::must();
    let jobs = jobs(&base);
    let mut other = shell("exec sleep 1000").spawn(&jobs).unwrap();
    let first = Guarded::start(&jobs).unwrap();
    let second = Guarded::start(&jobs).unwrap();
    let mut safe = shell("exec sleep 1000").spawn(&second).unwrap();
    let _ended = shell("exec sleep 1000").spawn(&first).unwrap();
    kill_guard(&first, false);
    let own = |guarded: &Guarded| guarded.guard().prefix().to_owned();
    let gone = || {
        let left = base.cgroup.descendants().unwrap().flatten();
        let names = left.map(|cgroup| cgroup.path().file_name().unwrap().to_owned());
        (!names
            .into_iter()
            .any(|n| n.to_string_lossy().starts_with(&own(&first))))
        .then_some(())
    };
    until(PATIENCE, gone).unwrap();
    assert!(other.try_wait().unwrap().is_none());
    assert!(safe.try_wait().unwrap().is_none());
    assert!(other.kill().unwrap().status.is_ok());
    assert!(safe.kill().unwrap().status.is_ok());
}
