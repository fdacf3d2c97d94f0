//! The command `allgone-conform`.

mod args;
mod list;
mod new;
mod output;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use self::args::{Args, Format, PlayArgs, Verb};
use crate::adapter::{Adapter, SHIPPED};
use crate::promises::{self, PROMISES};
use crate::run::{Asked, Suite, TRIAL};
use crate::score::{self, SCHEMA, Scores};
use crate::trial;

/// Every claimed promise was kept, or, with a baseline, nothing has become worse.
const GOOD: u8 = 0;
/// Something that is claimed was broken or is not known; or something has become worse.
const BAD: u8 = 1;
/// A mistake in the arguments or in an adapter.
const USAGE: u8 = 2;
/// The suite itself could not work.
const FAILED: u8 = 3;

/// The program: the command, or the process of one trial.
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(TRIAL) {
        return trial::main(&words.next().unwrap_or_default());
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let code = if e.use_stderr() { USAGE } else { GOOD };
            return match e.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(FAILED),
            };
        }
    };
    let done = match &args.verb {
        Some(Verb::List) => list::list(),
        Some(Verb::Explain { promise }) => explain(promise),
        Some(Verb::Render { file }) => render(file),
        Some(Verb::New(new)) => new::new(new),
        None => play(&args.play),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, error }) => {
            say(&format!("allgone-conform: {error:#}"));
            ExitCode::from(code)
        }
    }
}

/// Why nothing was scored.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: USAGE,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: FAILED,
            error,
        }
    }
}

/// To standard error; if that is gone nothing can be told.
fn say(line: &str) {
    match writeln!(std::io::stderr(), "{line}") {
        Ok(()) | Err(_) => {}
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("could not write the answer")?;
    Ok(())
}

fn explain(id: &str) -> Result<u8, Failure> {
    let promise = promises::by_id(id).ok_or_else(|| Failure::usage(no_promise(id)))?;
    print(&promises::page(promise))?;
    Ok(GOOD)
}

fn render(path: &str) -> Result<u8, Failure> {
    print(&output::markdown(&recorded(path)?))?;
    Ok(GOOD)
}

fn recorded(path: &str) -> Result<Scores, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {path}"));
    let scores = text.and_then(|text| {
        Scores::read(&text).map_err(|e| anyhow::anyhow!("could not understand {path}: {e}"))
    });
    scores.map_err(Failure::usage)
}

fn no_promise(id: &str) -> anyhow::Error {
    let ids: Vec<_> = PROMISES.iter().map(|promise| promise.id()).collect();
    anyhow::anyhow!("there is no promise {id:?}; there are {}", ids.join(", "))
}

fn play(args: &PlayArgs) -> Result<u8, Failure> {
    let adapters = adapters(args)?;
    let asked = asked(args)?;
    // Read before anything is played, so that a mistake is found at once.
    let baseline = args.baseline.as_deref().map(recorded).transpose()?;
    let suite = Suite::open(args.payload.as_deref())?;
    let options = args.options();
    let mut scores = Scores {
        schema: SCHEMA,
        suite: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel(),
        promises: asked.promises.iter().map(|p| p.id().to_owned()).collect(),
        seed: asked.seed,
        options: options.trim().to_owned(),
        launchers: Vec::new(),
    };
    for adapter in &adapters {
        if !args.quiet {
            say(&format!("{} …", adapter.id));
        }
        let outcome = suite.play(adapter, &asked);
        let again = format!("{options} --seed {}", asked.seed);
        let score = score::score(adapter, &asked.promises, &outcome, &again);
        scores.launchers.push(score);
    }
    let text = match args.format {
        Format::Table => output::table(&scores),
        Format::Json => output::json(&scores)?,
        Format::Ktap => scenarios::formats::ktap::text(&output::suites(&scores)),
        Format::Junit => {
            scenarios::formats::junit::text("allgone-conform", &output::suites(&scores))?
        }
        Format::Markdown => output::markdown(&scores),
    };
    print(&text)?;
    if let Some(path) = &args.out {
        std::fs::write(path, output::json(&scores)?)
            .with_context(|| format!("could not write {path}"))?;
    }
    let Some(before) = baseline else {
        return Ok(if scores.all_kept() { GOOD } else { BAD });
    };
    let worse = score::regressions(&before, &scores);
    for one in &worse {
        say(&format!(
            "worse than the baseline: {} {} level {}: kept before, now {}",
            one.launcher,
            one.promise,
            one.level,
            one.now.map_or("not played", |verdict| verdict.word())
        ));
    }
    Ok(if worse.is_empty() { GOOD } else { BAD })
}

fn adapters(args: &PlayArgs) -> Result<Vec<Adapter>, Failure> {
    let all = || SHIPPED.iter().map(|(id, _)| (*id).to_owned()).collect();
    let names: Vec<String> = match args.launchers.iter().any(|name| name == "all") {
        true => all(),
        false => args.launchers.clone(),
    };
    if names.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "no launcher is named: an id of `allgone-conform list`, a file, or all"
        )));
    }
    let load = |name: &String| Adapter::load(name).map_err(Failure::usage);
    names.iter().map(load).collect()
}

fn asked(args: &PlayArgs) -> Result<Asked, Failure> {
    let named = args.case.iter().filter_map(|case| case.split('/').next());
    let mut promises = Vec::new();
    for id in args.promise.iter().map(String::as_str).chain(named) {
        promises.push(promises::by_id(id).ok_or_else(|| Failure::usage(no_promise(id)))?);
    }
    if promises.is_empty() {
        promises = PROMISES.to_vec();
    }
    Ok(Asked {
        promises,
        case: args.case.clone(),
        runs: args.runs,
        thorough: args.thorough,
        seed: args
            .seed
            .unwrap_or_else(|| u64::from(rand::random::<u32>())),
        parallel: args.parallel,
        user: args.user,
    })
}

fn kernel() -> String {
    let found = nix::sys::utsname::uname();
    found.map_or_else(
        |_| String::new(),
        |name| {
            let text = [name.sysname(), name.release(), name.machine()];
            text.map(|part| part.to_string_lossy().into_owned())
                .join(" ")
        },
    )
}
