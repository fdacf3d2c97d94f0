//! Faults: the command is interrupted at random moments, and its system calls are made to fail.
//! Whatever happens, soon nothing is left.
//!
//! The command runs as a user would run it. This program is also its own helper: for each case it
//! starts itself again as a worker, which is the subreaper of the command and judges what that has
//! left.
//!
//! The long forms are the same tests with other numbers in the environment:
//!
//! - `FAULTS_INTERRUPTIONS=300`: so many interruptions (30);
//! - `FAULTS_CALLS=all`, or `all:2/8` for the second eighth: every system call with every error
//!   that it can answer (a sample of 60);
//! - `FAULTS_LIMIT_MS`: how soon nothing may be left (10000); `FAULTS_SEED`; `FAULTS_ABREAST`: runs
//!   at once (4).
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the whole program is a test runner"
)]

#[cfg(target_arch = "x86_64")]
mod calls;
mod interrupt;
mod left;
mod machine;
#[cfg(target_arch = "x86_64")]
mod refuse;
mod tracee;
mod verbs;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() -> ExitCode {
    harness::sys::interrupt::heed().expect("a default is a valid action");
    let args: Vec<String> = std::env::args().collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [_, "--worker", case, dir] => worker(case, Path::new(dir)),
        #[cfg(target_arch = "x86_64")]
        [_, "--traced", program, ..] => {
            eprintln!("{}", refuse::traced(program, &args[3..]));
            ExitCode::FAILURE
        }
        _ => tests(),
    }
}

/// A worker is ended by SIGALRM if it hangs itself: then the kernel kills its tracees, and its test
/// fails.
fn worker(case: &str, dir: &Path) -> ExitCode {
    nix::unistd::alarm::set(240);
    let (what, case) = case.split_once('=').unwrap_or((case, ""));
    let answer = match what {
        "interrupt" => interrupt::worker(case, dir),
        #[cfg(target_arch = "x86_64")]
        "watch" => refuse::watch(dir),
        #[cfg(target_arch = "x86_64")]
        "refuse" => refuse::refuse(case, dir),
        other => Err(format!("no such worker: {other}")),
    };
    match answer {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tests() -> ExitCode {
    let mut args = Arguments::from_args();
    // Each test has several runs going on.
    args.test_threads = Some(1);
    let tests = vec![
        test("interrupted_at_any_moment_nothing_is_left", || {
            let count = number("FAULTS_INTERRUPTIONS", 30)?;
            interrupt::campaign(count, seed()?, abreast_by_default()?, limit()?)
        }),
        refusals("whichever_system_call_fails_nothing_is_left"),
    ];
    libtest_mimic::run(&args, tests).exit_code()
}

#[cfg(target_arch = "x86_64")]
fn refusals(name: &'static str) -> Trial {
    test(name, || {
        refuse::campaign(
            refuse::Choice::of_environment()?,
            seed()?,
            abreast_by_default()?,
            limit()?,
        )
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn refusals(name: &'static str) -> Trial {
    let why = "the tracer knows the registers of x86-64 alone";
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why)))
}

fn test(
    name: &'static str,
    body: impl FnOnce() -> Result<String, String> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(why) = missing() {
            return Ok(Completion::ignored_with(why));
        }
        println!("{}", body()?);
        Ok(Completion::Completed)
    })
}

/// Why a run is not possible here: the command says so itself.
fn missing() -> Option<String> {
    let state = tempfile::tempdir().ok()?;
    let output = std::process::Command::new(machine::binary())
        .args(["exit-now", "--dry-run"])
        .env("XDG_STATE_HOME", state.path())
        .stdin(std::process::Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.code() == Some(3) => {
            Some(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
        Ok(_) | Err(_) => None,
    }
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T, String> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}={text:?} is no number")),
        Err(_) => Ok(default),
    }
}

/// Drawn and printed, so that the same cases can be repeated.
fn seed() -> Result<u64, String> {
    let seed = number("FAULTS_SEED", u64::from(rand::random::<u32>()))?;
    println!("FAULTS_SEED={seed}");
    Ok(seed)
}

fn limit() -> Result<Duration, String> {
    number("FAULTS_LIMIT_MS", 10_000).map(Duration::from_millis)
}

fn abreast_by_default() -> Result<usize, String> {
    number("FAULTS_ABREAST", 4)
}

/// Does `work` for each of `cases`, `abreast` at once; the answers are in the order of the cases.
fn abreast<C: Sync, A: Send>(
    abreast: usize,
    cases: Vec<C>,
    work: impl Fn(usize, &C) -> A + Sync,
) -> Vec<A> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, A)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..abreast.clamp(1, cases.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let answer = work(at, case);
                    answers
                        .lock()
                        .expect("nobody panics with it")
                        .push((at, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().expect("nobody panics with it");
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
