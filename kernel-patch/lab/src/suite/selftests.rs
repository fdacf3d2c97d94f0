//! The kernel's own selftests, built static from the same tree as the kernel, and their results.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::Build;
use crate::image::Addition;
use crate::ktap::{self, Outcome, Report};
use crate::process;
use crate::protocol::{Ended, Message, Step};

/// The directories of `tools/testing/selftests` that are about this project.
pub const TARGETS: [&str; 2] = ["cgroup", "pidfd"];

/// Programs in those directories that are not tests.
const HELPERS: [&str; 3] = ["wait_inotify", "pidfd_exec_helper", "lib"];

/// Where they are in the machine.
const INSIDE: &str = "/selftests";

/// Selftests that are built.
#[derive(Debug)]
pub struct Selftests {
    directory: PathBuf,
    /// Directory and program, in the order in which they run.
    pub programs: Vec<(String, String)>,
}

impl Selftests {
    /// Builds them with the headers of the tree. Programs only: shell scripts need a shell, which
    /// the image has not.
    ///
    /// # Errors
    /// When make fails, or nothing came out of it.
    pub fn build(build: &Build<'_>, objects: &Path) -> Result<Self> {
        let log = objects.join("lab-selftests.log");
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        process::logged(build.make(objects).arg("headers"), &log)
            .context("cannot make the tree's headers")?;
        let mut make = Command::new("make");
        make.current_dir(&build.tree.path)
            .args(["-C", "tools/testing/selftests", "LDFLAGS=-static", "-j2"])
            .arg(format!("O={}", objects.display()))
            .arg(format!("TARGETS={}", TARGETS.join(" ")))
            .env("LC_ALL", "C");
        process::logged(&mut make, &log).context("cannot build the selftests")?;
        let directory = objects.join("kselftest");
        let mut programs = Vec::new();
        for target in TARGETS {
            let dir = directory.join(target);
            for entry in
                fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?
            {
                let name = entry
                    .with_context(|| format!("cannot list {}", dir.display()))?
                    .file_name();
                let name = name.to_string_lossy().into_owned();
                if !HELPERS.contains(&name.as_str()) && !name.contains('.') {
                    programs.push((target.to_owned(), name));
                }
            }
        }
        anyhow::ensure!(
            !programs.is_empty(),
            "the tree has no selftests for {}",
            TARGETS.join(" and ")
        );
        programs.sort();
        Ok(Self {
            directory,
            programs,
        })
    }

    /// Leaves out all but those named (`cgroup/test_kill`); none named is all.
    ///
    /// # Errors
    /// When the tree has no program of a name.
    pub fn keep_only(&mut self, names: &[String]) -> Result<()> {
        let full = |(target, program): &(String, String)| format!("{target}/{program}");
        let known: Vec<String> = self.programs.iter().map(full).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            anyhow::bail!(
                "the tree has no selftest {unknown}; it has {}",
                known.join(", ")
            );
        }
        if !names.is_empty() {
            self.programs
                .retain(|program| names.contains(&full(program)));
        }
        Ok(())
    }

    /// Leaves out what `other` does not have.
    pub fn keep_those_of(&mut self, other: &Self) {
        self.programs
            .retain(|program| other.programs.contains(program));
    }

    /// What goes into the image.
    #[must_use]
    pub fn addition(&self) -> Addition {
        Addition {
            source: self.directory.clone(),
            target: INSIDE.to_owned(),
        }
    }

    /// One step a program, each in its own directory.
    #[must_use]
    pub fn steps(&self, limit_s: u32) -> Vec<Step> {
        let step = |(target, program): &(String, String)| Step {
            argv: vec![format!("{INSIDE}/{target}/{program}")],
            dir: format!("{INSIDE}/{target}"),
            limit_s,
        };
        self.programs.iter().map(step).collect()
    }
}

/// The results of every program of a run.
#[derive(Debug, Default)]
pub struct Results {
    /// `cgroup/test_core` and its report.
    pub reports: BTreeMap<String, Report>,
}

/// Collects the output of steps while it comes: init reports a step's end before the next one's
/// first line.
#[derive(Debug, Default)]
pub struct Collector {
    done: Vec<String>,
    current: String,
}

impl Collector {
    /// Takes a message of the machine. Only standard output is KTAP.
    pub fn hear(&mut self, message: &Message) {
        match message {
            Message::Out(line) => {
                self.current += line;
                self.current.push('\n');
            }
            Message::Step { .. } => self.done.push(std::mem::take(&mut self.current)),
            _ => {}
        }
    }

    /// Judges each program's output together with how it ended.
    #[must_use]
    pub fn results(self, programs: &[(String, String)], ended: &[(Ended, usize)]) -> Results {
        let mut results = Results::default();
        for (((target, program), output), (ended, _)) in programs.iter().zip(&self.done).zip(ended)
        {
            let mut report = ktap::parse(output);
            match ended {
                // kselftest's own codes: pass, fail, xfail, xpass, skip. The lines say which.
                Ended::Exit(0..=4) => {}
                other => report
                    .faults
                    .push(format!("the program ended with {other:?}")),
            }
            results
                .reports
                .insert(format!("{target}/{program}"), report);
        }
        results
    }
}

impl Results {
    /// Every case as `cgroup/test_core: name`, with its outcome.
    #[must_use]
    pub fn cases(&self) -> BTreeMap<String, Outcome> {
        let mut cases = BTreeMap::new();
        for (program, report) in &self.reports {
            for case in &report.cases {
                cases.insert(format!("{program}: {}", case.name), case.outcome);
            }
        }
        cases
    }

    /// Failures of a program that are not results of a test: no plan, fewer tests than planned,
    /// killed.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let of = |(program, report): (&String, &Report)| {
            report
                .faults
                .iter()
                .map(|fault| format!("{program}: {fault}"))
                .collect::<Vec<_>>()
        };
        self.reports.iter().flat_map(of).collect()
    }

    /// The cases in KTAP, for a CI that reads it.
    #[must_use]
    pub fn ktap(&self) -> String {
        let cases = self.cases();
        let faults = self.faults();
        let mut text = format!("KTAP version 1\n1..{}\n", cases.len() + faults.len());
        for (index, (name, outcome)) in cases.iter().enumerate() {
            let (word, directive) = match outcome {
                Outcome::Pass => ("ok", ""),
                Outcome::Skip => ("ok", " # SKIP"),
                Outcome::Fail => ("not ok", ""),
                Outcome::ExpectedFail => ("not ok", " # XFAIL"),
            };
            text += &format!("{word} {} {name}{directive}\n", index + 1);
        }
        for (index, fault) in faults.iter().enumerate() {
            text += &format!("not ok {} {fault}\n", cases.len() + index + 1);
        }
        text
    }
}

/// How each case ended, in several runs: some depend on time, and do not always end alike.
#[must_use]
pub fn seen(runs: &[Results]) -> BTreeMap<String, BTreeSet<Outcome>> {
    let mut seen: BTreeMap<String, BTreeSet<Outcome>> = BTreeMap::new();
    for (name, outcome) in runs.iter().flat_map(Results::cases) {
        seen.entry(name).or_default().insert(outcome);
    }
    seen
}

/// What a case of the patched tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The base's tree has it too: it must end as before.
    Old,
    /// It shows what was wrong: it must fail or skip on the base, and pass on the patched kernel.
    New,
    /// It is new and checks what was right before: it must pass on both.
    Guard,
}

/// How the results of two kernels differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Old cases with a result that they never had on the base (no result, if the set is empty).
    pub changed: Vec<(String, BTreeSet<Outcome>, BTreeSet<Outcome>)>,
    /// New cases that passed on the base, where they must fail or skip.
    pub passed_on_base: Vec<String>,
    /// Guards that did not always pass on the base.
    pub failed_on_base: Vec<String>,
    /// New cases and guards that do not always pass on the patched kernel.
    pub not_passed: Vec<String>,
}

impl Difference {
    /// Compares the runs on the base with those on the patched kernel.
    #[must_use]
    pub fn of(base: &[Results], patched: &[Results], role: impl Fn(&str) -> Role) -> Self {
        let (base, patched) = (seen(base), seen(patched));
        let none = BTreeSet::new();
        let mut difference = Self::default();
        for name in base.keys().chain(patched.keys()).collect::<BTreeSet<_>>() {
            let before = base.get(name).unwrap_or(&none);
            let now = patched.get(name).unwrap_or(&none);
            let passed = |seen: &BTreeSet<Outcome>| seen.iter().eq([&Outcome::Pass]);
            let role = role(name);
            match role {
                Role::Old if before.is_disjoint(now) => {
                    difference
                        .changed
                        .push((name.clone(), before.clone(), now.clone()));
                }
                Role::New if before.contains(&Outcome::Pass) => {
                    difference.passed_on_base.push(name.clone())
                }
                Role::Guard if !passed(before) => difference.failed_on_base.push(name.clone()),
                Role::Old | Role::New | Role::Guard => {}
            }
            if role != Role::Old && !passed(now) {
                difference.not_passed.push(name.clone());
            }
        }
        difference
    }

    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self == &Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_kept_and_a_wrong_name_is_told() {
        let program = |target: &str, program: &str| (target.to_owned(), program.to_owned());
        let mut tests = Selftests {
            directory: PathBuf::new(),
            programs: vec![
                program("cgroup", "test_core"),
                program("cgroup", "test_kill"),
            ],
        };
        tests.keep_only(&[]).unwrap();
        assert_eq!(tests.programs.len(), 2);
        let error = tests
            .keep_only(&["cgroup/test_x".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cgroup/test_x") && error.contains("cgroup/test_core"),
            "{error}"
        );
        let mut base = Selftests {
            directory: PathBuf::new(),
            programs: tests.programs.clone(),
        };
        tests.keep_only(&["cgroup/test_kill".to_owned()]).unwrap();
        assert_eq!(tests.programs, [program("cgroup", "test_kill")]);
        base.keep_those_of(&tests);
        assert_eq!(base.programs, tests.programs);
    }

    fn results(output: &str, ended: Ended) -> Results {
        let mut collector = Collector::default();
        for line in output.lines() {
            collector.hear(&Message::Out(line.to_owned()));
        }
        collector.hear(&Message::Step {
            index: 0,
            ended,
            left: 0,
        });
        collector.results(
            &[("cgroup".to_owned(), "test_core".to_owned())],
            &[(ended, 0)],
        )
    }

    #[test]
    fn output_and_end_are_judged_together() {
        let good = results("1..1\nok 1 a\n", Ended::Exit(0));
        assert!(good.faults().is_empty());
        assert_eq!(good.cases()["cgroup/test_core: a"], Outcome::Pass);
        let dead = results("1..2\nok 1 a\n", Ended::Signal(11));
        assert_eq!(dead.faults().len(), 2, "{:?}", dead.faults());
        assert!(
            dead.ktap()
                .contains("not ok 3 cgroup/test_core: the program ended with Signal(11)"),
            "{}",
            dead.ktap()
        );
        assert_eq!(ktap::parse(&dead.ktap()).faults, Vec::<String>::new());
    }

    #[test]
    fn differences_are_asserted_on_both_sides() {
        let base = results(
            "1..3\nok 1 old\nnot ok 2 new\nok 3 easy_new\n",
            Ended::Exit(1),
        );
        let patched = results(
            "1..3\nnot ok 1 old\nok 2 new\nok 3 easy_new\n",
            Ended::Exit(1),
        );
        let new = |name: &str| match name.ends_with("new") {
            true => Role::New,
            false => Role::Old,
        };
        let difference = Difference::of(
            std::slice::from_ref(&base),
            std::slice::from_ref(&patched),
            new,
        );
        assert_eq!(
            difference.changed,
            [(
                "cgroup/test_core: old".to_owned(),
                [Outcome::Pass].into(),
                [Outcome::Fail].into()
            )]
        );
        assert_eq!(difference.passed_on_base, ["cgroup/test_core: easy_new"]);
        assert!(difference.not_passed.is_empty());
        assert!(!difference.is_clean());
        // A case whose results vary on both has not changed; a case that no longer runs has.
        let both = [base, patched];
        assert!(Difference::of(&both, &both, |_| Role::Old).is_clean());
        assert_eq!(Difference::of(&both, &[], |_| Role::Old).changed.len(), 3);
        assert_eq!(
            Difference::of(&both, &both, new).not_passed,
            ["cgroup/test_core: new"]
        );
        let guards = Difference::of(&both, &both[1..], |_| Role::Guard);
        assert_eq!(
            guards.failed_on_base,
            ["cgroup/test_core: new", "cgroup/test_core: old"]
        );
        assert_eq!(guards.not_passed, ["cgroup/test_core: old"]);
    }
}
