//! Launchers are played, and scored.

use std::time::Duration;

use allgone::sys::time::now;
use anyhow::Context;

use super::args::{Format, PlayArgs};
use super::markdown::{self, Written};
use super::{BAD, Failure, GOOD, no_promise, output, print, recorded, say};
use crate::adapter::{Adapter, SHIPPED, find};
use crate::promises::{self, PROMISES};
use crate::run::{Asked, Suite};
use crate::score::{self, SCHEMA, Score, Scores};

/// What is needed to score a launcher.
#[derive(Debug)]
pub(super) struct Scorer {
    suite: Suite,
    pub(super) asked: Asked,
    options: String,
    quiet: bool,
}

impl Scorer {
    pub(super) fn new(args: &PlayArgs, asked: Asked) -> Result<Self, Failure> {
        if asked.terminal && find("python3").is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--terminal needs python3, which makes the terminal: install it"
            )));
        }
        if asked.container && find("runc").is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--container needs runc, which makes the container: install it"
            )));
        }
        Ok(Self {
            suite: Suite::open(args.payload.as_deref())?,
            asked,
            options: args.options(),
            quiet: args.quiet,
        })
    }

    /// Plays all its trials.
    pub(super) fn score(&self, adapter: &Adapter) -> Score {
        if !self.quiet {
            say(&format!("{} …", adapter.id));
        }
        let (began, before) = (now(), load());
        let outcome = self.suite.play(adapter, &self.asked);
        let again = format!("{} --seed {}", self.options, self.asked.seed);
        let mut score = score::score(adapter, &self.asked.promises, &outcome, &again);
        score.load = format!("{before} to {}", load());
        let took: Duration = now().since(began);
        score.took_ms = u64::try_from(took.as_millis()).ok();
        score
    }
}

/// The load over a minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

pub(super) fn play(args: &PlayArgs) -> Result<u8, Failure> {
    let adapters = adapters(args)?;
    let mut asked = asked(args)?;
    // Read before anything is played, so that a mistake is found at once.
    let baseline = args.baseline.as_deref().map(recorded).transpose()?;
    let mut scores = Scores {
        schema: SCHEMA,
        suite: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel(),
        promises: asked.promises.iter().map(|p| p.id().to_owned()).collect(),
        seed: asked.seed,
        options: args.options().trim().to_owned(),
        launchers: Vec::new(),
    };
    if let Some(earlier) = earlier(args)? {
        if args.seed.is_none() {
            (asked.seed, scores.seed) = (earlier.seed, earlier.seed);
        }
        go_on(&mut scores, earlier)?;
    }
    let scorer = Scorer::new(args, asked)?;
    let place = |id: &str| adapters.iter().position(|adapter| adapter.id == id);
    for adapter in &adapters {
        if scores
            .launchers
            .iter()
            .any(|had| had.launcher == adapter.id)
        {
            continue;
        }
        scores.launchers.push(scorer.score(adapter));
        scores.launchers.sort_by_key(|score| place(&score.launcher));
        if let Some(path) = &args.out {
            write(path, &output::json(&scores)?)?;
        }
    }
    if let Some(path) = &args.out {
        write(path, &output::json(&scores)?)?;
    }
    print(&match args.format {
        Format::Table => output::table(&scores),
        Format::Json => output::json(&scores)?,
        Format::Ktap => scenarios::formats::ktap::text(&output::suites(&scores)),
        Format::Junit => {
            scenarios::formats::junit::text("allgone-conform", &output::suites(&scores))?
        }
        Format::Markdown => markdown::page(&scores, &Written::default()),
    })?;
    Ok(code(&scores, baseline.as_ref()))
}

/// What `--resume` goes on with, if there is something.
fn earlier(args: &PlayArgs) -> Result<Option<Scores>, Failure> {
    match &args.out {
        Some(path) if args.resume && std::path::Path::new(path).exists() => {
            recorded(path).map(Some)
        }
        _ => Ok(None),
    }
}

/// Takes over what was played earlier, if it was played in the same way. What was left out then may
/// be here now.
fn go_on(scores: &mut Scores, earlier: Scores) -> Result<(), Failure> {
    let about = |of: &Scores| {
        format!(
            "{}, suite {}, seed {}, options {:?}, promises {}",
            of.kernel,
            of.suite,
            of.seed,
            of.options,
            of.promises.join(",")
        )
    };
    if about(scores) != about(&earlier) {
        return Err(Failure::usage(anyhow::anyhow!(
            "--resume would mix two ways of playing: the file has {}; asked for is {}; name \
             another file",
            about(&earlier),
            about(scores)
        )));
    }
    let played = |score: &Score| score.skipped.is_none() && score.unusable.is_none();
    scores.launchers = earlier.launchers.into_iter().filter(played).collect();
    Ok(())
}

/// Whoever reads the file meanwhile finds the one before or this one.
fn write(path: &str, text: &str) -> anyhow::Result<()> {
    let new = format!("{path}.new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("could not write {path}"))
}

fn code(scores: &Scores, baseline: Option<&Scores>) -> u8 {
    let Some(before) = baseline else {
        return if scores.all_kept() { GOOD } else { BAD };
    };
    let worse = score::regressions(before, scores);
    for one in &worse {
        say(&format!(
            "worse than the baseline: {} {} level {}: kept before, now {}",
            one.launcher,
            one.promise,
            one.level,
            one.now.map_or("not played", |verdict| verdict.word())
        ));
    }
    if worse.is_empty() { GOOD } else { BAD }
}

pub(super) fn adapters(args: &PlayArgs) -> Result<Vec<Adapter>, Failure> {
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

pub(super) fn asked(args: &PlayArgs) -> Result<Asked, Failure> {
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
        terminal: args.terminal,
        container: args.container,
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
