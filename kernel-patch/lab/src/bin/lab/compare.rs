//! `lab compare`: base and patched kernel, same configuration, same boot parameters, boots taking
//! turns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use lab::build::Build;
use lab::cache::Cache;
use lab::image::{Programs, workspace_root};
use lab::ktap::Outcome;
use lab::source::Tree;
use lab::suite::answers::Answers;
use lab::suite::record::Record;
use lab::suite::selftests::{Difference, Results, Role, seen};
use lab::suite::{plot, table};

use crate::ask::ask;
use crate::machine::Options;
use crate::{build, test};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boots of each kernel; base and patched take turns
    #[arg(long, default_value_t = 3)]
    boots: usize,
    /// How often each question is asked in a boot
    #[arg(long, short = 'n', default_value_t = 50)]
    tries: usize,
    /// Run the selftests of the patched tree on both: old cases must have the same results, new
    /// ones fail or skip on the base and pass on the patched kernel
    #[arg(long)]
    selftests: bool,
    /// How often the selftests run on each kernel: some depend on time, and a case has changed only
    /// if it never ended so before
    #[arg(long, default_value_t = 1, requires = "selftests", value_name = "N")]
    selftest_runs: usize,
    /// Run only these selftests, such as cgroup/test_kill
    #[arg(
        long,
        requires = "selftests",
        value_name = "DIR/PROGRAM",
        value_delimiter = ','
    )]
    only: Vec<String>,
    /// New cases for behaviour that was right before, and so must pass on the base too
    #[arg(
        long,
        requires = "selftests",
        value_name = "CASE",
        value_delimiter = ','
    )]
    guards: Vec<String>,
    /// Where records, consoles and the table are written [default:
    /// kernel-patch/results/compare-<series>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    build: build::Args,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn compare(cache: &Cache, args: &Args) -> Result<ExitCode> {
    let (patched_tree, patched) = args.build.outcome(cache)?;
    ensure!(
        !patched_tree.patches.is_empty(),
        "nothing to compare: give the patches with --series DIR"
    );
    let base_tree = Tree::find(cache, &args.build.source)?;
    let fragments = workspace_root()?.join("kernel-patch/config");
    let base = Build {
        tree: &base_tree,
        fragments: &fragments,
        variants: args.build.variants(),
        make_args: &[],
    }
    .run(cache)?;
    let programs = Programs::build(&["lab-probe"])?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => workspace_root()?.join(format!(
            "kernel-patch/results/compare-{}",
            patched_tree.label
        )),
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let old = out.join("records.jsonl");
    if old.exists() {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }

    let mut pools = [
        (&base.kernel, Answers::default(), None),
        (&patched.kernel, Answers::default(), None),
    ];
    let options = args.options.for_figures();
    for number in 0..args.boots {
        for (kernel, pool, last) in &mut pools {
            tell!("lab: {} boot {}", kernel.name, number + 1);
            let suffix = format!(".boot{}", number + 1);
            let kept = (out.as_path(), suffix.as_str());
            let record = ask(cache, &options, &programs, kernel, args.tries, kept)?;
            pool.add(&record.answers);
            *last = Some(record);
        }
    }
    let records: Vec<Record> = pools
        .into_iter()
        .filter_map(|(_, pool, last)| {
            last.map(|record: Record| Record {
                answers: pool,
                ..record
            })
        })
        .collect();
    let mut text = table::compare(&records, args.boots);
    let mut clean = true;
    if args.selftests {
        let mut selftests = test::selftests(&args.build, &patched_tree, &patched)?;
        selftests.keep_only(&args.only)?;
        let (mut on_base, mut on_patched) = (Vec::new(), Vec::new());
        for number in 1..=args.selftest_runs {
            for (kernel, results) in [
                (&base.kernel, &mut on_base),
                (&patched.kernel, &mut on_patched),
            ] {
                tell!("lab: {} selftests, run {number}", kernel.name);
                results.push(test::run_selftests(
                    cache,
                    &args.options,
                    &programs,
                    kernel,
                    &selftests,
                )?);
            }
        }
        // The cases of the base's own selftests are the old ones.
        let old_tests = {
            let mut old = test::selftests(&args.build, &base_tree, &base)?;
            old.keep_those_of(&selftests);
            test::run_selftests(cache, &args.options, &programs, &base.kernel, &old)?
        };
        let difference = difference(&old_tests, &args.guards, &on_base, &on_patched);
        clean = difference.is_clean();
        text += &selftest_section(&difference, &on_base, &on_patched);
    }
    for (name, content) in [
        ("README.md", &text),
        ("latency.svg", &plot::latencies(&records, "0us")),
    ] {
        let path = out.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    say!("{text}");
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn difference(
    old: &Results,
    guards: &[String],
    on_base: &[Results],
    on_patched: &[Results],
) -> Difference {
    let known = old.cases();
    let is_guard = |name: &str| {
        guards
            .iter()
            .any(|guard| name.ends_with(&format!(": {guard}")))
    };
    Difference::of(on_base, on_patched, |name| match known.contains_key(name) {
        true => Role::Old,
        false if is_guard(name) => Role::Guard,
        false => Role::New,
    })
}

fn selftest_section(difference: &Difference, base: &[Results], patched: &[Results]) -> String {
    let (before, now) = (seen(base), seen(patched));
    let passed = |cases: &BTreeMap<String, BTreeSet<Outcome>>| {
        let always = cases
            .values()
            .filter(|seen| seen.iter().eq([&Outcome::Pass]));
        format!("{} of {}", always.count(), cases.len())
    };
    let mut text = format!(
        "\n\
            ## Selftests of the patched tree on both kernels\n\n\
            {} on each. Cases that passed in all: {} on the base, {} on the patched kernel.\n\n",
        match patched.len() {
            1 => "One run".to_owned(),
            runs => format!("{runs} runs"),
        },
        passed(&before),
        passed(&now),
    );
    for (name, before, now) in &difference.changed {
        text +=
            &format!("- changed: {name}: {before:?} on the base, {now:?} on the patched kernel\n");
    }
    for name in &difference.passed_on_base {
        text += &format!("- new, and passes on the base, where it proves nothing: {name}\n");
    }
    for name in &difference.failed_on_base {
        text += &format!("- a guard, and does not always pass on the base: {name}\n");
    }
    for name in &difference.not_passed {
        text += &format!("- new, and does not always pass on the patched kernel: {name}\n");
    }
    if difference.is_clean() {
        text += "Old cases end alike; new ones fail or skip on the base and pass on the patched \
            kernel, but for guards, which pass on both.\n";
    }
    let none = BTreeSet::new();
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let rows: Vec<_> = names
        .into_iter()
        .map(|name| {
            (
                name,
                before.get(name).unwrap_or(&none),
                now.get(name).unwrap_or(&none),
            )
        })
        .filter(|(_, before, now)| before != now || before.iter().ne([&Outcome::Pass]))
        .collect();
    if !rows.is_empty() {
        text += "\n\
            All that did not pass in all runs on both:\n\n\
            | case | base | patched |\n\
            | --- | --- | --- |\n";
        for (name, before, now) in rows {
            text += &format!("| {name} | {} | {} |\n", in_words(before), in_words(now));
        }
    }
    text
}

fn in_words(seen: &BTreeSet<Outcome>) -> String {
    let words: Vec<&str> = seen
        .iter()
        .map(|outcome| match outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
            Outcome::ExpectedFail => "fail, as expected",
        })
        .collect();
    match words[..] {
        [] => "-".to_owned(),
        _ => words.join(" or "),
    }
}
