//! Every way in which a run ends, by each tier.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use allgone::sys::spawn::results::Cause;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use sandbox::end::Proof;
use sandbox::launch::{Completion, Status, Stream};
use sandbox::tier::Tier;

use crate::support::{Test, alive, by_each_tier, ended, launcher, mark, nothing_left, shell, soon};

pub(crate) const TESTS: &[Test] = &[
    ("ends::by_itself", by_itself),
    (
        "ends::over_with_the_last_process",
        over_with_the_last_process,
    ),
    (
        "ends::over_with_the_main_process",
        over_with_the_main_process,
    ),
    ("ends::by_a_limit", by_a_limit),
    ("ends::by_processor_time", by_processor_time),
    ("ends::by_the_lease", by_the_lease),
    ("ends::asked_for", asked_for),
    (
        "ends::the_group_of_the_program_is_its_own",
        the_group_of_the_program_is_its_own,
    ),
    (
        "ends::streams_environment_and_directory",
        streams_environment_and_directory,
    ),
    ("ends::it_can_be_polled", it_can_be_polled),
];

/// A daemon without any descriptor of the program, deaf to what is polite.
const DAEMON: &str = "trap '' TERM HUP INT; (setsid sh -c 'exec 0<&- 1>&- 2>&-; sleep 1000' &)";

fn proved(over: &Completion) {
    match (&over.proof, over.tier) {
        (Proof::Removed(path), Tier::Namespace | Tier::Cgroup) => {
            assert!(!path.exists(), "{path:?}");
        }
        (Proof::Reaped(_), Tier::Namespace) | (Proof::NoneLeft, Tier::Traced) => {}
        other => panic!("{other:?}"),
    }
}

fn by_itself() {
    for launch in by_each_tier("exit 7") {
        let over = ended(launch.spawn(launcher()).unwrap());
        assert_eq!(
            (over.status, over.ended_by),
            (Status::Exited(7), Cause::None)
        );
        assert_eq!(over.report["exit_code"], 7);
        proved(&over);
    }
    for launch in by_each_tier("kill -9 $$") {
        let over = ended(launch.spawn(launcher()).unwrap());
        let killed = Status::Signaled {
            signal: 9,
            core: false,
        };
        assert_eq!((over.status, over.ended_by), (killed, Cause::None));
        proved(&over);
    }
}

fn over_with_the_last_process() {
    for launch in by_each_tier("(setsid sleep 0.3 &); exit 3") {
        let mark = mark();
        let mut run = launch.env("ALLGONE_MARK", &mark).spawn(launcher()).unwrap();
        let over = run.wait(soon()).unwrap().unwrap().clone();
        assert!(run.main_ended());
        assert_eq!(alive(&mark), Vec::<String>::new());
        assert_eq!(
            (over.status, over.ended_by),
            (Status::Exited(3), Cause::None)
        );
        proved(&over);
    }
}

fn over_with_the_main_process() {
    for launch in by_each_tier(&format!("{DAEMON}; exit 4")) {
        let mark = mark();
        let launch = launch.wait_main().env("ALLGONE_MARK", &mark);
        let over = ended(launch.spawn(launcher()).unwrap());
        assert_eq!(alive(&mark), Vec::<String>::new());
        assert_eq!(over.status, Status::Exited(4));
        assert_eq!(over.ended_by, Cause::MainEnded);
        proved(&over);
    }
}

fn by_a_limit() {
    for launch in by_each_tier(&format!("{DAEMON}; {DAEMON}; sleep 1000")) {
        let mark = mark();
        let launch = launch.env("ALLGONE_MARK", &mark);
        let launch = launch.timeout(Duration::from_millis(300));
        let over = ended(launch.spawn(launcher()).unwrap());
        assert_eq!(alive(&mark), Vec::<String>::new());
        assert_eq!((over.ended_by, over.killed), (Cause::Timeout, true));
        assert_eq!(over.report["exit_code"], 124);
        proved(&over);
    }
}

fn by_processor_time() {
    for launch in by_each_tier("(setsid sh -c 'while :; do :; done' &); sleep 1000") {
        let launch = launch
            .cpu_time(Duration::from_millis(100))
            .timeout(Duration::from_secs(50));
        let over = ended(launch.spawn(launcher()).unwrap());
        assert_eq!(over.ended_by, Cause::CpuTime);
        proved(&over);
    }
}

fn by_the_lease() {
    for launch in by_each_tier(&format!("{DAEMON}; sleep 1000")) {
        let (read, write) = std::io::pipe().unwrap();
        let mark = mark();
        let launch = launch.env("ALLGONE_MARK", &mark).lease(read);
        let mut run = launch.spawn(launcher()).unwrap();
        run.started(soon()).unwrap().unwrap();
        drop(write);
        let over = run.wait(soon()).unwrap().unwrap().clone();
        assert_eq!(over.ended_by, Cause::Lease);
        assert_eq!(alive(&mark), Vec::<String>::new());
        proved(&over);
    }
}

/// A signal, a request to end with its grace, a kill, and the end of the handle.
fn asked_for() {
    // A trap runs when what it waits for has ended.
    let polite = "trap 'exit 5' TERM; trap 'exit 6' USR1; echo; while :; do sleep 0.01; done";
    for launch in by_each_tier(polite) {
        let ready = |launch: sandbox::launch::Launch| {
            let (mut read, write) = std::io::pipe().unwrap();
            let run = launch.stdout(write).spawn(launcher()).unwrap();
            let mut byte = [0];
            read.read_exact(&mut byte).unwrap();
            run
        };
        let run = ready(launch.clone());
        run.signal(Signal::SIGUSR1).unwrap();
        let over = ended(run);
        assert_eq!(
            (over.status, over.ended_by),
            (Status::Exited(6), Cause::None)
        );

        let run = ready(launch.clone().grace(Duration::from_secs(50)));
        run.end().unwrap();
        let over = ended(run);
        assert_eq!(
            (over.status, over.ended_by),
            (Status::Exited(5), Cause::Asked)
        );
        assert!(!over.killed);

        let mut run = ready(launch.clone());
        run.kill().unwrap();
        let over = run.wait(soon()).unwrap().unwrap().clone();
        assert_eq!(
            (over.status, over.ended_by),
            (Status::Unknown, Cause::Asked)
        );
        proved(&over);
        run.kill().unwrap();
        assert!(run.try_wait().unwrap().is_some());

        let mark = mark();
        drop(ready(launch.env("ALLGONE_MARK", &mark)));
        nothing_left(&mark);
    }
}

/// A program that kills its process group kills no launcher.
fn the_group_of_the_program_is_its_own() {
    for launch in by_each_tier("trap '' TERM; kill -TERM 0; kill -KILL 0") {
        let mut beside = shell("sleep 1000").spawn(launcher()).unwrap();
        let over = ended(launch.spawn(launcher()).unwrap());
        let killed = Status::Signaled {
            signal: 9,
            core: false,
        };
        assert_eq!((over.status, over.ended_by), (killed, Cause::None));
        proved(&over);
        assert!(beside.try_wait().unwrap().is_none());
    }
}

fn streams_environment_and_directory() {
    let script = "read line; \
                  echo \"$line $GIVEN $(pwd) ${HOME-none} $(ls /proc/self/fd | wc -w)\"; \
                  echo told >&2";
    for launch in by_each_tier(script) {
        let (read_in, write_in) = std::io::pipe().unwrap();
        let (mut read_out, write_out) = std::io::pipe().unwrap();
        let (mut read_err, write_err) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut { write_in }, b"hello\n").unwrap();
        let launch = launch
            .stdin(read_in)
            .stdout(write_out)
            .stderr(write_err)
            .env("GIVEN", "a b")
            .env_remove("HOME")
            .current_dir("/usr");
        let over = ended(launch.spawn(launcher()).unwrap());
        assert_eq!(over.status, Status::Exited(0));
        // The builder has copies of the descriptors, for the next spawn.
        drop(launch);
        let [mut out, mut err] = [String::new(), String::new()];
        read_out.read_to_string(&mut out).unwrap();
        read_err.read_to_string(&mut err).unwrap();
        // The three streams, and that of the listed directory.
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("hello a b /usr none 4\n", "told\n")
        );
    }
    let alone = shell("env").env_clear().env("PATH", "/bin:/usr/bin");
    let (mut read, write) = std::io::pipe().unwrap();
    let over = ended(
        alone
            .stdout(write)
            .stderr(Stream::Null)
            .spawn(launcher())
            .unwrap(),
    );
    assert_eq!(over.status, Status::Exited(0));
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("PATH=/bin:/usr/bin") && !said.contains("CARGO"),
        "{said}"
    );
}

fn it_can_be_polled() {
    let mut runs: Vec<_> = (0..8)
        .map(|code| shell(&format!("exit {code}")).spawn(launcher()).unwrap())
        .collect();
    let mut codes = Vec::new();
    while !runs.is_empty() {
        let mut fds: Vec<_> = runs
            .iter()
            .map(|run| PollFd::new(run.as_fd(), PollFlags::POLLIN))
            .collect();
        assert!(poll(&mut fds, 60_000u16).unwrap() > 0);
        runs.retain_mut(|run| match run.try_wait().unwrap() {
            Some(over) => {
                codes.push(over.report["exit_code"].as_i64().unwrap());
                false
            }
            None => true,
        });
    }
    codes.sort_unstable();
    assert_eq!(codes, Vec::from_iter(0..8));
}
