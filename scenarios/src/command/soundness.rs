//! `SOUNDNESS.md`: what each mechanism sees, how it errs and what it costs, made from the specs. A
//! test compares the file with this, so neither can drift.

use allgone::Effects;
use allgone::scope::{Scope, Sweep};
use harness::detect::{DETECTORS, DetectorSpec, Wake};
use harness::kill::{KillSpec, STRATEGIES};

use super::list::kebab;

const COLUMNS: usize = 100;

const HEAD: &str = "\
# What each mechanism can and cannot do

<!-- Made by `scenario list --format markdown` from the specs of the mechanisms. Do not edit. -->

What each mechanism can see or reach, how it errs, and what it costs. Trials show whether this holds
on a given kernel: each statement about scope is an expectation that every trial checks. A
test compares what a mechanism changes in the process that uses it, and what it holds there, with
what it finds in a fresh process.

";

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str(
        "## Detectors\n\n\
        | detector | sees | early | changes | loses its wake-up on removal | since Linux |\n\
        |---|---|---|---|---|---|\n",
    );
    for spec in DETECTORS.iter().map(|d| d.spec()) {
        line(
            &mut page,
            format_args!(
                "| [{}](#{}) | {} | {} | {} | {} | {} |",
                spec.id,
                anchor(spec.id),
                kebab(&spec.scope),
                if spec.early.is_empty() { "no" } else { "yes" },
                spec.effects,
                yes(spec.loses_on_removal),
                spec.since,
            ),
        );
    }
    page.push_str(
        "\n\
        ## Kill strategies\n\n\
        | strategy | reaches | sweep | claims to leave nothing | may hit | changes | since |\n\
        |---|---|---|---|---|---|---|\n",
    );
    for spec in STRATEGIES.iter().map(|s| s.spec()) {
        let hits: Vec<String> = spec.may_hit.iter().map(ToString::to_string).collect();
        line(
            &mut page,
            format_args!(
                "| [{}](#{}) | {} | {} | {} | {} | {} | {} |",
                spec.id,
                anchor(spec.id),
                kebab(&spec.reach.scope),
                kebab(&spec.reach.sweep),
                yes(spec.claims_sound),
                if hits.is_empty() {
                    "no other process".to_owned()
                } else {
                    hits.join(", ")
                },
                spec.effects,
                spec.since,
            ),
        );
    }
    words(&mut page);
    page.push_str("\n## Detectors, one by one\n");
    DETECTORS.iter().for_each(|d| detector(&mut page, d.spec()));
    page.push_str("\n## Strategies, one by one\n");
    STRATEGIES
        .iter()
        .for_each(|s| strategy(&mut page, s.spec()));
    page
}

/// What the names in the tables mean.
fn words(page: &mut String) {
    page.push_str("\n## What is seen and reached\n\n");
    for scope in Scope::ALL {
        fact(page, &kebab(&scope), of_scope(scope));
    }
    page.push_str("\n## How a strategy sweeps\n\n");
    for sweep in [Sweep::Atomic, Sweep::Held, Sweep::UntilNone, Sweep::Once] {
        fact(page, &kebab(&sweep), of_sweep(sweep));
    }
}

fn of_scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Main => "the process that was started, nothing else",
        Scope::ProcessGroup => "members of the process group of the first process",
        Scope::Session => "members of its session",
        Scope::ReapedDescendants => {
            "descendants, as far as they become children of the watching process when their \
             parents end (a subreaper)"
        }
        Scope::LinkedDescendants => {
            "descendants, found by the parent links of live processes: an orphan is lost"
        }
        Scope::FdHolders => "every process that holds an inherited descriptor open",
        Scope::User => "processes of a user that no other process has",
        Scope::PidNamespace => "members of a PID namespace",
        Scope::Cgroup => "members of a cgroup and of all its descendants",
        Scope::CgroupAlone => {
            "members of the cgroup itself: those that have moved to a descendant are lost"
        }
        Scope::SystemWide => {
            "every process of the machine: the mechanism works out which of them belong to the set"
        }
    }
}

fn of_sweep(sweep: Sweep) -> &'static str {
    match sweep {
        Sweep::Atomic => "the kernel kills all in one go, forks in progress included",
        Sweep::Held => "members are kept from forking first, then killed one by one",
        Sweep::UntilNone => "members are killed one by one, in repeated passes, until none is seen",
        Sweep::Once => "one pass over the members",
    }
}

fn detector(page: &mut String, spec: &DetectorSpec) {
    let wake = match spec.wake {
        Wake::Event => "sleeps until the kernel wakes it",
        Wake::Interval => "reads at intervals",
        Wake::Spin => "never sleeps",
    };
    head(page, spec.id, spec.summary);
    fact(page, "How it learns", wake);
    fact(page, "What escapes it", spec.escapes);
    fact(
        page,
        "When it is early",
        or(spec.early, "never, for the processes that it sees"),
    );
    fact(page, "When it is late", spec.late);
    fact(page, "Cost while nothing happens", spec.idle_cost);
    fact(page, "When events overflow or are lost", spec.overflow);
    effects(page, &spec.effects);
    fact(
        page,
        "Privilege",
        or(spec.privilege, "none beyond a cgroup of its own"),
    );
    sources(page, spec.sources);
}

fn strategy(page: &mut String, spec: &KillSpec) {
    head(page, spec.id, spec.summary);
    fact(page, "How it can fail", spec.faults);
    effects(page, &spec.effects);
    fact(
        page,
        "Privilege",
        or(spec.privilege, "none beyond a cgroup of its own"),
    );
    sources(page, spec.sources);
}

fn effects(page: &mut String, effects: &Effects) {
    fact(
        page,
        "What it changes in the process that uses it",
        &effects.to_string(),
    );
    fact(page, "What it holds there", &effects.holds.to_string());
}

/// What renderers of Markdown make of a heading: only letters, digits and hyphens stay.
fn anchor(id: &str) -> String {
    id.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "")
}

fn fact(page: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        line(
            page,
            format_args!("{}", wrapped(&format!("- {name}: {value}"), "  ")),
        );
    }
}

fn sources(page: &mut String, sources: &[&str]) {
    fact(page, "Sources", &sources.join("; "));
}

fn head(page: &mut String, id: &str, summary: &str) {
    line(
        page,
        format_args!("\n### {id}\n\n{}\n", wrapped(summary, "")),
    );
}

/// Broken into lines of at most [`COLUMNS`] between words; all but the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let wide = word.chars().count();
        if column > 0 && column + 1 + wide > COLUMNS {
            lines.push_str(&format!("\n{indent}"));
            column = indent.len();
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += wide;
    }
    lines
}

fn or(text: &'static str, otherwise: &'static str) -> &'static str {
    if text.is_empty() { otherwise } else { text }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.push_str(&format!("{text}\n"));
}
