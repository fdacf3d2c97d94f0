//! One boot of a kernel in which `lab-probe` answers questions.

use std::path::Path;

use anyhow::{Result, bail};
use lab::cache::Cache;
use lab::image::Programs;
use lab::kernel::Kernel;
use lab::protocol::{Message, Step};
use lab::suite::answers::Answers;
use lab::suite::record::Record;
use lab::vm::{Accelerator, Boot};

use crate::machine::Options;
use crate::say;

/// Boots `kernel`, asks each question `tries` times, and keeps the record and the console in `out`,
/// with `suffix` in their names.
pub(crate) fn ask(
    cache: &Cache,
    options: &Options,
    programs: &Programs,
    kernel: &Kernel,
    tries: usize,
    (out, suffix): (&Path, &str),
) -> Result<Record> {
    let (boot, accelerator, answers) = probe(
        cache,
        options,
        programs,
        kernel,
        &["-n", &tries.to_string()],
    )?;
    let record = Record::new(kernel, &boot, accelerator, answers)?;
    record.keep(out, kernel, &boot.console, suffix)?;
    Ok(record)
}

/// Boots `kernel` and runs `lab-probe` with these arguments.
pub(crate) fn probe(
    cache: &Cache,
    options: &Options,
    programs: &Programs,
    kernel: &Kernel,
    arguments: &[&str],
) -> Result<(Boot, Accelerator, Answers)> {
    let argv = std::iter::once("lab-probe").chain(arguments.iter().copied());
    let step = Step {
        argv: argv.map(str::to_owned).collect(),
        dir: "/".to_owned(),
        limit_s: options.limit,
    };
    let mut lines = Vec::new();
    let hear = |message: &Message| match message {
        Message::Out(line) => {
            lines.push(line.clone());
            Ok(())
        }
        Message::Err(line) => say::err(&format!("{}: {line}", kernel.name)),
        _ => Ok(()),
    };
    let (boot, accelerator) = options.boot(cache, programs, kernel, vec![step], false, hear)?;
    if let Some((ended, _)) = boot.steps.iter().find(|(ended, _)| !ended.is_success()) {
        bail!("lab-probe ended with {ended:?} in {}", kernel.name);
    }
    let answers = Answers::parse(&lines)?;
    Ok((boot, accelerator, answers))
}
