//! Jobs of real processes, started by a program with threads.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod jobs;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use allgone::host::KernelVersion;
use allgone::job::{JobError, Leftovers, Pool, Stdio, ToldBy, UsageOf};
use allgone::limits::LimitSource;
use allgone::sys::spawn::{Entry, Session};
use allgone::sys::time::now;
use allgone::{Command, Completion, Job, Proof};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::Resource;

use jobs::{base, gone, sh, soon};

#[test]
fn a_program_runs_and_everything_is_known_to_be_gone() {
    let mut job = Command::new("true").spawn(&base()).unwrap();
    let path = job.cgroup().path().to_path_buf();
    let done = job.wait(soon()).unwrap().unwrap();
    assert!(done.success(), "{done:?}");
    assert_eq!(done.proof, Proof::Removed);
    assert!(!path.exists());
    assert!(is_of_the_last(done.mechanisms.told_by));
    assert_eq!(done.mechanisms.entry, Entry::Born);
    assert!(done.mechanisms.ended_by.is_none());
    assert!(done.started < done.main_ended.unwrap() && done.main_ended.unwrap() <= done.known);
    assert_eq!(done.usage.cpu.unwrap().of, UsageOf::Job);
    assert!(done.usage.peak_memory.unwrap().bytes > 0);
    let again = job.try_wait().unwrap().unwrap();
    assert_eq!(again.known, done.known, "it says so again");
}

#[test]
fn a_status_is_the_one_of_the_first_process() {
    for (script, code, signal) in [("exit 7", Some(7), None), ("kill -9 $$", None, Some(9))] {
        use std::os::unix::process::ExitStatusExt;
        let done = end(&mut sh(script).spawn(&base()).unwrap());
        let status = done.status.unwrap();
        assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
        assert_eq!(done.proof, Proof::Removed);
    }
}

#[test]
fn arguments_environment_directory_and_streams_reach_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("said");
    let mut command = sh("pwd; echo \"$A-$B-$PATH-$1\"; cat; umask; ulimit -n");
    command
        .arg("sh")
        .arg("first")
        .env_clear()
        .env("A", "1")
        .env("B", "2")
        .env_remove("B")
        .current_dir(dir.path())
        .umask(0o027)
        .rlimit(Resource::RLIMIT_NOFILE, 55, 56)
        .stdin(Stdio::piped())
        .stdout(File::create(&file).unwrap());
    let mut job = command.spawn(&base()).unwrap();
    job.stdin.take().unwrap().write_all(b"input\n").unwrap();
    assert!(end(&mut job).success());
    let said = std::fs::read_to_string(&file).unwrap();
    let dir = dir.path().canonicalize().unwrap();
    // A shell without PATH makes one up, and does not export it.
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], dir.to_str().unwrap());
    assert!(
        lines[1].starts_with("1--") && lines[1].ends_with("-first"),
        "{said}"
    );
    assert_eq!(lines[2..], ["input", "0027", "55"]);
}

#[test]
fn it_has_another_user_and_a_session_as_it_was_asked() {
    if !nix::unistd::geteuid().is_root() {
        return assert_eq!(
            Command::new("true")
                .user(0, 0)
                .spawn(&base())
                .unwrap_err()
                .errno(),
            Some(nix::errno::Errno::EPERM)
        );
    }
    let script = "id -u; id -g; id -G; grep -c 'NoNewPrivs:.1' /proc/self/status; \
                  [ $(ps -o sid= $$) = $$ ] && echo own";
    let mut command = sh(script);
    command.user(4711, 4712).current_dir("/");
    let (_, output) = command.output(&base(), soon()).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "4711\n4712\n4712\n1\nown\n"
    );
    let mut command = sh("[ $(ps -o sid= $$) = $$ ] || echo inherited");
    command.session(Session::Inherit);
    let (_, output) = command.output(&base(), soon()).unwrap();
    assert_eq!(output.stdout, b"inherited\n");
}

#[test]
fn a_script_is_executed_and_looked_up_in_the_path_of_the_command() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("a-script");
    std::fs::write(&script, "#!/bin/sh\necho found $0\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("a-script");
    command.env("PATH", dir.path());
    let (_, output) = command.output(&base(), soon()).unwrap();
    let wanted = format!("found {}\n", script.display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    // Relative to the directory of the program.
    let mut command = Command::new("./a-script");
    command.current_dir(dir.path());
    assert!(end(&mut command.spawn(&base()).unwrap()).success());
}

#[test]
fn a_job_is_over_when_the_last_of_its_processes_is() {
    let (gate, mut opener) = std::io::pipe().unwrap();
    // Twice forked, in a session of its own, with none of the job's streams.
    let mut command = sh("exec 3<&0; (setsid sh -c 'read x' <&3 >/dev/null 2>&1 &) ; exit 3");
    command.stdin(Stdio::from(gate));
    let mut job = command.spawn(&base()).unwrap();
    drop(command);
    while job.pidfd_is_quiet() {}
    assert!(job.try_wait().unwrap().is_none(), "one of it lives");
    opener.write_all(b"go\n").unwrap();
    let done = end(&mut job);
    assert_eq!(done.status.unwrap().code(), Some(3));
    assert_eq!(done.proof, Proof::Removed);
    assert_eq!(done.mechanisms.told_by, ToldBy::Events);
    assert!(done.main_ended.unwrap() < done.known);
}

#[test]
fn what_outlives_the_first_process_is_killed_if_that_is_wanted() {
    let mut command = sh("setsid sleep 1000 & exit 3");
    command.leftovers(Leftovers::Kill);
    let done = end(&mut command.spawn(&base()).unwrap());
    assert_eq!(done.status.unwrap().code(), Some(3));
    assert_eq!(done.proof, Proof::Removed);
    assert!(done.mechanisms.ended_by.is_some());
}

#[test]
fn a_kill_reaches_everything_and_proves_it() {
    let mut command = sh(
        "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000' &); \
         sleep 1000 & kill -STOP $!; wait",
    );
    command.stdout(Stdio::null());
    let mut job = command.spawn(&base()).unwrap();
    let path = job.cgroup().path().to_path_buf();
    while job.cgroup().procs().unwrap().pids.len() < 4 {}
    let done = job.kill().unwrap();
    assert_eq!(done.proof, Proof::Removed);
    assert!(done.status.is_ok_and(|status| !status.success()));
    assert_eq!(
        done.mechanisms.ended_by.unwrap().strategy,
        "cgroup-kill-sweep"
    );
    assert!(!path.exists());
}

#[test]
fn a_killed_job_is_told_by_what_follows_the_kill() {
    // One process: its end. Of two the first may end first, or last.
    let mut job = sh("exec sleep 1000").spawn(&base()).unwrap();
    let done = job.kill().unwrap();
    assert!(is_of_the_last(done.mechanisms.told_by));
    assert!(done.mechanisms.ended_by.is_some());
    let mut job = sh("sleep 1000 & wait").spawn(&base()).unwrap();
    while job.cgroup().procs().unwrap().pids.len() < 2 {}
    let done = job.kill().unwrap();
    assert_ne!(done.mechanisms.told_by, ToldBy::Starter, "there is none");
    assert_eq!(done.proof, Proof::Removed);
}

/// Whether this is how the end of a job is told whose first process is its last.
fn is_of_the_last(told_by: ToldBy) -> bool {
    let name = nix::sys::utsname::uname().unwrap();
    let version = KernelVersion::parse(&name.release().to_string_lossy()).unwrap();
    // From 6.19 on a process may be counted for a moment after its end was reported.
    told_by == ToldBy::Main || told_by == ToldBy::Events && version >= KernelVersion(6, 19)
}

#[test]
fn who_heeds_a_request_to_end_has_the_time_for_it() {
    let mut command = sh("trap 'exit 42' TERM; echo ready; read x");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut job = command.spawn(&base()).unwrap();
    job.stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 6])
        .unwrap();
    let done = job.terminate(Duration::from_secs(60)).unwrap();
    assert_eq!(done.status.unwrap().code(), Some(42));
    assert_eq!(done.proof, Proof::Removed);
    // A process that does not is killed.
    let mut job = sh("trap '' TERM; echo ready; while :; do sleep 1000; done");
    let mut job = job.stdout(Stdio::piped()).spawn(&base()).unwrap();
    job.stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 6])
        .unwrap();
    let done = job.terminate(Duration::from_millis(50)).unwrap();
    assert!(done.status.unwrap().code().is_none());
    assert_eq!(done.proof, Proof::Removed);
}

#[test]
fn the_one_descriptor_tells_every_change() {
    let mut job = sh("sleep 0.01 & exit").spawn(&base()).unwrap();
    let done = loop {
        if let Some(done) = job.try_wait().unwrap() {
            break done;
        }
        let mut fds = [PollFd::new(job.as_fd(), PollFlags::POLLIN)];
        assert_eq!(
            poll(&mut fds, PollTimeout::try_from(10_000).unwrap()).unwrap(),
            1
        );
    };
    assert_eq!(done.proof, Proof::Removed);
}

#[test]
fn output_ends_with_the_job_and_not_with_the_pipe() {
    // A daemon of the job that holds the pipe.
    let mut command = sh("echo out; echo err >&2; setsid sleep 1000 & exit 5");
    command.leftovers(Leftovers::Kill);
    let (_, output) = command.output(&base(), soon()).unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let done = output.completion.unwrap();
    assert_eq!(
        (done.status.unwrap().code(), done.proof),
        (Some(5), Proof::Removed)
    );
    // A process outside that holds it.
    let mut command = sh("read x; echo out");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut job = command.spawn(&base()).unwrap();
    let holder = File::options()
        .write(true)
        .open(format!("/proc/{}/fd/1", job.id()))
        .unwrap();
    let output = job.output(soon()).unwrap();
    assert_eq!(output.stdout, b"out\n");
    assert!(output.completion.is_some());
    drop(holder);
    // More than fits into a pipe; and a deadline leaves the job to its owner.
    let command = sh("head -c 3000000 /dev/zero; sleep 1000");
    let (mut job, output) = command
        .output(&base(), now() + Duration::from_millis(500))
        .unwrap();
    assert!(output.completion.is_none());
    assert_eq!(job.kill().unwrap().proof, Proof::Removed);
    let rest = job.output(soon()).unwrap();
    assert_eq!(output.stdout.len() + rest.stdout.len(), 3_000_000);
}

#[test]
fn a_job_that_is_dropped_is_killed_and_removed() {
    let mut job = sh("setsid sleep 1000 & sleep 1000").spawn(&base()).unwrap();
    let path = job.cgroup().path().to_path_buf();
    while job.cgroup().procs().unwrap().pids.len() < 2 {}
    let pids = job.cgroup().procs().unwrap().pids;
    assert!(job.try_wait().unwrap().is_none());
    drop(job);
    assert!(!path.exists());
    assert!(pids.into_iter().all(gone));
}

#[test]
fn cgroups_that_a_job_makes_below_its_own_are_removed_too() {
    let mut job = sh("read x; cat /proc/self/cgroup >/dev/null");
    let mut job = job.stdin(Stdio::piped()).spawn(&base()).unwrap();
    job.cgroup()
        .create("below")
        .unwrap()
        .create("deeper")
        .unwrap();
    let path = job.cgroup().path().to_path_buf();
    drop(job.stdin.take());
    assert_eq!(end(&mut job).proof, Proof::Removed);
    assert!(!path.exists());
}

#[test]
fn a_pool_has_cgroups_ready() {
    let pool = Pool::new(&base(), 2).unwrap();
    let cold = end(&mut Command::new("true").spawn(&pool).unwrap());
    assert!(!cold.mechanisms.prepopulated, "not warm yet, and said so");
    pool.wait_warm();
    for _ in 0..2 {
        let mut job = sh("sleep 0.001 & exit").spawn(&pool).unwrap();
        let path = job.cgroup().path().to_path_buf();
        let done = end(&mut job);
        assert!(done.mechanisms.prepopulated);
        assert_eq!(done.proof, Proof::Removed);
        assert!(!path.exists());
    }
    assert_eq!(pool.refill().unwrap(), 2);
    let cold = end(&mut Command::new("true").spawn(&pool).unwrap());
    assert!(!cold.mechanisms.prepopulated);
}

#[test]
fn a_job_has_the_limits_that_were_asked_for() {
    let mut command = sh("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait");
    command
        .limit_tasks(4)
        .limit_memory(64 << 20)
        .stderr(Stdio::piped());
    let mut job = match command.spawn(&base()) {
        Ok(job) => job,
        Err(e) => {
            assert_eq!(*base().limits(), LimitSource::None, "{e}");
            return assert!(
                e.to_string()
                    .contains("could not limit the tasks of the job"),
                "{e}"
            );
        }
    };
    // A shell that cannot fork says so, and ends.
    let mut said = String::new();
    let mut stderr = job.stderr.take().unwrap();
    let mut byte = [0];
    while !said.to_lowercase().contains("fork") {
        stderr.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let name = job.cgroup().path().file_name().unwrap().to_owned();
    assert_eq!(job.kill().unwrap().proof, Proof::Removed);
    if let LimitSource::V1 { pids, .. } = base().limits() {
        assert!(!pids.path.join(name).exists());
    }
}

#[test]
fn jobs_move_between_threads() {
    fn sent<T: Send>(_: &T) {}
    let base = base();
    let jobs: Vec<Job> = (0..8).map(|_| sh("exit 0").spawn(&base).unwrap()).collect();
    let threads = jobs.into_iter().map(|mut job| {
        sent(&job);
        std::thread::spawn(move || end(&mut job).proof)
    });
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.join().unwrap(), Proof::Removed);
    }
}

#[test]
fn no_descriptor_of_the_host_reaches_the_program() {
    let (read, write) = std::io::pipe().unwrap();
    // As in careless hosts.
    let number = nix::unistd::dup(&write).unwrap();
    nix::fcntl::fcntl(
        &number,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let (_, output) = sh("ls /proc/self/fd | wc -l")
        .output(&base(), soon())
        .unwrap();
    // The three streams, and the directory that is listed.
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "4");
    drop::<(_, OwnedFd)>((read, number));
}

fn end(job: &mut Job) -> Completion {
    let done: Result<Option<Completion>, JobError> = job.wait(soon());
    done.unwrap().expect("it ends")
}

/// The first process's own descriptor, asked without the job.
trait Quiet {
    fn pidfd_is_quiet(&self) -> bool;
}

impl Quiet for Job {
    fn pidfd_is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 0
    }
}
