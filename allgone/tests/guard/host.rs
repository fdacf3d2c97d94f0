//! A host in a process of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::guard::{Guard, GuardOptions, RefusedError, Request, Said};
use allgone::job::{Guarded, Job, Place, Pool, Proof, Stdio};
use allgone::limits::LimitSource;
use allgone::sys::fork::{Worker, worker};
use allgone::sys::privilege::{Credentials, become_user};
use allgone::sys::spawn::exit_now;
use allgone::sys::time::{now, sleep_until};
use allgone::{Base, MonoNs};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::base::{PATIENCE, PREFIX, Shell, environment, next, pid_of, strings, until};

/// Jobs that do not want to end.
const HOSTILE: [&str; 6] = [
    "sleep 1000 & setsid sleep 1000 & wait",
    "trap '' TERM INT HUP; while :; do sleep 0.01; done",
    "setsid sh -c 'sleep 1000 & exit' & exit 0",
    "mkdir -p $CGROUP/a/b; sh -c 'echo $$ > $CGROUP/a/b/cgroup.procs; exec sleep 1000'",
    "hop() { (sleep 0.005; hop) & }; hop; exit 0",
    // `cgroup.kill` spares it on many kernels.
    "exec $THIS leaderless",
];

/// A process whose first thread has ended, and whose second one sleeps for ever.
pub(crate) fn without_leader() -> ExitCode {
    let _failed = allgone::sys::actor::without_leader(&mut (), |()| {
        loop {
            match sleep_until(MonoNs(u64::MAX >> 1)) {
                Ok(()) | Err(_) => {}
            }
        }
    });
    ExitCode::FAILURE
}

pub(crate) fn main(args: &[String]) -> ExitCode {
    let [base, mode, rest @ ..] = args else {
        return ExitCode::from(64);
    };
    let base = Cgroup::open(base).unwrap();
    match mode.as_str() {
        "quiet" => quiet(&base),
        "lose" => lose(&base),
        "few-tasks" => few_tasks(&base, rest.first()),
        "few-descriptors" => few_descriptors(&base),
        "ladder" => ladder(&base),
        "no-clone3" => no_clone3(&base),
        "no-memfd" => no_memfd(&base),
        "fork" => fork(&base),
        "forks" => forks(&base),
        "limited" => crate::limits::limited(&base, &rest[0]),
        "oom" => run_out_of_memory(&base, rest),
        end => die(&base, end, rest[0].parse().unwrap()),
    }
    ExitCode::SUCCESS
}

fn guard(base: &Cgroup) -> Guard {
    Guard::start(base, PREFIX, &GuardOptions::default()).unwrap()
}

pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

/// Starts jobs until its end comes, which is in the middle of that or after it.
fn die(base: &Cgroup, end: &str, after_us: u64) {
    let guard = guard(base);
    let end = match end.strip_prefix("fork-") {
        // A copy of this process, with copies of all its descriptors, lives on.
        Some(end) => {
            worker(0, None, || wait_for_the_test().map_or(1, |()| 0)).unwrap();
            end
        }
        None => end,
    };
    let end = end.to_owned();
    std::thread::spawn(move || {
        sleep_until(now() + Duration::from_micros(after_us)).unwrap();
        match end.as_str() {
            "abort" => std::process::abort(),
            "exit" => exit_now(0),
            "exec" => {
                let error = Command::new("/bin/cat").exec();
                panic!("{error}")
            }
            _ => {}
        }
    });
    let mut jobs = Vec::new();
    for number in 0..12 {
        let script = HOSTILE[number % HOSTILE.len()];
        jobs.push(Shell::start(&guard, base, number, script));
        if number % 4 == 3 {
            jobs[number].cgroup.freeze(true).unwrap();
        }
    }
    wait_for_the_test().unwrap();
    // Not reached, or the test is over.
    std::mem::drop(jobs);
}

/// Enters `limited`, becomes `user`, starts jobs, and after a time takes memory until it is killed,
/// with a bystander in its cgroup.
#[expect(clippy::zombie_processes, reason = "its host dies with it")]
fn run_out_of_memory(base: &Cgroup, args: &[String]) {
    let [limited, user, after_us] = args else {
        panic!("{args:?}")
    };
    let (user, after_us) = (user.parse().unwrap(), after_us.parse().unwrap());
    std::fs::write(PathBuf::from(limited).join("cgroup.procs"), "0").unwrap();
    if user != 0 {
        become_user(Credentials {
            uid: user,
            gid: user,
        })
        .unwrap();
    }
    Command::new("sleep")
        .arg("1000")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::spawn(move || {
        sleep_until(now() + Duration::from_micros(after_us)).unwrap();
        let mut taken = Vec::new();
        loop {
            // Not zeros, which no page would be needed for.
            taken.push(vec![1u8; 1 << 20]);
            std::hint::black_box(&taken);
        }
    });
    let guard = guard(base);
    let mut jobs = Vec::new();
    for number in 0..12 {
        let script = HOSTILE[number % HOSTILE.len()];
        jobs.push(Shell::start(&guard, base, number, script));
        if number == 0 {
            say("started");
        }
    }
    wait_for_the_test().unwrap();
    std::mem::drop(jobs);
}

fn wait_for_the_test() -> std::io::Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

/// Loses its guard, and learns it from every job.
fn lose(base: &Cgroup) {
    let guard = guard(base);
    say(&pid_of(&guard).to_string());
    let mut jobs = Vec::new();
    for number in 0..12 {
        let cgroup = base.create(&format!("{PREFIX}{number}"));
        // The second removes what there is, and then its host may make no more: it is told.
        let Ok(cgroup) = cgroup else { break };
        let (paths, argv) = (
            strings(&["/bin/sh"]),
            strings(&["sh", "-c", HOSTILE[number % HOSTILE.len()]]),
        );
        let envp = environment(&cgroup);
        let request = Request {
            envp: &envp,
            ..Request::new(&paths, &argv)
        };
        match guard.spawn(cgroup.as_fd(), &request) {
            Ok(spawned) => jobs.push(spawned),
            // On its way to exec it was killed by the second, which is not told apart from exec.
            Err(_) => {
                drop(base.remove_child(&format!("{PREFIX}{number}")));
                break;
            }
        }
    }
    for job in &mut jobs {
        while !matches!(next(&mut job.channel), Said::Died) {}
    }
    until(PATIENCE, || guard.has_died().unwrap().then_some(())).unwrap();
    let none = strings(&["/bin/true"]);
    let refused = guard.spawn(base.as_fd(), &Request::new(&none, &none));
    assert!(matches!(refused, Err(RefusedError::Died)), "{refused:?}");
    say("lost");
    drop(guard);
}

/// Runs jobs in eight threads, while its own children and signals stay as they were.
fn quiet(base: &Cgroup) {
    SigSet::from_iter([Signal::SIGCHLD]).thread_block().unwrap();
    let guard = guard(base);
    let none = || {
        let waited = waitpid(None, Some(WaitPidFlag::WNOHANG));
        assert_eq!(waited, Err(Errno::ECHILD));
    };
    none();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let guard = &guard;
                scope.spawn(move || {
                    for number in 0..25 {
                        let script =
                            ["exit 0", "setsid sleep 0.01 & exit 0", "kill -9 $$"][number % 3];
                        let number = 1000 * thread + number;
                        let mut shell = Shell::start(guard, base, number, script);
                        while !matches!(shell.next(), Said::Empty(_)) {}
                        base.remove_child(&format!("{PREFIX}{number}")).unwrap();
                    }
                })
            })
            .collect();
        while !threads
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            none();
            std::thread::yield_now();
        }
    });
    drop(guard);
    none();
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let pending = status.lines().filter(|line| line.contains("Pnd:"));
    assert!(
        pending
            .clone()
            .all(|line| line.ends_with("0000000000000000")),
        "{status}"
    );
    assert_eq!(pending.count(), 2);
    say("quiet");
}

/// Has a guard that may open few descriptors.
fn few_descriptors(base: &Cgroup) {
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let guard = guard(base);
    // Its own descriptors are as few, so each job's are given up, and kept by the guard.
    let mut kept = Vec::new();
    let refused = loop {
        let number = kept.len();
        let name = format!("{PREFIX}{number}");
        let cgroup = base.create(&name).unwrap();
        let (paths, argv) = (strings(&["/bin/sleep"]), strings(&["sleep", "1000"]));
        match guard.spawn(cgroup.as_fd(), &Request::new(&paths, &argv)) {
            Ok(spawned) => {
                drop(spawned.pidfd);
                kept.push(spawned.channel);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, RefusedError::Descriptors), "{refused}");
    assert!(kept.len() > 10, "{}", kept.len());
    assert!(!guard.has_died().unwrap());
    base.child(&format!("{PREFIX}0")).unwrap().kill().unwrap();
    assert!(matches!(next(&mut kept[0]), Said::Ended(_)));
    assert!(matches!(next(&mut kept[0]), Said::Empty(_)));
    kept.remove(0);
    // There is room again.
    let cgroup = base.create(&format!("{PREFIX}again")).unwrap();
    let (paths, argv) = (strings(&["/bin/true"]), strings(&["true"]));
    guard
        .spawn(cgroup.as_fd(), &Request::new(&paths, &argv))
        .unwrap();
    say("refused");
}

/// May have few tasks: in its base, or, if it is told one, in a v1 cgroup with host and guard.
fn few_tasks(base: &Cgroup, limited: Option<&String>) {
    if let Some(dir) = limited {
        std::fs::write(PathBuf::from(dir).join("cgroup.procs"), "0").unwrap();
    }
    let guard = guard(base);
    let start = |number: usize| {
        let cgroup = base.create(&format!("{PREFIX}{number}")).unwrap();
        let (paths, argv) = (strings(&["/bin/sleep"]), strings(&["sleep", "1000"]));
        guard.spawn(cgroup.as_fd(), &Request::new(&paths, &argv))
    };
    let mut kept = Vec::new();
    let refused = loop {
        match start(kept.len()) {
            Ok(spawned) => kept.push(spawned),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, RefusedError::Clone(Errno::EAGAIN)),
        "{refused}"
    );
    assert!(kept.len() > 4, "{}", kept.len());
    assert!(!guard.has_died().unwrap());
    base.remove_child(&format!("{PREFIX}{}", kept.len()))
        .unwrap();
    // There is room again when one has ended.
    base.child(&format!("{PREFIX}0")).unwrap().kill().unwrap();
    assert!(matches!(next(&mut kept[0].channel), Said::Ended(_)));
    start(kept.len()).unwrap();
    say("refused");
}

/// From now on `call` fails in this thread, and in all that it starts.
fn refuse(call: i64, errno: Errno) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno((errno as i32).unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// A seccomp policy has not heard of clone3: guard and jobs move into their cgroups by themselves.
fn no_clone3(base: &Cgroup) {
    refuse(nix::libc::SYS_clone3, Errno::ENOSYS);
    let guard = guard(base);
    let mut shell = Shell::start(&guard, base, 1, "setsid sleep 1000 & exit 6");
    assert_eq!(shell.spawned.moved, Some(Errno::ENOSYS));
    assert!(matches!(shell.next(), Said::Ended(ended) if ended.status == 6));
    assert!(shell.cgroup.events().unwrap().populated);
    shell.cgroup.kill().unwrap();
    assert!(matches!(shell.next(), Said::Empty(_)));
    say("moved");
}

/// A seccomp policy refuses files in memory.
fn no_memfd(base: &Cgroup) {
    let lock = Guard::start(base, "before.", &GuardOptions::default());
    drop(lock.unwrap());
    refuse(nix::libc::SYS_execveat, Errno::EPERM);
    let none = GuardOptions::default().installed([]);
    let error = Guard::start(base, PREFIX, &none).unwrap_err().to_string();
    assert!(
        error.contains("a file in memory: execveat: EPERM"),
        "{error}"
    );
    assert!(error.contains("seccomp"), "{error}");
    // A fork executes nothing.
    let guard = Guard::start(base, PREFIX, &none.fork(true)).unwrap();
    let mut shell = Shell::start(&guard, base, 1, "exit 0");
    assert!(matches!(shell.next(), Said::Ended(_)));
    say("named");
}

/// A fork of the host may neither use the guard nor end it.
fn fork(base: &Cgroup) {
    let guard = guard(base);
    let mut shell = Shell::start(&guard, base, 1, "exec sleep 1000");
    let guard = RefCell::new(Some(guard));
    let copy = allgone::sys::fork::worker(0, None, || {
        let guard = guard.take().unwrap();
        let none = strings(&["/bin/true"]);
        let refused = guard.spawn(base.as_fd(), &Request::new(&none, &none));
        let refused = matches!(refused, Err(RefusedError::Fork));
        // Its own copy, as at the end of a program.
        drop(guard);
        i32::from(!refused)
    });
    let flags = WaitPidFlag::WEXITED;
    let ended = waitid(Id::PIDFd(copy.unwrap().pidfd.as_fd()), flags).unwrap();
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
    let guard = guard.take().unwrap();
    assert!(shell.spawned.channel.hear().unwrap().is_none());
    assert!(!guard.has_died().unwrap());
    say("refused");
}

/// Where no file in memory may be executed.
fn ladder(base: &Cgroup) {
    let none = GuardOptions::default().installed([]);
    let error = Guard::start(base, PREFIX, &none).unwrap_err().to_string();
    say(&error);
    let installed = std::env::var_os("ALLGONE_GUARD")
        .map(PathBuf::from)
        .unwrap();
    let options = none.installed([installed]);
    let guard = Guard::start(base, PREFIX, &options).unwrap();
    say(&format!("{} after {}", guard.way(), guard.attempts()[0]));
    let mut shell = Shell::start(&guard, base, 1, "exit 0");
    assert!(matches!(shell.next(), Said::Ended(_)));
}

/// Forks while jobs run: a copy that drops what it has ends nothing, and a copy that keeps it holds
/// nothing up.
fn forks(base: &Cgroup) {
    let own = Base::given(
        base.try_clone().unwrap(),
        LimitSource::None,
        "test".to_owned(),
    );
    let mut guarded = Some(Guarded::start(&own).unwrap());
    let guard = guarded.clone().unwrap();
    let mut pools = [
        Some(Pool::new(&own, 1).unwrap()),
        Some(Pool::new(&guard, 1).unwrap()),
    ];
    let mut jobs = vec![lasting(&own), lasting(&guard)];
    let mut held = Some(guard);

    let copy = worker(0, None, || {
        jobs.clear();
        pools = [None, None];
        (guarded, held) = (None, None);
        0
    });
    assert_eq!(end_of(&copy.unwrap()), 0, "dropping returned");
    for job in &mut jobs {
        assert!(job.try_wait().unwrap().is_none(), "it was not ended");
        assert_eq!(job.cgroup().procs().unwrap().pids.len(), 2);
    }
    for pool in &pools {
        let pool = pool.as_ref().unwrap();
        pool.wait_warm();
        let done = proved(&mut brief(pool));
        assert!(done.mechanisms.prepopulated, "its cgroup is still there");
    }

    // Lives until the end, with a copy of every descriptor.
    let (gate, opener) = std::io::pipe().unwrap();
    let mut opener = Some(opener);
    let copy = worker(0, None, || {
        opener = None;
        (&gate).read_to_end(&mut Vec::new()).map_or(1, |_| 0)
    });
    let copy = copy.unwrap();
    for job in &mut jobs {
        job.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let ended = job.wait(now() + Duration::from_millis(50)).unwrap();
        assert!(ended.is_none(), "another process of it lives");
        let done = job.kill().unwrap();
        assert_eq!(done.proof, Proof::Removed);
        assert_eq!(done.status.unwrap().code(), Some(7));
    }
    proved(&mut brief(&own));
    proved(&mut brief(guarded.as_ref().unwrap()));
    let leaves = lasting(held.as_ref().unwrap());
    drop(leaves);
    // They hold the guard, too.
    jobs.clear();
    (guarded, held, pools) = (None, None, [None, None]);
    assert!(guarded.is_none() && held.is_none() && pools.iter().all(Option::is_none));
    assert_eq!(base.children().unwrap().count(), 0);
    drop(opener);
    assert_eq!(end_of(&copy), 0);
    say("forked");
}

/// A job of two processes; the first ends when it is told to, the other does not.
fn lasting(place: &impl Place) -> Job {
    let mut command = allgone::Command::new("sh");
    command.args(["-c", "setsid sleep 1000 & read x; exit 7"]);
    let job = command.stdin(Stdio::piped()).spawn(place).unwrap();
    until(PATIENCE, || {
        (job.cgroup().procs().unwrap().pids.len() == 2).then_some(())
    })
    .unwrap();
    job
}

fn brief(place: &impl Place) -> Job {
    allgone::Command::new("true").spawn(place).unwrap()
}

fn proved(job: &mut Job) -> allgone::Completion {
    let done = job.wait(now() + PATIENCE).unwrap().unwrap();
    assert!(done.success() && done.proof == Proof::Removed, "{done:?}");
    done
}

fn end_of(copy: &Worker) -> i32 {
    let flags = WaitPidFlag::WEXITED;
    let whose = allgone::sys::wait::Whose::Pidfd(copy.pidfd.as_fd());
    let end = allgone::sys::wait::waitid(whose, flags).unwrap().unwrap();
    end.status
}
