//! `lab cost`: what a job that nothing watches costs in instructions, base and patched.
//!
//! In virtual time an instruction takes one nanosecond. With one CPU that never idles the time of a
//! batch of jobs is therefore the count of its instructions, whatever the load of the host.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use lab::cache::Cache;
use lab::config::is_um;
use lab::image::Programs;
use lab::suite::answers::Answers;
use lab::suite::stats::{median, quantile};
use lab::vm::Accelerator;

use crate::ask::probe;
use crate::build;
use crate::machine::Options;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boots of each kernel; base and patched take turns
    #[arg(long, default_value_t = 3)]
    boots: usize,
    /// Samples of each case in a boot; each is the mean of 100 jobs
    #[arg(long, short = 'n', default_value_t = 20)]
    samples: usize,
    /// Keep all samples in this file, one JSON line a boot
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    #[command(flatten)]
    build: build::Args,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn cost(cache: &Cache, args: &Args) -> Result<ExitCode> {
    ensure!(
        !args.build.series().is_empty(),
        "nothing to compare: give the patches with --series DIR"
    );
    ensure!(
        !is_um(args.build.variants()),
        "instructions are counted by QEMU, which user-mode Linux runs without: leave `um` out of \
            --config"
    );
    let (_, base) = args.build.with_patches(0).outcome(cache)?;
    let (_, patched) = args.build.outcome(cache)?;
    let programs = Programs::build(&["lab-probe"])?;
    let options = Options {
        accel: Some(Accelerator::VirtualTime),
        // With a second one that idles, the clock would jump.
        cpus: 1,
        ..args.options.clone()
    };
    let mut raw = match &args.raw {
        Some(path) => {
            Some(File::create(path).with_context(|| format!("cannot create {}", path.display()))?)
        }
        None => None,
    };
    let samples = args.samples.to_string();
    let mut boots = [(&base.kernel, Vec::new()), (&patched.kernel, Vec::new())];
    for number in 1..=args.boots {
        for (kernel, pool) in &mut boots {
            tell!("lab: {} boot {number}", kernel.name);
            let arguments = ["-n", &samples, "cost"];
            let (_, _, answers) = probe(cache, &options, &programs, kernel, &arguments)?;
            if let Some(raw) = &mut raw {
                let line = serde_json::json!({
                    "kernel": kernel.name, "boot": number, "answers": answers,
                });
                writeln!(raw, "{line}").context("cannot write the samples")?;
            }
            pool.push(answers);
        }
    }
    say!("base:    {}", base.kernel.name);
    say!("patched: {}", patched.kernel.name);
    say!(
        "Instructions per job, {}, one CPU",
        Accelerator::VirtualTime.label()
    );
    say!("{}", table(&boots[0].1, &boots[1].1).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Medians with what lies between the 5th and the 95th percentile, and differences of medians: of
/// all samples, and the smallest and largest of the boots by themselves.
fn table(base: &[Answers], patched: &[Answers]) -> String {
    let mut text = format!(
        "{:34} {:>4} {:>10} {:>21} {:>10} {:>21} {:>10} {:>19}\n",
        "case", "n", "base", "5 % .. 95 %", "patched", "5 % .. 95 %", "difference", "boot by boot"
    );
    let pool = |boots: &[Answers]| {
        let mut all = Answers::default();
        boots.iter().for_each(|answers| all.add(answers));
        all
    };
    let (before, now) = (pool(base), pool(patched));
    for answer in &before.0 {
        let samples = |answers: &Answers| answers.samples(&answer.probe, &answer.case).to_vec();
        let difference = |a: &Answers, b: &Answers| {
            Some(signed(median(&samples(b))?) - signed(median(&samples(a))?))
        };
        let each: Vec<i64> = base
            .iter()
            .zip(patched)
            .filter_map(|(a, b)| difference(a, b))
            .collect();
        let in_words = |answers: &Answers| {
            let samples = samples(answers);
            let at = |q| quantile(&samples, q).unwrap_or(0);
            (at(0.5).to_string(), format!("{} .. {}", at(0.05), at(0.95)))
        };
        let ((a, a_spread), (b, b_spread)) = (in_words(&before), in_words(&now));
        let boot_by_boot = match (each.iter().min(), each.iter().max()) {
            (Some(min), Some(max)) => format!("{min:+} .. {max:+}"),
            _ => "-".to_owned(),
        };
        let all = difference(&before, &now).map_or("-".to_owned(), |d| format!("{d:+}"));
        text += &format!(
            "{:34} {:>4} {a:>10} {a_spread:>21} {b:>10} {b_spread:>21} {all:>10} \
                {boot_by_boot:>19}\n",
            answer.case,
            answer.samples_ns.len(),
        );
    }
    text
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(samples: &str) -> Answers {
        let line = format!(
            r#"{{"probe":"cost","case":"job","tries":3,"counts":{{}},"samples_ns":[{samples}]}}"#
        );
        Answers::parse(&[line]).unwrap()
    }

    #[test]
    fn differences_are_those_of_medians_pooled_and_boot_by_boot() {
        let base = [boot("100,101,900"), boot("100,100,100")];
        let patched = [boot("111,110,112"), boot("130,130,130")];
        let text = table(&base, &patched);
        let row = text.lines().nth(1).unwrap();
        assert!(row.contains("+12"), "{text}");
        assert!(row.contains("+10 .. +30"), "{text}");
        assert!(row.contains("100 .. 900"), "{text}");
    }
}
