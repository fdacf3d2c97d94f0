//! Bad input and bad luck: an error that says what was tried and what to do, or a completion that
//! says what is not known. Never a hang, and never "gone" when it is not known.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod jobs;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::job::{Place, StartError, Stdio};
use allgone::limits::LimitSource;
use allgone::sys::spawn::Entry;
use allgone::{Base, Command, Proof};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use jobs::{base, sh, soon};

/// A place of this test alone, so that what is left in it can be counted.
struct Own(Cgroup);

impl Own {
    fn new() -> Self {
        Self(base().create().unwrap())
    }

    fn base(&self) -> Base {
        Base::given(self.0.try_clone().unwrap(), LimitSource::None, "job".into())
    }

    fn left(&self) -> usize {
        self.0.children().unwrap().count()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let (parent, name) = (
            self.0.path().parent().unwrap(),
            self.0.path().file_name().unwrap(),
        );
        let parent = Cgroup::open(parent).unwrap();
        let removed = parent.remove_child(name.to_str().unwrap());
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

fn refused(command: &Command, place: &impl Place, errno: Errno, says: &str) -> StartError {
    let error = command.spawn(place).unwrap_err();
    assert_eq!(error.errno(), Some(errno), "{error}");
    assert!(error.to_string().contains(says), "{says:?} not in: {error}");
    error
}

/// In a thread of its own, whatever it does to itself.
fn apart(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(body).join().unwrap());
}

/// From now on `calls` fail in this thread, and in all that it starts.
fn refuse(calls: &[i64], errno: Errno) {
    let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno((errno as i32).unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn a_program_that_cannot_be_executed_is_named_with_the_reason() {
    let own = Own::new();
    let base = own.base();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("no-program");
    std::fs::write(&file, "no program").unwrap();
    let nowhere = Command::new("a-program-of-nobody");
    refused(
        &nowhere,
        &base,
        Errno::ENOENT,
        "could not start a-program-of-nobody: execve failed",
    );
    refused(&nowhere, &base, Errno::ENOENT, "is it in PATH");
    refused(
        &Command::new(&file),
        &base,
        Errno::EACCES,
        "no-program: execve failed: EACCES",
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused(&Command::new(&file), &base, Errno::ENOEXEC, "`#!` line");
    std::fs::write(&file, "#!/nowhere/sh\n").unwrap();
    refused(&Command::new(&file), &base, Errno::ENOENT, "interpreter");
    refused(
        &Command::new(""),
        &base,
        Errno::ENOENT,
        "could not start : execve failed",
    );
    refused(
        &Command::new("/"),
        &base,
        Errno::EACCES,
        "execute permission",
    );
    assert_eq!(own.left(), 0);
}

#[test]
fn a_directory_that_is_gone_is_said_to_be_the_directory() {
    let own = Own::new();
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let mut command = Command::new("true");
    command.current_dir(&gone);
    refused(&command, &own.base(), Errno::ENOENT, "chdir failed");
    assert_eq!(own.left(), 0);
    // The host's own directory may be gone, too: nothing needs it.
    apart(|| {
        unshare(CloneFlags::CLONE_FS).unwrap();
        std::fs::create_dir(&gone).unwrap();
        std::env::set_current_dir(&gone).unwrap();
        std::fs::remove_dir(&gone).unwrap();
        let mut job = Command::new("true").spawn(&own.base()).unwrap();
        assert!(job.wait(soon()).unwrap().unwrap().success());
    });
}

#[test]
fn what_is_no_cgroup_or_is_not_the_callers_is_refused_and_left_clean() {
    let dir = tempfile::tempdir().unwrap();
    let no_cgroup = Cgroup::open(dir.path()).unwrap();
    let base = Base::given(no_cgroup, LimitSource::None, "job".into());
    let error = Command::new("true").spawn(&base).unwrap_err();
    assert!(
        error.to_string().contains("clone a process into"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let own = Own::new();
    let gone = own.0.create("gone").unwrap();
    let base = Base::given(gone, LimitSource::None, "job".into());
    own.0.remove_child("gone").unwrap();
    refused(
        &Command::new("true"),
        &base,
        Errno::ENOENT,
        "the base has been removed",
    );
}

#[test]
fn a_read_only_hierarchy_is_refused_with_what_to_do() {
    if !nix::unistd::geteuid().is_root() {
        // Another user's directory, which is as good a refusal.
        let root = Cgroup::open(base().cgroup().path()).unwrap();
        let base = Base::given(root, LimitSource::None, "job".into());
        drop(Command::new("true").spawn(&base));
        return;
    }
    let own = Own::new();
    apart(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let path = own.0.path();
        mount(Some(path), path, none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, path, none, read_only, none).unwrap();
        let base = Base::given(Cgroup::open(path).unwrap(), LimitSource::None, "job".into());
        refused(
            &Command::new("true"),
            &base,
            Errno::EROFS,
            "mount cgroup2 writable",
        );
    });
    assert_eq!(own.left(), 0);
}

#[test]
fn where_clone3_is_refused_the_process_moves_itself_and_says_so() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let own = Own::new();
        apart(|| {
            refuse(&[nix::libc::SYS_clone3], errno);
            let mut job = sh("sleep 0.01 & exit 3").spawn(&own.base()).unwrap();
            let done = job.wait(soon()).unwrap().unwrap();
            assert_eq!(done.mechanisms.entry, Entry::Moved(errno));
            assert_eq!(done.status.unwrap().code(), Some(3));
            assert_eq!(done.proof, Proof::Removed);
            let missing = Command::new("a-program-of-nobody");
            refused(&missing, &own.base(), Errno::ENOENT, "execve failed");
        });
        assert_eq!(own.left(), 0);
    }
}

#[test]
fn where_no_process_can_be_made_nothing_is_left() {
    let calls = [nix::libc::SYS_clone3, nix::libc::SYS_clone];
    for (errno, says) in [
        (Errno::EAGAIN, "a limit on tasks is reached"),
        (Errno::EPERM, "seccomp policy"),
    ] {
        let own = Own::new();
        apart(|| {
            refuse(&calls, errno);
            refused(&Command::new("true"), &own.base(), errno, says);
        });
        assert_eq!(own.left(), 0);
    }
}

#[test]
fn descriptors_that_run_out_at_any_point_leave_nothing_behind() {
    const NAME: &str = "descriptors_that_run_out_at_any_point_leave_nothing_behind";
    if std::env::var_os("IN_A_PROCESS_OF_ITS_OWN").is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("IN_A_PROCESS_OF_ITS_OWN", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let own = Own::new();
    let base = own.base();
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count() - 1;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let highest = || std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 + 1;
    let (mut errors, mut ended) = (0, 0);
    for spare in 0..16 {
        let before = count();
        setrlimit(Resource::RLIMIT_NOFILE, highest() - 2 + spare, hard).unwrap();
        let mut command = sh("sleep 0.001 & exit");
        command.stdout(Stdio::piped());
        let started = command.spawn(&base);
        let result = started.map(|mut job| job.wait(soon()));
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        match result {
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::EMFILE), "{error}");
                errors += 1;
            }
            // The job was dropped with its error, when there were descriptors again.
            Ok(Err(error)) => {
                assert!(error.to_string().contains("EMFILE"), "{error}");
                errors += 1;
            }
            Ok(Ok(done)) => {
                assert_eq!(done.unwrap().proof, Proof::Removed);
                ended += 1;
            }
        }
        assert_eq!((count(), own.left()), (before, 0), "with {spare} to spare");
    }
    assert!(errors > 2 && ended > 2, "{errors} errors, {ended} ended");
}

#[test]
fn a_cgroup_that_somebody_else_removes_is_unknown_and_not_gone() {
    let own = Own::new();
    let mut job = sh("exit 3").spawn(&own.base()).unwrap();
    let mut fds = [PollFd::new(job.pidfd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut fds, PollTimeout::try_from(10_000).unwrap()).unwrap(),
        1
    );
    let name = job.cgroup().path().file_name().unwrap().to_owned();
    own.0.remove_child(name.to_str().unwrap()).unwrap();
    let done = job.wait(soon()).unwrap().unwrap();
    assert_eq!(done.status.unwrap().code(), Some(3));
    let Proof::Unknown(error) = done.proof else {
        panic!("{:?}", done.proof)
    };
    assert!(
        matches!(error.errno, Errno::ENODEV | Errno::ENOENT),
        "{error}"
    );
}

#[test]
fn a_job_that_somebody_else_kills_and_removes_does_not_hang() {
    let own = Own::new();
    let mut job = sh("sleep 1000 & sleep 1000").spawn(&own.base()).unwrap();
    assert!(job.try_wait().unwrap().is_none());
    let other = Cgroup::open(job.cgroup().path()).unwrap();
    other.kill().unwrap();
    allgone::cgroup::remove_when_empty(other).unwrap();
    let done = job.wait(soon()).unwrap().unwrap();
    assert!(!done.status.unwrap().success());
    assert!(matches!(done.proof, Proof::Unknown(_)), "{:?}", done.proof);
}

#[test]
fn a_job_that_somebody_else_has_frozen_is_killed_all_the_same() {
    let own = Own::new();
    let mut job = sh("sleep 1000 & sleep 1000").spawn(&own.base()).unwrap();
    job.cgroup().freeze(true).unwrap();
    let limit = allgone::sys::time::now() + Duration::from_millis(50);
    assert!(
        job.wait(limit).unwrap().is_none(),
        "it waits, and not for ever"
    );
    let done = job.kill().unwrap();
    assert_eq!(done.proof, Proof::Removed);
}

#[test]
fn a_frozen_base_holds_the_new_process_and_not_the_host() {
    let own = Own::new();
    own.0.freeze(true).unwrap();
    refused(
        &Command::new("true"),
        &own.base(),
        Errno::ETIMEDOUT,
        "frozen",
    );
    own.0.freeze(false).unwrap();
    assert_eq!(own.left(), 0);
}

#[test]
fn a_status_that_somebody_else_has_taken_is_an_error_and_the_proof_stands() {
    use allgone::sys::wait::{Whose, waitid};
    use nix::sys::wait::WaitPidFlag;
    let own = Own::new();
    let mut job = sh("exit 3").spawn(&own.base()).unwrap();
    waitid(Whose::Pidfd(job.pidfd()), WaitPidFlag::WEXITED).unwrap();
    let done = job.wait(soon()).unwrap().unwrap();
    assert_eq!(done.status.unwrap_err().errno, Errno::ECHILD);
    assert_eq!(done.proof, Proof::Removed);
    assert!(done.main_ended.is_none());
}
