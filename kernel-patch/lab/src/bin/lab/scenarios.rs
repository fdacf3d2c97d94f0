//! `lab scenarios`: every scenario with every mechanism on a row of kernels, compared with what is
//! known of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use lab::cache::Cache;
use lab::image::Programs;
use lab::kernel::Kernel;
use lab::process;
use lab::protocol::{Ended, Message, Step};
use lab::suite::scenarios::{Known, Outcome, Run, read_all, read_known, table};
use lab::vm::Accelerator;

use crate::machine::Options;
use crate::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernels, one after the other, as `lab run` takes them
    #[arg(long, short, default_values = ["stock-6.1", "stock-6.12", "newest"])]
    kernel: Vec<String>,
    /// The rows that are known to differ, with the reason. Any other row that is not as expected is
    /// an error, and so is a row of the list that is as expected, if its line has no `? ` before it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "kernel-patch/config/known-differences.txt"
    )]
    known: PathBuf,
    /// In the machine, begin no trial that is expected to end later than so many seconds after the
    /// beginning; what was left out is counted [default: two minutes less than --limit]
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u32>,
    /// Keep the records, the console and the result of each kernel in a directory of its own below
    /// this one, and the table of all that are there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Scenarios and options of `scenario` [default: all]
    #[arg(last = true)]
    words: Vec<String>,
}

/// Where the machine keeps its records.
const INSIDE: &str = "/root/records";
/// The last part of a command's limit, in which no trial begins.
const RESERVE_S: u32 = 120;
/// Exit codes of `scenario` after which its records are whole: all held, some did not, some broke
/// or were left out. Anything else is no result.
const WHOLE: [i32; 3] = [0, 4, 5];

pub(crate) fn scenarios(cache: &Cache, args: &Args) -> Result<ExitCode> {
    let list = read_known(&args.known)?;
    let kernels = args
        .kernel
        .iter()
        .map(|name| Kernel::find(cache, name))
        .collect::<Result<Vec<_>>>()?;
    let programs = Programs::build(&["scenario"])?;
    let mut clean = true;
    for kernel in &kernels {
        let outcome = one(cache, args, &programs, kernel, &list)?;
        tell(&outcome);
        clean &= outcome.is_as_known();
    }
    if let Some(out) = &args.out {
        let path = out.join("README.md");
        fs::write(&path, table(&read_all(out)?))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(match clean {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// One kernel: a machine, its records, and the comparison.
fn one(
    cache: &Cache,
    args: &Args,
    programs: &Programs,
    kernel: &Kernel,
    list: &[Known],
) -> Result<Outcome> {
    let place = tempfile::tempdir().context("cannot make a temporary directory")?;
    let records = place.path().join("records");
    let mut options = Options {
        otherwise: Accelerator::TakingTurns,
        ..args.options.clone()
    };
    options.take.push(format!("{INSIDE}:{}", records.display()));
    let console = place.path().join("console");
    options.console.get_or_insert(console.clone());
    let argv = command(args);
    let step = Step {
        argv: argv.clone(),
        dir: "/".to_owned(),
        limit_s: options.limit,
    };
    // What it prints about its rows is judged here, and said again.
    let hear = |message: &Message| match message {
        Message::Err(line) => say::err(&format!("{}: {line}", kernel.name)),
        _ => Ok(()),
    };
    let (boot, accelerator) = options.boot(cache, programs, kernel, vec![step], true, hear)?;
    match boot.steps.first() {
        Some((Ended::Exit(status), _)) if WHOLE.contains(status) => {}
        Some((Ended::TimedOut, _)) => bail!(
            "{}: `scenario` was still running after {} s and was killed; a smaller --budget lets \
                it end",
            kernel.name,
            options.limit
        ),
        other => bail!("{}: `scenario` ended with {other:?}", kernel.name),
    }
    let run = Run::read(&records)?;
    if run.left_out() > 0 && !run.over_budget {
        bail!(
            "{}: `scenario` stopped before its plan was done, and not because its time was up",
            kernel.name
        );
    }
    let mut outcome = Outcome::of(&kernel.name, &run, list);
    outcome.release = boot.release;
    outcome.accelerator = format!("{}, {} CPUs", accelerator.label(), options.cpus);
    outcome.at = process::text(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%MZ"]))?
        .trim()
        .to_owned();
    outcome.command = argv.join(" ");
    if let Some(out) = &args.out {
        keep(&out.join(&kernel.name), &records, &boot.console, &outcome)?;
    }
    Ok(outcome)
}

/// The command in the machine.
fn command(args: &Args) -> Vec<String> {
    let mut argv = vec!["scenario".to_owned()];
    match args.words.is_empty() {
        true => argv.push("all".to_owned()),
        false => argv.extend(args.words.iter().cloned()),
    }
    let limit = args.options.limit;
    let budget = args
        .budget
        .unwrap_or_else(|| limit.saturating_sub(RESERVE_S).max(limit / 2));
    argv.extend(["--budget".to_owned(), format!("{budget}s")]);
    argv.extend(["--out", INSIDE].map(str::to_owned));
    argv
}

/// What there is to say about a kernel.
fn tell(outcome: &Outcome) {
    say!(
        "{}: {} rows, {} as expected, {} differ ({} of them known); {} left out for lack of time, \
            {} missing here, {} without a statement",
        outcome.kernel,
        outcome.ran,
        outcome.as_expected,
        outcome.differing.len(),
        outcome.differing.len() - outcome.unknown().count(),
        outcome.left_out,
        outcome.rows_missing(),
        outcome.not_applicable
    );
    for missing in &outcome.missing {
        say!(
            "  missing: {} ({} rows): {}",
            missing.what,
            missing.rows,
            missing.why
        );
    }
    for row in outcome.unknown() {
        say!(
            "  not known: {}: {}; expected: {}; {}",
            row.row,
            row.how,
            row.expected,
            row.note
        );
    }
    for line in &outcome.healed {
        say!("  known to differ, and as expected: {line}");
    }
}

/// Keeps the records of a kernel, compressed, instead of those that are there.
fn keep(dir: &Path, records: &Path, console: &str, outcome: &Outcome) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let text = serde_json::to_string_pretty(outcome).context("encode a result")?;
    write("result.json", &(text + "\n"))?;
    write("console", console)?;
    let mut names = vec!["console"];
    for name in ["plan.json", "trials.jsonl", "environment.json"] {
        let from = records.join(name);
        fs::copy(&from, dir.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
        names.push(name);
    }
    let mut zstd = Command::new("zstd");
    zstd.args(["-19", "-q", "-f", "--rm"]).args(names);
    process::output(zstd.current_dir(dir))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn line(words: &str) -> String {
        let words = ["lab"].into_iter().chain(words.split_whitespace());
        command(&Cli::try_parse_from(words).unwrap().args).join(" ")
    }

    #[test]
    fn the_machine_has_all_scenarios_and_ends_before_its_limit() {
        let out = "--out /root/records";
        assert_eq!(
            line("--limit 900"),
            format!("scenario all --budget 780s {out}")
        );
        assert_eq!(
            line("--limit 100"),
            format!("scenario all --budget 50s {out}")
        );
        assert_eq!(
            line("--budget 60 -- setsid --kill sound"),
            format!("scenario setsid --kill sound --budget 60s {out}")
        );
    }

    #[test]
    fn the_list_of_the_project_can_be_read() {
        let path = lab::image::workspace_root().unwrap();
        assert!(read_known(&path.join("kernel-patch/config/known-differences.txt")).is_ok());
    }
}
