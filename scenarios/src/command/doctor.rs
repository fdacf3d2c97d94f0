//! `scenario doctor`: what this machine offers, what is missing, why, and how to get it. Everything
//! is tried, nothing is concluded from versions.

use harness::detect::DETECTORS;
use harness::host::bugs::{self, KILLED_AT_BIRTH, KernelBug, Presence, SPARES_DEAD_LEADERS};
use harness::host::environment::Environment;
use harness::host::features::FEATURES;
use harness::host::{Paths, ProbeError, Support, Surveyed};
use harness::kill::STRATEGIES;
use serde::Serialize;

use super::args::{DoctorArgs, Format};
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::surroundings::Surroundings;

#[derive(Debug, Serialize)]
struct Diagnosis {
    usable: bool,
    /// Why no cgroup can be used, with remedies.
    no_base: Option<String>,
    environment: Environment,
    features: Vec<Finding>,
    detectors: Vec<Finding>,
    strategies: Vec<Finding>,
    kernel_bugs: Vec<Bug>,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    available: bool,
    what: &'static str,
    why: Option<String>,
    remedy: Option<String>,
}

#[derive(Debug, Serialize)]
struct Bug {
    id: &'static str,
    answer: String,
    summary: &'static str,
    source: &'static str,
}

/// Probes this machine and prints the results. Code 3 if no run is possible.
pub(super) fn doctor(args: &DoctorArgs) -> Result<Exit, Failure> {
    let around = Surroundings::look(args.cgroup.clone(), false)?;
    let diagnosis = diagnose(&around.here);
    let undone = around.leave()?;
    let mut text = match args.format {
        Format::Table => text(&diagnosis),
        Format::Json => {
            serde_json::to_string_pretty(&diagnosis).map_err(anyhow::Error::from)? + "\n"
        }
    };
    if args.format == Format::Table {
        undone
            .iter()
            .for_each(|left| text.push_str(&format!("{left}\n")));
    }
    print(&text)?;
    Ok(match (diagnosis.usable, undone.is_empty()) {
        (true, true) => Exit::Held,
        (true, false) => Exit::Internal,
        (false, _) => Exit::Missing,
    })
}

fn diagnose(here: &Surveyed) -> Diagnosis {
    let host = &here.host;
    Diagnosis {
        usable: host.base.is_some(),
        no_base: here.no_base.as_ref().map(ToString::to_string),
        environment: Environment::capture(&Paths::default(), host, &here.changes()),
        features: FEATURES
            .iter()
            .map(|f| Finding::new(f.name, f.summary, f.probe(host)))
            .collect(),
        detectors: DETECTORS
            .iter()
            .map(|d| Finding::new(d.spec().id, d.spec().summary, d.probe(host)))
            .collect(),
        strategies: STRATEGIES
            .iter()
            .map(|s| Finding::new(s.spec().id, s.spec().summary, s.probe(host)))
            .collect(),
        kernel_bugs: host.base.iter().flat_map(kernel_bugs).collect(),
    }
}

fn kernel_bugs(base: &harness::host::Base) -> [Bug; 2] {
    let bug = |bug: KernelBug, tried: Result<Presence, _>| Bug {
        id: bug.id,
        answer: match tried {
            Ok(Presence::Present) => "present".to_owned(),
            Ok(Presence::Absent) => "absent".to_owned(),
            Ok(Presence::NotApplicable(why)) => format!("cannot happen: {why}"),
            Err(e) => {
                let e: harness::host::Refusal = e;
                format!("not known: {e}")
            }
        },
        summary: bug.summary,
        source: bug.source,
    };
    [
        bug(KILLED_AT_BIRTH, bugs::killed_at_birth(base.cgroup())),
        bug(
            SPARES_DEAD_LEADERS,
            bugs::spares_dead_leaders(base.cgroup()),
        ),
    ]
}

impl Finding {
    fn new(name: &'static str, what: &'static str, probed: Result<Support, ProbeError>) -> Self {
        let (available, why, remedy) = match probed {
            Ok(Support::Available) => (true, None, None),
            Ok(Support::Missing { why, remedy }) => (false, Some(why), Some(remedy)),
            Err(e) => (
                false,
                Some(format!("not known, the probe failed: {e}")),
                None,
            ),
        };
        Self {
            name,
            available,
            what,
            why,
            remedy,
        }
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    machine(&mut text, &diagnosis.environment);
    if let Some(no_base) = &diagnosis.no_base {
        line(&mut text, format_args!("\nNo run is possible: {no_base}"));
    }
    for (title, findings) in [
        ("Features", &diagnosis.features),
        ("Detectors", &diagnosis.detectors),
        ("Strategies", &diagnosis.strategies),
    ] {
        let there = findings.iter().filter(|f| f.available).count();
        line(
            &mut text,
            format_args!("\n{title}: {there} of {} available", findings.len()),
        );
        for finding in findings {
            let mark = if finding.available { "yes" } else { "NO " };
            match (&finding.why, &finding.remedy) {
                (None, _) => line(
                    &mut text,
                    format_args!("  {mark} {:24} {}", finding.name, finding.what),
                ),
                (Some(why), None) => line(
                    &mut text,
                    format_args!("  {mark} {:24} {why}", finding.name),
                ),
                (Some(why), Some(remedy)) => {
                    line(
                        &mut text,
                        format_args!(
                            "  {mark} {:24} {why}\n      {:24} help: {remedy}",
                            finding.name, ""
                        ),
                    );
                }
            }
        }
    }
    for bug in &diagnosis.kernel_bugs {
        line(
            &mut text,
            format_args!(
                "\nKernel bug {}: {}\n  {}\n  {}",
                bug.id, bug.answer, bug.summary, bug.source
            ),
        );
    }
    text
}

fn machine(text: &mut String, environment: &Environment) {
    let unknown = || "not known".to_owned();
    let kernel = &environment.kernel;
    let preemption = kernel
        .preemption
        .running
        .as_ref()
        .or(kernel.preemption.configured.as_ref());
    line(text, format_args!("kernel      {}", kernel.release));
    line(
        text,
        format_args!(
            "timer       {}",
            kernel.hz.map_or_else(unknown, |hz| format!("{hz} Hz"))
        ),
    );
    line(
        text,
        format_args!(
            "preemption  {}",
            preemption.cloned().unwrap_or_else(unknown)
        ),
    );
    line(
        text,
        format_args!(
            "processors  {}",
            environment
                .cpu
                .allowed
                .map_or_else(unknown, |n| n.to_string())
        ),
    );
    line(
        text,
        format_args!("cgroups     {}", environment.cgroups.layout),
    );
    if let Some(base) = &environment.cgroups.base {
        let memory = if base.memory_limit { "with" } else { "without" };
        line(
            text,
            format_args!("base        {} ({})", base.path, base.how),
        );
        line(
            text,
            format_args!(
                "limits       pids: {}, {memory} a memory limit",
                base.limits
            ),
        );
        base.changes
            .iter()
            .for_each(|change| line(text, format_args!("changed     {change}")));
        base.notes
            .iter()
            .for_each(|note| line(text, format_args!("note        {note}")));
    }
    line(text, format_args!("user        {}", environment.euid));
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    text.push_str(&format!("{content}\n"));
}
