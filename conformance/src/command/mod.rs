//! The command `allgone-conform`.

mod args;
mod html;
mod list;
mod markdown;
mod new;
mod output;
mod play;
mod repeat;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use self::args::{Args, Verb};
use self::markdown::Written;
use crate::promises::{self, PROMISES};
use crate::run::TRIAL;
use crate::score::Scores;
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
        Some(Verb::Render { file, html }) => render(file, *html),
        Some(Verb::Repeat(again)) => repeat::repeat(again),
        Some(Verb::New(new)) => new::new(new),
        None => play::play(&args.play),
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

fn render(path: &str, as_html: bool) -> Result<u8, Failure> {
    let (scores, written) = (recorded(path)?, Written::read()?);
    print(&match as_html {
        true => html::page(&scores, &written),
        false => markdown::page(&scores, &written),
    })?;
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
