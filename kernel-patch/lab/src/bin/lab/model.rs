//! `lab model`: the model of `kernel-patch/model` in all its configurations, one table.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::clock::now;
use lab::image::workspace_root;
use lab::model::{Checked, Checker, Expected, ModelError, Outcome, ROWS, Row, row};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these configurations; without it all of them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the steps of one configuration's counter-example that a program can take, one line
    /// with commas, as `lab-probe replay --steps` wants them
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    steps: Option<String>,
    /// Print one configuration's counter-example statement by statement
    #[arg(long, value_name = "NAME", conflicts_with_all = ["only", "steps"])]
    trail: Option<String>,
    /// Configurations that are checked at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

pub(crate) fn model(args: &Args) -> Result<ExitCode> {
    let work = tempfile::tempdir().context("cannot make a temporary directory")?;
    let checker = Checker::new(&workspace_root()?.join("kernel-patch/model"), work.path());
    if let Some(name) = &args.steps {
        let row = find(name)?;
        counter_example(&checker, row)?;
        say!("{}", checker.steps(row)?.join(","));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &args.trail {
        let row = find(name)?;
        counter_example(&checker, row)?;
        say!("{}", checker.trail(row)?);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = if args.only.is_empty() {
        ROWS.iter().collect()
    } else {
        args.only
            .iter()
            .map(|name| find(name))
            .collect::<Result<Vec<_>>>()?
    };
    let begin = now();
    let results = check_all(&checker, &rows, args.jobs.max(1));
    Ok(table(&rows, results, now().saturating_sub(begin)))
}

fn find(name: &str) -> Result<&'static Row> {
    row(name).with_context(|| {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        format!(
            "there is no configuration {name:?}; there are: {}",
            names.join(" ")
        )
    })
}

fn counter_example(checker: &Checker, row: &Row) -> Result<()> {
    match checker.check(row)?.outcome {
        Outcome::Found(_) => Ok(()),
        Outcome::None => bail!("{} has no counter-example", row.name),
    }
}

/// Checks them, `jobs` at a time; those that search the whole state space are first.
fn check_all(
    checker: &Checker,
    rows: &[&'static Row],
    jobs: usize,
) -> BTreeMap<&'static str, Result<Checked, ModelError>> {
    let mut order = rows.to_vec();
    order.sort_by_key(|row| (row.expected, !row.is_large()));
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(row) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = checker.check(row);
                    if let Ok(mut results) = results.lock() {
                        results.insert(row.name, result);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default()
}

/// What SPIN, the compiler and the searches have used: it says how long they take where nothing
/// else runs, which the time on the clock of a busy machine does not.
fn processor_time() -> Option<Duration> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let sum = used.user_time() + used.system_time();
    u64::try_from(sum.num_microseconds())
        .ok()
        .map(Duration::from_micros)
}

fn table(
    rows: &[&Row],
    mut results: BTreeMap<&'static str, Result<Checked, ModelError>>,
    took: Duration,
) -> ExitCode {
    let mut wrong = 0;
    say!(
        "{:20} {:54} {:8} {:14} {:>9} {:>5} {:>6}",
        "configuration",
        "what",
        "property",
        "counterexample",
        "states",
        "depth",
        "s"
    );
    for row in rows {
        let name_and_what = format!("{:20} {:54} {:8}", row.name, row.what, row.property);
        match results.remove(row.name) {
            Some(Ok(checked)) => {
                let (as_expected, word) = match (&checked.outcome, row.expected) {
                    (Outcome::None, Expected::None) => (true, "none"),
                    (Outcome::Found(_), Expected::Found) => (true, "found"),
                    (Outcome::None, Expected::Found) => (false, "NONE"),
                    (Outcome::Found(_), Expected::None) => (false, "FOUND"),
                };
                wrong += usize::from(!as_expected);
                say!(
                    "{name_and_what} {word:14} {:>9} {:>5} {:>6.1}",
                    checked.states,
                    checked.depth,
                    checked.took.as_secs_f64()
                );
                if let (false, Outcome::Found(what)) = (as_expected, &checked.outcome) {
                    tell!(
                        "lab: {}: {what}; `lab model --trail {0}` shows it",
                        row.name
                    );
                }
            }
            Some(Err(error)) => {
                wrong += 1;
                say!("{name_and_what} FAILED");
                tell!("lab: {}: {error}", row.name);
            }
            None => wrong += 1,
        }
    }
    say!(
        "{} configurations in {:.0} s ({} s of processor time), {wrong} not as expected",
        rows.len(),
        took.as_secs_f64(),
        processor_time().map_or_else(
            || "?".to_owned(),
            |time| format!("{:.0}", time.as_secs_f64())
        )
    );
    if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
