//! `lab matrix`: one suite, a series of kernels, one table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lab::build::Build;
use lab::cache::Cache;
use lab::fetch::{Flavour, Market, ROW};
use lab::image::{Programs, workspace_root};
use lab::kernel::Kernel;
use lab::source::Tree;
use lab::suite::record::{Record, read_all};
use lab::suite::{plot, stats::median, table};

use crate::ask::ask;
use crate::machine::Options;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernels, in the order of the table [default: the stock kernels, the newest RT, the newest
    /// source built at HZ 250 and 1000; whatever is missing is fetched and built]
    #[arg(long, short)]
    kernel: Vec<String>,
    /// How often each measurement is repeated
    #[arg(long, short = 'n', default_value_t = 50)]
    tries: usize,
    /// Where records, consoles and the table are written
    #[arg(
        long,
        value_name = "DIR",
        default_value = "kernel-patch/results/matrix"
    )]
    out: PathBuf,
    /// Fail unless the known behaviours of these kernels are seen again
    #[arg(long)]
    check: bool,
    /// Boot nothing: write the table again from the records that are there
    #[arg(long)]
    render: bool,
    #[command(flatten)]
    options: Options,
}

/// Kernels without a row, and why, beside the records.
const NOT_COVERED: &str = "not-covered.json";

pub(crate) fn matrix(cache: &Cache, args: &Args) -> Result<ExitCode> {
    if args.render {
        let path = args.out.join(NOT_COVERED);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let not_covered: Vec<(String, String)> = serde_json::from_str(&text)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        write_table(&args.out, &read_all(&args.out)?, &not_covered)?;
        return Ok(ExitCode::SUCCESS);
    }
    let programs = Programs::build(&["lab-probe"])?;
    let mut not_covered = vec![(
        "arm64".to_owned(),
        "no Rust target for it on the machines this was written on".to_owned(),
    )];
    let kernels = if args.kernel.is_empty() {
        whole_row(cache, &mut not_covered)?
    } else {
        args.kernel
            .iter()
            .map(|name| Kernel::find(cache, name))
            .collect::<Result<_>>()?
    };
    // Made before the first boot, so that a bad path fails at once; old records do not mix with new
    // ones.
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let records_file = args.out.join("records.jsonl");
    if records_file.exists() {
        fs::remove_file(&records_file)
            .with_context(|| format!("cannot remove {}", records_file.display()))?;
    }
    let mut records = Vec::new();
    let mut failed = Vec::new();
    for kernel in &kernels {
        tell!("lab: {}", kernel.name);
        let kept = (args.out.as_path(), "");
        match ask(cache, &args.options, &programs, kernel, args.tries, kept) {
            Ok(record) => records.push(record),
            // A kernel that fails gets a row of its own, and the others are still measured.
            Err(error) => {
                tell!("lab: {}: {error:#}", kernel.name);
                let why = format!("{error:#}")
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                not_covered.push((kernel.name.clone(), format!("failed: {why}")));
                failed.push(kernel.name.clone());
            }
        }
        write_table(&args.out, &records, &not_covered)?;
    }
    say!("{}", table::matrix(&records, &not_covered));
    if !failed.is_empty() {
        bail!(
            "{} of {} kernels failed: {}",
            failed.len(),
            kernels.len(),
            failed.join(", ")
        );
    }
    let broken = if args.check {
        broken_expectations(&records)
    } else {
        Vec::new()
    };
    for line in &broken {
        tell!("lab: not as known: {line}");
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes the table and what it leaves out.
fn write_table(out: &Path, records: &[Record], not_covered: &[(String, String)]) -> Result<()> {
    let list = serde_json::to_string_pretty(not_covered).context("encode what is not covered")?;
    for (name, text) in [
        (NOT_COVERED, list + "\n"),
        ("README.md", table::matrix(records, not_covered)),
        ("latency.svg", plot::latencies(records, "0us")),
    ] {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Fetches and builds all kernels that are needed; a kernel that is not offered is noted.
fn whole_row(cache: &Cache, not_covered: &mut Vec<(String, String)>) -> Result<Vec<Kernel>> {
    let market = Market::open(cache)?;
    let (newest, notes) = market.fetch_source(cache, "newest")?;
    for note in notes {
        tell!("lab: passed over {note}");
    }
    let series = market
        .sources()
        .last()
        .and_then(|offer| offer.package.series())
        .unwrap_or_default()
        .to_owned();
    let mut wanted: Vec<(String, Flavour)> = ROW
        .iter()
        .map(|name| ((*name).to_owned(), Flavour::Cloud))
        .collect();
    wanted.push((series, Flavour::Rt));
    let mut kernels = Vec::new();
    for (name, flavour) in wanted {
        match market.stock(&name, flavour) {
            Some(offer) => kernels.push(market.fetch_stock(cache, offer, &name, flavour)?.0),
            None => not_covered.push((
                format!("stock {name} {flavour:?}"),
                "no suite of the mirror has it".to_owned(),
            )),
        }
    }
    for variants in [vec![], vec!["hz1000".to_owned()]] {
        kernels.push(build(cache, &newest, &variants)?);
    }
    Ok(kernels)
}

fn build(cache: &Cache, tree: &Tree, variants: &[String]) -> Result<Kernel> {
    let fragments = workspace_root()?.join("kernel-patch/config");
    let outcome = Build {
        tree,
        fragments: &fragments,
        variants,
        make_args: &[],
    }
    .run(cache)?;
    Ok(outcome.kernel)
}

/// A late notification: the gap that every stock kernel has.
const GAP_NS: u64 = 5_000_000;

/// The known behaviours, asserted both ways; each line names the kernel, the expectation and the
/// result.
fn broken_expectations(records: &[Record]) -> Vec<String> {
    let mut broken = Vec::new();
    for record in records {
        let poll = median(record.answers.samples("latency", "cgroup-events-poll 0us"));
        if record.kernel.starts_with("stock-") && poll.is_none_or(|ns| ns < GAP_NS) {
            broken.push(format!(
                "{}: cgroup.events poll at lifetime 0 is above 5 ms on every stock kernel, got \
                    {poll:?} ns",
                record.kernel
            ));
        }
        let reuse = record.answers.share(
            "reuse",
            "child of clone3 in a cgroup killed before",
            "killed at birth",
        );
        let expected = match record.kernel.as_str() {
            "stock-6.1.190" => Some(true),
            name if name.contains("7.3") => Some(false),
            _ => None,
        };
        if let (Some(expected), Some((killed, tries))) = (expected, reuse)
            && killed != if expected { tries } else { 0 }
        {
            broken.push(format!(
                "{}: children killed at birth: {killed} of {tries}, expected {}",
                record.kernel,
                if expected { "all" } else { "none" }
            ));
        }
    }
    broken
}
