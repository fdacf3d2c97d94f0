//! The command line of `report`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::analysis::{Campaign, Diff};
use crate::artefacts;
use crate::check::{self, check, list};
use crate::figures::Figure;
use crate::render::{GENERATED, diff};
use crate::splice::{self, FINDINGS};
use crate::store::{self, Dataset, Store, Taking};

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 4 something differs (check, diff), 2 usage, 1 an error.";

/// From recorded trials to tables, plots and one page.
///
/// Reads what `scenario measure` recorded (reports/data/NAME, compressed) and what the lab recorded
/// (kernel-patch/results), and writes reports/generated and the figures in reports/findings.md. The
/// same records give the same bytes on every machine.
#[derive(Debug, Parser)]
#[command(name = "report", version, after_help = EXIT_CODES)]
struct Cli {
    /// The top of the workspace; looked for from here upwards if not given
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take the directory of a campaign (scenario measure --out DIR) into reports/data/NAME
    ///
    /// Its records must be those of its plan. It is compressed, and host names, boot ids and places
    /// are left out; every trial is kept. A campaign of 10 000 trials takes about a megabyte. More
    /// can be measured at any time with the command that the dataset names, and compared with
    /// `report diff`.
    Add {
        /// Its name: lower-case letters, digits and dashes. NAME and NAME-again are compared with
        /// each other
        name: String,
        /// The directory; or those of the shards of a campaign (scenario measure --shard K/N),
        /// which are put together, machine by machine. Those of several machines become datasets of
        /// their own: NAME-1, NAME-2 ...
        #[arg(required = true)]
        dirs: Vec<PathBuf>,
        /// Replace the dataset that is there
        #[arg(long)]
        replace: bool,
    },
    /// Write everything in reports/generated, and the figures in reports/findings.md
    Render,
    /// Compute every committed figure again from the raw trials, and say what differs
    Check,
    /// Write the figures in reports/findings.md alone
    Splice,
    /// List all figures, by the names that findings.md uses
    Figures {
        /// Only names that contain this
        filter: Option<String>,
    },
    /// Say what changed between two campaigns: names of datasets, or directories
    Diff {
        /// Before
        a: String,
        /// After
        b: String,
    },
}

/// Runs the command that this process was given.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say_aloud(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Something differs.
const DIFFERS: u8 = 4;

fn run(cli: Cli) -> Result<ExitCode> {
    let root = match cli.root {
        Some(root) => root,
        None => store::find_root()?,
    };
    match cli.verb {
        Verb::Add {
            name,
            dirs,
            replace,
        } => {
            let taking = Taking {
                replace,
                progress: &|what| say_aloud(&format!("{name}: {what}")),
            };
            for dataset in store::add_all(&root, &name, &dirs, &taking)? {
                let place = store::data_dir(&root).join(&dataset.name);
                let bytes: u64 = list(&place)?
                    .iter()
                    .filter_map(|file| fs::metadata(place.join(file)).ok())
                    .map(|meta| meta.len())
                    .sum();
                say(&format!(
                    "{}: {} trials, {} measurements of many sites, {} kB; now: report render",
                    dataset.name,
                    dataset.trials.len(),
                    dataset.sites.len(),
                    bytes / 1_000
                ))?;
            }
        }
        Verb::Render => {
            say_aloud("computing every figure from the raw trials, which takes some seconds");
            for (line, name) in write_all(&Store::read(&root)?)? {
                say_aloud(&format!("{FINDINGS}:{line}: {name} is not recorded"));
            }
        }
        Verb::Check => {
            say_aloud("computing every figure from the raw trials, which takes some seconds");
            let differences = check(&root)?;
            for difference in &differences {
                say(&difference.to_string())?;
            }
            if !differences.is_empty() {
                say_aloud(
                    "the committed files are not what the records give: run report render, and \
                        check git diff",
                );
                return Ok(ExitCode::from(DIFFERS));
            }
            say("Every committed figure is what the recorded trials give.")?;
        }
        Verb::Splice => {
            let figures = artefacts::figures(&Store::read(&root)?)?;
            let text = splice::read(&root)?.with_context(|| format!("there is no {FINDINGS}"))?;
            write(
                &root.join(FINDINGS),
                splice::splice(&text, &figures)?.as_bytes(),
            )?;
            for (line, name) in splice::missing(&text, &figures)? {
                say_aloud(&format!("{FINDINGS}:{line}: {name} is not recorded"));
            }
        }
        Verb::Figures { filter } => {
            let store = Store::read(&root)?;
            for (name, figure) in artefacts::figures(&store)?.iter() {
                if filter
                    .as_ref()
                    .is_none_or(|part| name.contains(part.as_str()))
                {
                    match figure {
                        Figure::Inline(text) => say(&format!("{name}  {text}"))?,
                        Figure::Block(text) => {
                            say(&format!("{name}  ({} lines)", text.lines().count()))?
                        }
                    }
                }
            }
        }
        Verb::Diff { a, b } => {
            let [before, after] = [dataset(&root, &a)?, dataset(&root, &b)?];
            let diff = Diff::of(&Campaign::of(&before), &Campaign::of(&after));
            say(&diff::in_words(&diff))?;
            say("")?;
            say(diff::table(&diff).trim_end())?;
            if diff.changed().next().is_some() {
                return Ok(ExitCode::from(DIFFERS));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A dataset by its name, or the directory of a campaign.
fn dataset(root: &Path, name: &str) -> Result<Dataset> {
    let known = store::data_dir(root).join(name);
    Dataset::read(if known.is_dir() {
        &known
    } else {
        Path::new(name)
    })
}

/// Writes what is rendered, and removes what is no longer. Returns the figures that the findings
/// name and that do not exist.
pub fn write_all(store: &Store) -> Result<Vec<(usize, String)>> {
    let rendered = artefacts::all(store)?;
    let dir = store.root.join(GENERATED);
    let known: BTreeSet<&str> = rendered.files().map(|(name, _)| name).collect();
    for name in check::tree(&dir)?
        .iter()
        .filter(|name| !known.contains(name.as_str()))
    {
        let path = dir.join(name);
        fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))?;
    }
    for (name, content) in rendered.files() {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(&dir);
        fs::create_dir_all(parent)
            .with_context(|| format!("could not make {}", parent.display()))?;
        write(&path, content)?;
    }
    if let Some(findings) = &rendered.findings {
        write(&store.root.join(FINDINGS), findings.as_bytes())?;
    }
    Ok(rendered.missing)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("could not write {}", path.display()))
}

fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("could not write to standard output")
}

#[expect(clippy::print_stderr, reason = "this is the program's voice")]
fn say_aloud(text: &str) {
    eprintln!("{text}");
}
