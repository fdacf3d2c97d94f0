//! Measures launchers in ways for which there is no public tool. `sandbox/bench.sh` calls it.
//!
//! ```text
//! launches rate HZ SECONDS BUSY -- COMMAND [-- COMMAND]…
//! launches known ALLGONE RUNS
//! launches stamp
//! ```
//!
//! `rate`: open loop. A launch begins at its time, whether or not those before it have ended, while
//! BUSY processes use a processor each. From that time until the launcher has been reaped. The
//! commands take turns, a second each, so that all have the same machine.
//!
//! `known`: from the last thing that a program does before it exits, until its end is known: by
//! waitpid(2) in this process; by the launcher, which says when in its event `all-ended`. By turns.
//!
//! `stamp`: is that program. It prints the monotonic clock.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allgone::MonoNs;
use allgone::sys::time::{now, sleep_until};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["rate", hz, seconds, busy, "--", commands @ ..] => rate(hz, seconds, busy, commands),
        ["known", allgone, runs] => known(allgone, runs),
        ["stamp"] => stamp(),
        _ => Err("usage: rate HZ SECONDS BUSY -- COMMAND… | known ALLGONE RUNS | stamp".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // What cannot be said is said by the exit code.
            match writeln!(std::io::stderr(), "launches: {e}") {
                Ok(()) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn print(value: &Value) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{value}")?)
}

fn stamp() -> Outcome<()> {
    Ok(std::io::stdout().write_all(&now().0.to_ne_bytes())?)
}

/// Order statistics of some times in nanoseconds, in microseconds.
fn summary(mut times: Vec<u64>) -> Value {
    times.sort_unstable();
    let at = |thousandths: usize| {
        let rank = (times.len() * thousandths).div_ceil(1_000).max(1) - 1;
        times.get(rank).map(|ns| *ns as f64 / 1_000.0)
    };
    json!({
        "n": times.len(), "p10_us": at(100), "median_us": at(500), "p90_us": at(900),
        "p99_us": at(990), "max_us": at(1_000),
    })
}

/// Ends with its owner.
struct Busy(Vec<Child>);

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            match child.kill().and_then(|()| child.wait()) {
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// As many launches may be in flight at a time.
const IN_FLIGHT: u64 = 64;

fn rate(hz: &str, seconds: &str, busy: &str, words: &[&str]) -> Outcome<()> {
    let (hz, seconds): (u64, u64) = (hz.parse()?, seconds.parse()?);
    let commands: Vec<&[&str]> = words.split(|word| *word == "--").collect();
    let mut spinning = Busy(Vec::new());
    for _ in 0..busy.parse::<u32>()? {
        let spin = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()?;
        spinning.0.push(spin);
    }
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); commands.len()];
    for _ in 0..seconds {
        for (command, times) in commands.iter().zip(&mut times) {
            times.extend(one_second(hz, command)?);
        }
    }
    drop(spinning);
    for (command, times) in commands.iter().zip(times) {
        print(
            &json!({"command": command.join(" "), "hz": hz, "busy": busy,
                      "from_its_time_to_the_end": summary(times)}),
        )?;
    }
    Ok(())
}

/// Launches for a second; how long each took from its time on.
fn one_second(hz: u64, command: &[&str]) -> Outcome<Vec<u64>> {
    let (program, args) = command.split_first().ok_or("no command")?;
    let begin = now() + Duration::from_millis(10);
    let next = AtomicU64::new(0);
    let all = Mutex::new(Vec::new());
    let work = || -> Outcome<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= hz {
                return Ok(());
            }
            let due = begin + Duration::from_nanos(number * 1_000_000_000 / hz);
            sleep_until(due)?;
            let mut launcher = Command::new(program);
            launcher.args(args).stdin(Stdio::null());
            let status = launcher.status()?;
            let took = now().0 - due.0;
            if !status.success() {
                return Err(format!("{command:?}: {status}").into());
            }
            all.lock().map_err(|e| e.to_string())?.push(took);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..hz.min(IN_FLIGHT)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker has panicked")?)
    })?;
    Ok(all.into_inner().map_err(|e| e.to_string())?)
}

fn known(allgone: &str, runs: &str) -> Outcome<()> {
    let this = std::env::current_exe()?;
    let program = [this.to_str().ok_or("a path that is no UTF-8")?, "stamp"];
    let launcher = |options: &[&'static str]| {
        let words = [allgone, "run", "--events", "2"];
        [&words[..], options, &["--"], &program].concat()
    };
    let commands = [
        ("waitpid", program.to_vec()),
        ("bare", launcher(&["--bare"])),
        ("default", launcher(&[])),
        ("traced", launcher(&["--tier", "traced"])),
    ];
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); commands.len()];
    for _ in 0..runs.parse::<u32>()? {
        for ((name, command), times) in commands.iter().zip(&mut times) {
            times.push(known_after(command, *name == "waitpid")?);
        }
    }
    for ((name, _), times) in commands.iter().zip(times) {
        print(&json!({"name": name, "from_the_stamp_to_knowing": summary(times)}))?;
    }
    Ok(())
}

fn known_after(command: &[&str], by_waiting: bool) -> Outcome<u64> {
    let (program, args) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let status = child.wait()?;
    let waited = now();
    let (mut stamp, mut said) = ([0; 8], String::new());
    child
        .stdout
        .take()
        .ok_or("no pipe")?
        .read_exact(&mut stamp)?;
    child
        .stderr
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut said)?;
    if !status.success() {
        return Err(format!("{command:?}: {status}: {said}").into());
    }
    let stamp = MonoNs(u64::from_ne_bytes(stamp));
    if by_waiting {
        return Ok(waited.0 - stamp.0);
    }
    let last = said.lines().last().ok_or("no event")?;
    let event: Value = serde_json::from_str(last)?;
    let at = event["monotonic_ns"].as_u64();
    let at = at.filter(|_| event["event"] == "all-ended");
    Ok(at.ok_or(format!("no end in {said}"))? - stamp.0)
}
