//! One boot of a kernel in which `lab-probe` answers all questions.

use std::path::Path;

use anyhow::{Result, bail};
use lab::cache::Cache;
use lab::image::Programs;
use lab::kernel::Kernel;
use lab::protocol::{Message, Step};
use lab::suite::answers::Answers;
use lab::suite::record::Record;

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
    let argv = ["lab-probe", "-n", &tries.to_string()]
        .map(str::to_owned)
        .to_vec();
    let step = Step {
        argv,
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
    let record = Record::new(kernel, &boot, accelerator, Answers::parse(&lines)?)?;
    record.keep(out, kernel, &boot.console, suffix)?;
    Ok(record)
}
