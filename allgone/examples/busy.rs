//! How soon a guard acts when its host is killed, while a job keeps every processor busy: a bomb of
//! 120 tasks, each in a session of its own. It takes perl and a cgroup with a limit on tasks.
//!
//! `busy ROUNDS [BUILD...]` prints, for each build of this example, by turns, how long the guard
//! waited for a processor (`/proc/PID/schedstat`) and when nothing of the job was left. Without a
//! name it is this build.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use allgone::job::Guarded;
use allgone::sys::sched;
use allgone::sys::time::{now, sleep_until};
use allgone::{Base, Command};

const BOMB: &str = "use POSIX; for (;;) { my $p = fork; POSIX::setsid() if defined $p && !$p }";
/// Until the job has all the tasks that it may have.
const GROWING: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let first = words.next().ok_or("usage: busy ROUNDS [BUILD...]")?;
    if first == "host" {
        return host();
    }
    let mut builds: Vec<_> = words.collect();
    if builds.is_empty() {
        builds.push(std::env::current_exe()?.to_string_lossy().into_owned());
    }
    let mut found = vec![(Vec::new(), Vec::new()); builds.len()];
    for _ in 0..first.parse()? {
        for (build, (waited, over)) in builds.iter().zip(&mut found) {
            let round = round(build)?;
            waited.push(round.0);
            over.push(round.1);
        }
    }
    for (build, (waited, over)) in builds.iter().zip(&mut found) {
        println!("{build}, median, p90 and most of {}:", waited.len());
        println!("  the guard waited, ms        {}", in_words(waited));
        println!("  until nothing was left, ms  {}", in_words(over));
    }
    Ok(())
}

/// Starts the bomb under a guard, says where, and waits to be killed.
fn host() -> Result<(), Box<dyn Error>> {
    let guarded = Guarded::start(&Base::find()?)?;
    let mut command = Command::new("perl");
    let job = command
        .args(["-e", BOMB])
        .limit_tasks(120)
        .spawn(&guarded)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id()))?;
    let guard = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    println!(
        "{} {}",
        guard.ok_or("no PPid")?.trim(),
        job.cgroup().path().display()
    );
    sleep_until(now() + 3 * PATIENCE)?;
    Ok(())
}

/// Milliseconds: what the guard waited for a processor, and until nothing was left.
fn round(build: &str) -> Result<(f64, f64), Box<dyn Error>> {
    let mut host = std::process::Command::new(build)
        .arg("host")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(host.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    let (guard, cgroup) = line.trim().split_once(' ').ok_or("the host said nothing")?;
    let schedstat = format!("/proc/{guard}/schedstat");
    let events = Path::new(cgroup).join("cgroup.events");
    sleep_until(now() + GROWING)?;
    // This process has to run soon, too; but nothing that it has started was to inherit that.
    let before = sched::slice_ns()?;
    sched::set_slice_ns(sched::SHORTEST_SLICE_NS)?;
    let already = waited_ms(&schedstat).ok_or("the guard has gone")?;
    let mut waited = already;
    let begun = now();
    host.kill()?;
    while std::fs::read_to_string(&events).is_ok_and(|text| !text.contains("populated 0")) {
        waited = waited_ms(&schedstat).unwrap_or(waited);
        if now().since(begun) > PATIENCE {
            return Err("the job lives on".into());
        }
        sleep_until(now() + Duration::from_micros(200))?;
    }
    let over = now().since(begun).as_secs_f64() * 1e3;
    host.wait()?;
    sched::set_slice_ns(before)?;
    Ok((waited - already, over))
}

/// How long a process has been runnable and did not run.
fn waited_ms(schedstat: &str) -> Option<f64> {
    let text = std::fs::read_to_string(schedstat).ok()?;
    let waited: f64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(waited / 1e6)
}

fn in_words(of: &mut [f64]) -> String {
    of.sort_by(f64::total_cmp);
    let at = |part: usize| of[(of.len() * part / 10).min(of.len() - 1)];
    format!("{:6.1} {:6.1} {:6.1}", at(5), at(9), at(10))
}
