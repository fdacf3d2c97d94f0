//! A user of its own for each run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::end::Proof;
use sandbox::launch::{Launch, LaunchError, Run, Status};
use sandbox::tier::Tier;

use crate::support::{
    Needs, Test, ended, launcher, mark, nothing_left, shell, soon, within, works,
};

pub(crate) const NEEDY: &[(Needs, Test)] = &[
    (
        Needs::Root,
        (
            "users::two_runs_cannot_reach_each_other",
            two_runs_cannot_reach_each_other,
        ),
    ),
    (
        Needs::Root,
        (
            "users::a_number_in_use_is_not_given_out",
            a_number_in_use_is_not_given_out,
        ),
    ),
    (
        Needs::Root,
        (
            "users::a_number_is_free_after_the_proof",
            a_number_is_free_after_the_proof,
        ),
    ),
    (
        Needs::Root,
        (
            "users::many_at_once_have_different_numbers",
            many_at_once_have_different_numbers,
        ),
    ),
    (
        Needs::Root,
        (
            "users::a_range_of_others_is_refused",
            a_range_of_others_is_refused,
        ),
    ),
];

fn refused(mut run: Run) -> String {
    match run.wait(soon()).unwrap_err() {
        LaunchError::Refused { kind, why } if kind == "user" => why,
        other => panic!("{other:?}"),
    }
}

/// A run that says its number, and waits.
fn waiting(launch: Launch) -> (Run, u32) {
    let (read, write) = std::io::pipe().unwrap();
    let run = launch.stdout(write).spawn(launcher()).unwrap();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).unwrap();
    (run, line.trim().parse().unwrap())
}

/// The life of one run that tries to get at another's process: says what each attempt answered.
pub(crate) fn attacker() {
    let victim = Pid::from_raw(std::env::var("LAUNCH_VICTIM").unwrap().parse().unwrap());
    let answers = [
        kill(victim, None).err(),
        kill(victim, Signal::SIGKILL).err(),
        ptrace::seize(victim, ptrace::Options::empty()).err(),
        fs::File::open(format!("/proc/{victim}/mem"))
            .err()
            .map(|e| Errno::from_raw(e.raw_os_error().unwrap())),
    ];
    println!("{answers:?}");
}

fn two_runs_cannot_reach_each_other() {
    // Where they can see each other.
    for tier in [Tier::Traced, Tier::Cgroup] {
        if !works(tier) {
            continue;
        }
        let range = 1_900_100_000..=1_900_100_009;
        let launch = shell("id -u; sleep 1000")
            .tier(tier)
            .user_range(range.clone());
        let (mut run, uid) = waiting(launch);
        assert!(range.contains(&uid));
        let victim = run.started(soon()).unwrap().unwrap().pid.unwrap();
        let (read, write) = std::io::pipe().unwrap();
        let attacker = Launch::builder("/proc/self/exe")
            .tier(tier)
            .user_range(range)
            .env(crate::support::ROLE, "attacker")
            .env("LAUNCH_VICTIM", victim.to_string());
        let over = ended(attacker.stdout(write).spawn(launcher()).unwrap());
        assert_eq!(over.status, Status::Exited(0));
        let other = over.report["user"]["uid"].as_u64().unwrap();
        assert_ne!(u64::from(uid), other);
        let mut said = String::new();
        BufReader::new(read).read_line(&mut said).unwrap();
        assert_eq!(
            said,
            "[Some(EPERM), Some(EPERM), Some(EPERM), Some(EACCES)]\n"
        );
        assert!(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        ended(run);
    }
}

/// A process that goes with the test, also if the test fails.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn a_number_in_use_is_not_given_out() {
    let range = 1_900_200_000..=1_900_200_001;
    let process = |uid| {
        let mut command = Command::new("sleep");
        command.arg("1000").uid(uid).gid(uid).stdin(Stdio::null());
        Sleeper(command.stdout(Stdio::null()).spawn().unwrap())
    };
    // Left over from something: no lock says that it is in use.
    let _first = process(1_900_200_000);
    for _ in 0..8 {
        let (run, uid) = waiting(shell("id -u").user_range(range.clone()));
        assert_eq!(uid, 1_900_200_001);
        ended(run);
    }
    let _second = process(1_900_200_001);
    let why = refused(shell("true").user_range(range).spawn(launcher()).unwrap());
    assert!(why.contains("in use"), "{why}");
}

fn a_number_is_free_after_the_proof() {
    let only = 1_900_300_000..=1_900_300_000;
    let launch = || shell("id -u; sleep 1000").user_range(only.clone());
    let (run, _) = waiting(launch());
    let why = refused(launch().spawn(launcher()).unwrap());
    assert!(why.contains("every number"), "{why}");
    run.kill().unwrap();
    assert!(!matches!(ended(run).proof, Proof::Unproved(_)));
    // At once: the launcher that has told the end may be there yet.
    for _ in 0..20 {
        let (run, _) = waiting(launch());
        run.kill().unwrap();
        ended(run);
    }

    // A launcher that is killed, and its init: the number is kept as long as anything lives.
    let mark = mark();
    let holds = || {
        let run = launch().env("ALLGONE_MARK", &mark).spawn(launcher());
        let mut run = run.unwrap();
        match run.started(soon()) {
            Ok(Some(started)) => Some(started.init),
            _ => None,
        }
        .map(|init| (run, init))
    };
    let (run, init) = holds().unwrap();
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    ended(run);
    nothing_left(&mark);
    // Nothing tells when the last copy of the lock is closed.
    assert!(within(Duration::from_secs(10), || holds().is_some()));
}

fn many_at_once_have_different_numbers() {
    let range = 1_900_400_000..=1_900_400_019;
    let all: Vec<_> = (0..20)
        .map(|_| waiting(shell("id -u; sleep 1000").user_range(range.clone())))
        .collect();
    let mut numbers: Vec<u32> = all.iter().map(|(_, uid)| *uid).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(range));
}

fn a_range_of_others_is_refused() {
    for (range, whose) in [
        (0..=9, "root"),
        (61_000..=61_184, "DynamicUser"),
        (1..=1, "/etc/passwd"),
    ] {
        let why = refused(shell("true").user_range(range).spawn(launcher()).unwrap());
        assert!(why.contains(whose), "{why}");
    }
}
