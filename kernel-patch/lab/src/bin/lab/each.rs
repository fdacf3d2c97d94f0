//! `lab each`: the kernel after each patch of a series, built and booted one after another.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use lab::build::{Outcome, image_sha256};
use lab::cache::Cache;
use lab::image::Programs;
use lab::kernel::Origin;
use lab::protocol::{Ended, Message, Step};
use lab::source::patch_files;

use crate::build;
use crate::machine::Options;
use crate::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begin with this many patches applied; 0 is the base
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: usize,
    #[command(flatten)]
    build: build::Args,
    #[command(flatten)]
    options: Options,
    /// A command to run in each machine, which must end with status 0 [default: none, the machine
    /// boots to init's verdict]
    #[arg(last = true)]
    command: Vec<String>,
}

pub(crate) fn each(cache: &Cache, args: &Args) -> Result<ExitCode> {
    let files = patch_files(args.build.series())?;
    let last = args.build.limit().unwrap_or(files.len()).min(files.len());
    ensure!(
        args.from <= last,
        "the series has {last} patches: --from {} is beyond its end",
        args.from
    );
    let wanted: Vec<&str> = args
        .command
        .first()
        .map(String::as_str)
        .into_iter()
        .collect();
    let programs = Programs::build(&wanted)?;
    say!(
        "{:>2} {:68} {:>7} {:9} {:>6}  result",
        "n",
        "after patch",
        "build s",
        "image",
        "boot s"
    );
    let (mut wrong, mut before) = (0, None);
    for number in args.from..=last {
        let name = match number.checked_sub(1) {
            None => "(the base)",
            Some(at) => title(&files[at]),
        };
        let outcome = match args.build.with_patches(number).outcome(cache) {
            Ok((_, outcome)) => outcome,
            Err(error) => {
                wrong += 1;
                say!(
                    "{number:>2} {name:68} {:>7} {:9} {:>6}  NOT BUILT",
                    "-",
                    "-",
                    "-"
                );
                tell!("lab: {error:#}");
                continue;
            }
        };
        let image = image_sha256(&outcome.kernel)?;
        let change = match &before {
            Some(before) if *before == image => "as before",
            Some(_) => "new",
            None => "first",
        };
        let booted = boot(cache, args, &programs, &outcome);
        let (seconds, result) = match &booted {
            Ok((seconds, result)) => (format!("{seconds:.1}"), result.clone()),
            Err(_) => ("-".to_owned(), "NOT BOOTED".to_owned()),
        };
        wrong += usize::from(!matches!(&booted, Ok((_, result)) if result.starts_with("ok")));
        say!(
            "{number:>2} {name:68} {:>7} {change:9} {seconds:>6}  {result}",
            build_s(&outcome)
        );
        if let Err(error) = booted {
            tell!("lab: {}: {error:#}", outcome.kernel.name);
        }
        before = Some(image);
    }
    say!(
        "{} kernels, {wrong} not as they should be",
        last + 1 - args.from
    );
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `0005-kernfs-Wake-up.patch`: `kernfs-Wake-up`.
fn title(file: &Path) -> &str {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.unwrap_or("(a name that is not UTF-8)");
    stem.split_once('-').map_or(stem, |(_, title)| title)
}

/// How long the build took when it was made, which may be an earlier day.
fn build_s(outcome: &Outcome) -> String {
    match &outcome.kernel.origin {
        Origin::Built(built) => built.build_s.to_string(),
        Origin::Stock(_) | Origin::File { .. } => "-".to_owned(),
    }
}

/// Boots the kernel, with the command if there is one; how long to init, and how it ended.
fn boot(
    cache: &Cache,
    args: &Args,
    programs: &Programs,
    outcome: &Outcome,
) -> Result<(f64, String)> {
    let steps = match args.command.is_empty() {
        true => Vec::new(),
        false => vec![Step {
            argv: args.command.clone(),
            dir: "/".to_owned(),
            limit_s: args.options.limit,
        }],
    };
    // The table is on standard output, and nothing else.
    let hear = |message: &Message| match message {
        Message::Out(line) | Message::Err(line) => say::err(line),
        _ => Ok(()),
    };
    let (boot, _) = args
        .options
        .boot(cache, programs, &outcome.kernel, steps, false, hear)?;
    let ended = match boot.steps.first() {
        None | Some((Ended::Exit(0), _)) => "ok".to_owned(),
        Some((ended, _)) => format!("COMMAND FAILED: {ended:?}"),
    };
    let result = match boot.checkers.is_empty() {
        true => ended,
        false => format!("{ended}, {}", boot.checkers),
    };
    Ok((boot.boot.as_secs_f64(), result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_named_without_number_and_ending() {
        let name = Path::new("/x/0005-kernfs-Wake-up-the-pollers.patch");
        assert_eq!(title(name), "kernfs-Wake-up-the-pollers");
        assert_eq!(title(Path::new("plain.patch")), "plain");
    }
}
