//! The k-th system call of the harness fails: a clear error or a recorded outcome, and nothing is
//! left.
//!
//! The harness alone is traced; what it forks goes untraced. At the entry of the chosen call its
//! number is replaced by one that does not exist, and at its exit the answer by an error. Then the
//! tracer lets go. Source: ptrace(2).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use harness::record::Cause;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::left::reap;
use super::machine::{Place, delegate, ended, now, panicked, says_nothing_left, wait_until};
use super::tracee::Tracee;

/// All probes, a trial in each plane, and the whole life of a run. The detector needs no event of
/// the kernel that may come late on a busy machine.
pub(crate) const ARGS: [&str; 11] = [
    "exit-now",
    "--detector",
    "waitpid-main",
    "--kill",
    "cgroup-kill",
    "--reference",
    "cgroup-events-poll",
    "--trials",
    "1",
    // Longer than a busy machine takes for a program's start: a trial that is late says nothing of
    // the call that failed.
    "--deadline",
    "5s",
];
/// Trials of such a run.
const TRIALS: usize = 2;
/// After so long it is called hung. The longest deadline inside is that of an observer that does
/// not answer, 15 s and its own.
const HANG: Duration = Duration::from_secs(60);

/// A call that is to fail.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    /// Counted from `main` on.
    k: u64,
    name: String,
    errno: i32,
}

/// One call of the run without failures.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Call {
    k: u64,
    name: String,
    errnos: Vec<i32>,
}

/// The run without failures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Watched {
    calls: Vec<Call>,
    /// All calls, including those that are not made to fail.
    all: u64,
}

/// The result of a failure.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    /// The call that failed: calls differ a little from run to run.
    k: Option<u64>,
    ended: String,
    wrong: Vec<String>,
    said: String,
    /// Outcome and note of each record.
    noted: Vec<String>,
    /// The machine stood still during the run: what failed then is not what was made to fail.
    stalled: bool,
}

/// How often a run is repeated because the machine stood still.
const AGAIN: usize = 3;

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// So many pairs of call and error, each kind of call once before one comes again.
    Sample(u64),
    /// Every call with every error that it can answer; of these the `part`-th of `of` parts.
    All { part: u64, of: u64 },
}

impl Choice {
    /// What `FAULTS_CALLS` says: a number, `all`, or `all:2/8`.
    pub(crate) fn of_environment() -> Result<Self, String> {
        let text = std::env::var("FAULTS_CALLS").unwrap_or_else(|_| "60".to_owned());
        if text == "all" {
            return Ok(Self::All { part: 0, of: 1 });
        }
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("FAULTS_CALLS: {text:?} is no number"))
        };
        match text
            .strip_prefix("all:")
            .and_then(|part| part.split_once('/'))
        {
            None => number(&text).map(Self::Sample),
            Some((part, of)) => match (number(part)?, number(of)?) {
                (part, of) if (1..=of).contains(&part) => Ok(Self::All { part: part - 1, of }),
                _ => Err(format!(
                    "FAULTS_CALLS={text:?}: all:2/8 is the second eighth"
                )),
            },
        }
    }
}

/// Lets calls fail, `abreast` runs at once. Returns a table, or what is wrong.
pub(crate) fn campaign(
    choice: Choice,
    seed: u64,
    abreast: usize,
    limit: Duration,
) -> Result<String, String> {
    let watched = watched()?;
    let cases = choose(&watched.calls, choice, seed);
    let seen = super::abreast(abreast, cases, move |_, case| {
        let answer = (|| {
            let text = serde_json::to_string(&(case, limit)).map_err(|e| e.to_string())?;
            let mut repeated = 0;
            loop {
                let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
                let answer = delegate(&format!("refuse={text}"), dir.path())?;
                let seen: Seen =
                    serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
                if !seen.stalled || repeated == AGAIN {
                    return Ok(seen);
                }
                repeated += 1;
                eprintln!(
                    "{} as call {}: the machine stood still; again",
                    case.name, case.k
                );
            }
        })();
        // A long form prints its findings at once.
        if let Some(what) = complaint(case, &answer) {
            eprint!("{what}");
        }
        (case.clone(), answer)
    });
    let mut wrong = String::new();
    let mut rows: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let mut errors: BTreeMap<i32, u32> = BTreeMap::new();
    for (case, seen) in &seen {
        let row = rows.entry(case.name.as_str()).or_default();
        row.0 += 1;
        *errors.entry(case.errno).or_default() += 1;
        let ended = seen
            .as_ref()
            .map_or("no answer of the worker", |seen| seen.ended.as_str());
        *ends.entry(ended).or_default() += 1;
        if let Some(what) = complaint(case, seen) {
            row.1 += 1;
            wrong.push_str(&what);
        }
    }
    let mut table = format!(
        "a run makes {} system calls from main on, {} of which can fail\n\
            call                 failures  wrong\n",
        watched.all,
        watched.calls.len()
    );
    for (name, (n, wrong)) in &rows {
        table.push_str(&format!("{name:<20} {n:>8} {wrong:>6}\n"));
    }
    for (errno, n) in errors {
        table.push_str(&format!(
            "{:<20} {n:>8}\n",
            format!("{:?}", Errno::from_raw(errno))
        ));
    }
    for (end, n) in ends {
        table.push_str(&format!("it ended with {end}: {n}\n"));
    }
    let sum: (u32, u32) = rows
        .values()
        .fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    table.push_str(&format!(
        "{} failures, {} with something left or wrong\n",
        sum.0, sum.1
    ));
    if wrong.is_empty() {
        Ok(table)
    } else {
        Err(format!("{wrong}{table}"))
    }
}

/// What is wrong with it, in words.
fn complaint(case: &Case, seen: &Result<Seen, String>) -> Option<String> {
    let name = format!(
        "{} as call {}: {:?}",
        case.name,
        case.k,
        Errno::from_raw(case.errno)
    );
    let seen = match seen {
        Ok(seen) if seen.wrong.is_empty() => return None,
        Ok(seen) => seen,
        Err(error) => return Some(format!("{name}: {error}\n")),
    };
    let at = seen.k.map_or_else(|| "never".to_owned(), |k| k.to_string());
    let (ended, what, said) = (&seen.ended, seen.wrong.join("\n  "), &seen.said);
    let noted = seen.noted.join("; ");
    Some(format!(
        "{name} (failed: {at}; it ended: {ended}):\n  {what}\n  it said: {said}\n  \
         it recorded: {noted}\n"
    ))
}

fn watched() -> Result<Watched, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let answer = delegate("watch=", dir.path())?;
    serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))
}

fn choose(calls: &[Call], choice: Choice, seed: u64) -> Vec<Case> {
    let case = |call: &Call, errno: i32| Case {
        k: call.k,
        name: call.name.clone(),
        errno,
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    match choice {
        Choice::All { part, of } => {
            // By number, so that the parts together are every number, whatever the length of each
            // run that was watched.
            let of_part = calls.iter().filter(|call| call.k % of == part);
            let mut all: Vec<Case> = of_part
                .flat_map(|call| call.errnos.iter().map(|errno| case(call, *errno)))
                .collect();
            all.shuffle(&mut random);
            all
        }
        Choice::Sample(count) => {
            let mut kinds: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
            for call in calls {
                kinds.entry(&call.name).or_default().push(call);
            }
            let mut chosen = Vec::new();
            let mut names: Vec<&str> = Vec::new();
            while (chosen.len() as u64) < count {
                if names.is_empty() {
                    names = kinds.keys().copied().collect();
                    names.shuffle(&mut random);
                }
                let of_kind = names.pop().and_then(|name| kinds[name].choose(&mut random));
                if let Some(call) = of_kind
                    && let Some(errno) = call.errnos.choose(&mut random)
                {
                    chosen.push(case(call, *errno));
                }
            }
            chosen
        }
    }
}

/// This program as the tracee: it asks to be traced and becomes the command.
pub(crate) fn traced(program: &str, args: &[String]) -> String {
    use std::os::unix::process::CommandExt;
    match ptrace::traceme() {
        Ok(()) => std::process::Command::new(program)
            .args(args)
            .exec()
            .to_string(),
        Err(e) => format!("PTRACE_TRACEME: {e}"),
    }
}

/// The worker that only watches.
pub(crate) fn watch(dir: &Path) -> Result<String, String> {
    let place = Place::make(dir)?;
    let mut tracee = Tracee::start(&place)?;
    let mut watched = Watched::default();
    while let Some(entry) = tracee.next_call()? {
        watched.all = entry.k;
        if let Some((name, errnos)) = tracee.errors(&entry) {
            watched.calls.push(Call {
                k: entry.k,
                name: name.to_owned(),
                errnos: errnos.iter().map(|errno| *errno as i32).collect(),
            });
        }
    }
    let ended = tracee.status.map_or_else(String::new, ended);
    let said = place.said();
    if ended != "exit 0" || place.records().len() != TRIALS || !says_nothing_left(&said) {
        return Err(format!(
            "the run without a failure ended with {ended}: {said}"
        ));
    }
    serde_json::to_string(&watched).map_err(|e| e.to_string())
}

/// The worker that lets a call fail.
pub(crate) fn refuse(case: &str, dir: &Path) -> Result<String, String> {
    let (case, limit): (Case, Duration) = serde_json::from_str(case).map_err(|e| e.to_string())?;
    let errno = Errno::from_raw(case.errno);
    let place = Place::make(dir)?;
    let mut tracee = Tracee::start(&place)?;
    let mut seen = Seen::default();
    let mut quiet = false;
    while let Some(entry) = tracee.next_call()? {
        let fits = entry.k >= case.k
            && tracee
                .errors(&entry)
                .is_some_and(|(name, errnos)| name == case.name && errnos.contains(&errno));
        if fits {
            seen.k = Some(entry.k);
            // Without standard error nothing can be reported.
            quiet = case.name == "write" && entry.args[0] <= 2;
            tracee.fail(errno)?;
            break;
        }
    }
    let pid = tracee.pid;
    let mut status = tracee.status;
    if seen.k.is_some() {
        let over = wait_until(HANG, || {
            status = status.or_else(|| reap(pid));
            status.is_some()
        });
        if !over {
            seen.wrong.push(format!(
                "it hangs: it is there {} s after the failure",
                HANG.as_secs()
            ));
        }
    }
    let said = place.said();
    let mut left = place.left(pid);
    if says_nothing_left(&said) && !left.is_empty() {
        seen.wrong.push(format!(
            "it said that nothing was left behind, and there was: {}",
            left.join("; ")
        ));
    }
    let since = now();
    wait_until(limit, || {
        reap(pid);
        left = place.left(pid);
        left.is_empty()
    });
    seen.wrong.extend(left.iter().map(|what| {
        format!(
            "left {} ms after the end: {what}",
            (now() - since).as_millis()
        )
    }));
    seen.ended = status.map_or_else(|| "nothing: it hangs".to_owned(), ended);
    if let Some(status) = status
        && seen.k.is_some()
        && !quiet
    {
        judge(&case, status, &said, &place.records(), &mut seen.wrong);
    }
    seen.wrong.extend(panicked(&said));
    let lines: Vec<&str> = said.trim_end().lines().collect();
    seen.said = lines[lines.len().saturating_sub(8)..].join(" | ");
    seen.noted = place
        .records()
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|record| format!("{}: {}", record["outcome"], record["note"]))
        .collect();
    let not_scheduled = format!("\"{}\"", Cause::NotScheduled);
    let mut records = place.records().into_iter();
    seen.stalled = records.any(|record| record.contains(&not_scheduled));
    if !seen.wrong.is_empty() {
        place.tidy(pid);
    }
    serde_json::to_string(&seen).map_err(|e| e.to_string())
}

/// Compares the output with the records and the end.
fn judge(case: &Case, status: WaitStatus, said: &str, records: &[String], wrong: &mut Vec<String>) {
    let records: Vec<serde_json::Value> = records
        .iter()
        .filter_map(|line| match serde_json::from_str(line) {
            Ok(record) => Some(record),
            Err(_) => {
                wrong.push(format!("no record: {line:?}"));
                None
            }
        })
        .collect();
    let outcome =
        |record: &serde_json::Value| record["outcome"].as_str().unwrap_or_default().to_owned();
    let broken =
        |record: &&serde_json::Value| ["broken", "interrupted"].contains(&outcome(record).as_str());
    for record in records.iter().filter(|record| !broken(record)) {
        if record["held"] != true {
            wrong.push(format!(
                "a mechanism is blamed for the failed call: {record}"
            ));
        }
    }
    for record in records.iter().filter(broken) {
        let note = record["note"]["what"]
            .as_str()
            .filter(|what| !what.is_empty());
        if note.is_none() && record["note"]["kind"] != "interrupted" {
            wrong.push(format!("broken without a reason: {record}"));
        }
    }
    let word = |text: &str| said.contains(text);
    match status {
        WaitStatus::Exited(_, 0) => {
            let complete = records.len() == TRIALS && !records.iter().any(|record| broken(&record));
            if !complete || !says_nothing_left(said) {
                wrong.push(format!("exit 0, and recorded was {records:?}"));
            }
        }
        WaitStatus::Exited(_, code) => {
            let errno = Errno::from_raw(case.errno);
            // As the project writes it, and as the standard library does.
            let names = [format!("{errno:?}"), format!("os error {}", case.errno)];
            let recorded = records.iter().map(ToString::to_string);
            let told = recorded
                .chain([said.to_owned()])
                .any(|text| names.iter().any(|name| text.contains(name)));
            if !told {
                wrong.push(format!(
                    "exit {code}, and neither said nor recorded is {errno:?}"
                ));
            }
        }
        // A failed allocation ends a Rust program, with these words.
        WaitStatus::Signaled(_, Signal::SIGABRT, _)
            if ["mmap", "mremap", "mprotect"].contains(&case.name.as_str())
                && word("memory allocation of") => {}
        other => wrong.push(format!("it ended by {other:?}")),
    }
}
