//! `lab test`: the kernel's selftests of a tree, and the project's own integration tests, inside a
//! kernel.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use lab::build::{Build, Outcome as BuildOutcome};
use lab::cache::Cache;
use lab::doctor::{NEEDS, What};
use lab::image::{Programs, Suite, workspace_root};
use lab::kernel::Kernel;
use lab::ktap::Outcome;
use lab::process;
use lab::protocol::{Ended, Message, Step};
use lab::source::Tree;
use lab::suite::selftests::{Collector, Results, Selftests};

use crate::build;
use crate::machine::Options;
use crate::run::pass_on;
use crate::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot this kernel instead of the one built from the tree: new tests on an old kernel
    #[arg(long, short)]
    kernel: Option<String>,
    /// A file with the cases that are known to fail, one a line as this command prints them; any
    /// other failure, and any case of the list that passes, is an error. A line that begins with `?
    /// ` may go either way: it depends on time; its end may be a `*`
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Run only these selftests, such as cgroup/test_kill; the list of known failures is then not
    /// checked for what did not run
    #[arg(long, value_name = "DIR/PROGRAM", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out the kernel's selftests
    #[arg(long)]
    no_selftests: bool,
    /// Leave out the project's integration tests
    #[arg(long)]
    no_integration: bool,
    /// Which of the project's integration tests to run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kernel",
        conflicts_with = "no_integration"
    )]
    suite: Vec<Suite>,
    /// Of the project's integration tests, run only the tests whose names contain this
    #[arg(long, value_name = "PART", conflicts_with = "no_integration")]
    ring: Option<String>,
    /// Print results as KTAP and nothing else on standard output
    #[arg(long)]
    ktap: bool,
    #[command(flatten)]
    build: build::Args,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn test(cache: &Cache, args: &Args) -> Result<ExitCode> {
    let suites: &[Suite] = if args.no_integration {
        &[]
    } else {
        &args.suite
    };
    // The tests with scenarios start the command.
    let wanted: &[&str] = if suites.contains(&Suite::Kernel) {
        &["scenario"]
    } else {
        &[]
    };
    let mut programs = Programs::build(wanted)?;
    if args.no_selftests
        && let Some(name) = &args.kernel
    {
        let kernel = Kernel::find(cache, name)?;
        return Ok(exit_code(ring(
            cache,
            args,
            suites,
            &mut programs,
            &kernel,
        )?));
    }
    let (tree, built) = args.build.outcome(cache)?;
    let kernel = match &args.kernel {
        Some(name) => Kernel::find(cache, name)?,
        None => built.kernel.clone(),
    };
    let mut clean = true;
    if !args.no_selftests {
        let mut selftests = selftests(&args.build, &tree, &built)?;
        selftests.keep_only(&args.only)?;
        let results = run_selftests(cache, &args.options, &programs, &kernel, &selftests)?;
        clean &= report(&results, args)?;
    }
    clean &= ring(cache, args, suites, &mut programs, &kernel)?;
    Ok(exit_code(clean))
}

fn exit_code(clean: bool) -> ExitCode {
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Builds the selftests of a tree beside its kernel.
pub(crate) fn selftests(
    args: &build::Args,
    tree: &Tree,
    built: &BuildOutcome,
) -> Result<Selftests> {
    let fragments = workspace_root()?.join("kernel-patch/config");
    let build = Build {
        tree,
        fragments: &fragments,
        variants: args.variants(),
        make_args: &[],
    };
    Selftests::build(&build, &built.directory)
}

/// Runs every selftest in one boot.
pub(crate) fn run_selftests(
    cache: &Cache,
    options: &Options,
    programs: &Programs,
    kernel: &Kernel,
    selftests: &Selftests,
) -> Result<Results> {
    let addition = selftests.addition();
    let mut options = options.clone();
    options
        .with
        .push(format!("{}:{}", addition.source.display(), addition.target));
    let mut collector = Collector::default();
    let steps = selftests.steps(options.limit);
    let (boot, _) = options.boot(cache, programs, kernel, steps, false, |message| {
        collector.hear(message);
        Ok(())
    })?;
    Ok(collector.results(&selftests.programs, &boot.steps))
}

/// Prints the results; returns whether all are as they should be.
fn report(results: &Results, args: &Args) -> Result<bool> {
    if args.ktap {
        say!("{}", results.ktap().trim_end());
    }
    let cases = results.cases();
    let count = |outcome: Outcome| cases.values().filter(|o| **o == outcome).count();
    let failed: Vec<String> = cases
        .iter()
        .filter(|(_, o)| **o == Outcome::Fail)
        .map(|(name, _)| name.clone())
        .chain(results.faults())
        .collect();
    let known = args
        .known
        .as_deref()
        .map(read_known)
        .transpose()?
        .unwrap_or_default();
    let is_known = |name: &str| known.iter().any(|line| matches_line(line, name));
    let unknown: Vec<&String> = failed.iter().filter(|name| !is_known(name)).collect();
    let healed: Vec<&String> = known
        .iter()
        .filter(|line| !line.starts_with("? ") && !failed.contains(line))
        .filter(|line| {
            args.only.is_empty()
                || args
                    .only
                    .iter()
                    .any(|name| line.starts_with(&format!("{name}:")))
        })
        .collect();
    for name in &unknown {
        tell!("not ok {name}");
    }
    for name in &healed {
        tell!("known to fail, and passes: {name}");
    }
    tell!(
        "selftests: {} passed, {} failed ({} of them known), {} skipped",
        count(Outcome::Pass),
        failed.len(),
        failed.len() - unknown.len(),
        count(Outcome::Skip)
    );
    Ok(unknown.is_empty() && healed.is_empty())
}

/// Whether a line of the list stands for a case. One that begins with `? ` may end in `*`: all
/// cases that begin so.
fn matches_line(line: &str, name: &str) -> bool {
    match line.strip_prefix("? ") {
        None => line == name,
        Some(line) => match line.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => line == name,
        },
    }
}

fn read_known(path: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// What a machine of the lab has: a test that lacks it there fails instead of being ignored.
const HAS: &str = "root,cgroup2-write,cgroup2-memory,pidfd,clone-into-cgroup";

/// Newest version of a policy that every kernel of the lab reads (Linux 5.9).
const POLICY_VERSION: &str = "33";

/// A machine with SELinux on and the policy of its tests at hand, which the tests load.
fn selinux(suites: &[Suite], options: &mut Options) -> Result<Option<tempfile::TempDir>> {
    if !suites.contains(&Suite::Selinux) {
        return Ok(None);
    }
    let dir = tempfile::tempdir().context("cannot make a directory")?;
    let policy = dir.path().join("policy");
    let source = workspace_root()?.join("sandbox/tests/selinux/policy.cil");
    let mut secilc = Command::new("secilc");
    secilc.args(["-c", POLICY_VERSION, "-f", "/dev/null", "-o"]);
    process::output(secilc.arg(&policy).arg(&source))
        .context("cannot build the policy: secilc is of the package secilc")?;
    const TARGET: &str = "/etc/selinux-policy";
    options.with.push(format!("{}:{TARGET}", policy.display()));
    options.env.push(format!("SELINUX_POLICY={TARGET}"));
    options.append.push("security=selinux".to_owned());
    Ok(Some(dir))
}

/// The project's integration tests, one suite after the other, in one machine.
fn ring(
    cache: &Cache,
    args: &Args,
    suites: &[Suite],
    programs: &mut Programs,
    kernel: &Kernel,
) -> Result<bool> {
    if suites.is_empty() {
        return Ok(true);
    }
    let mut steps = Vec::new();
    for (suite, path) in suites.iter().zip(Programs::build_suites(suites)?) {
        let program = format!("{}-tests", suite.test());
        programs.tools.insert(program.clone(), path);
        let mut argv = vec![program, "--test-threads=1".to_owned()];
        argv.extend(args.ring.clone());
        steps.push(Step {
            argv,
            dir: "/".to_owned(),
            limit_s: args.options.limit,
        });
    }
    let mut options = args.options.clone();
    let policy = selinux(suites, &mut options)?;
    let further = policy.as_ref().map_or("", |_| ",selinux");
    options.env.push(format!("HARNESS_REQUIRE={HAS}{further}"));
    // The tests of the command find it in the machine, not where it was built.
    options.env.push("SCENARIO=/bin/scenario".to_owned());
    for tool in NEEDS
        .iter()
        .filter(|need| matches!(need.what, What::TestProgram(_)))
    {
        let path = tool.found().with_context(|| {
            format!(
                "{} is missing, which integration tests start: install {}, or leave them out with \
                    --no-integration",
                tool.name(),
                tool.package
            )
        })?;
        options.with.push(path.display().to_string());
    }
    let (boot, _) = options.boot(
        cache,
        programs,
        kernel,
        steps,
        false,
        |message| match message {
            Message::Out(line) if args.ktap => say::err(line),
            message => pass_on(message),
        },
    )?;
    Ok(boot
        .steps
        .iter()
        .all(|(ended, _)| matches!(ended, Ended::Exit(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_for_a_case_or_for_all_that_begin_so() {
        assert!(matches_line("pidfd/a: x", "pidfd/a: x"));
        assert!(matches_line("? pidfd/a: x", "pidfd/a: x"));
        assert!(matches_line("? pidfd/a: *", "pidfd/a: y"));
        assert!(!matches_line("? pidfd/a: *", "pidfd/ab: y"));
        // Expected failures are listed one by one.
        assert!(!matches_line("pidfd/a: *", "pidfd/a: y"));
    }
}
