//! The order of preference, on a machine and with figures that are made up.

use std::collections::BTreeMap;

use clap::ValueEnum;
use harness::detect::{self, DETECTORS};
use harness::host::{KernelVersion, Support};
use harness::kill::{self, STRATEGIES};
use serde_json::{Value, json};

use super::evidence::Evidence;
use super::page::text;
use super::rank::{Here, OLD};
use super::{Advice, Answer, Situation, advise};
use crate::command::plan::Offers;

fn everything() -> Offers {
    Offers {
        detectors: DETECTORS
            .iter()
            .map(|d| (d.spec().id, Support::Available))
            .collect(),
        strategies: STRATEGIES
            .iter()
            .map(|s| (s.spec().id, Support::Available))
            .collect(),
        features: BTreeMap::new(),
    }
}

/// A row of 100 trials that all went well.
fn row(id: &str, p50_ns: u64) -> Value {
    let kill = kill::by_id(id).is_some();
    json!({"dataset": "d", "plane": if kill { "kill" } else { "detect" }, "label": "x", "n": 100,
        "right": if kill { 0 } else { 100 },
           "emptied": if kill { 100 } else { 0 },
           "detector": if kill { "cgroup-events-poll" } else { id },
           "strategy": kill.then_some(id), "p50_ns": p50_ns, "p99_ns": null, "launch_ns": 100,
           "idle_cpu_ns": 0})
}

fn measured(rows: &[Value]) -> Evidence {
    Evidence::parse(&json!({"schema": 1, "rows": rows}).to_string()).unwrap()
}

fn advice(situation: Situation, offers: &Offers, evidence: &Evidence) -> Advice {
    let here = Here {
        situation,
        kills_leaderless: false,
    };
    advise(here, offers, evidence)
}

fn first(advice: &Advice) -> (&'static str, &'static str) {
    (advice.detectors[0].id, advice.strategies[0].id)
}

#[test]
fn each_situation_has_an_answer_that_is_sound_without_any_measurement() {
    for situation in Situation::value_variants() {
        let advice = advice(*situation, &everything(), &Evidence::default());
        let (detector, strategy) = first(&advice);
        let detector = detect::by_id(detector).unwrap().spec();
        assert_eq!(
            detector.scope,
            harness::expect::Scope::Cgroup,
            "{situation:?}"
        );
        assert!(!detector.loses_on_removal, "{situation:?}");
        let strategy = kill::by_id(strategy).unwrap().spec();
        assert!(
            strategy.claims_sound && strategy.may_hit.is_empty(),
            "{situation:?}"
        );
        let naive = |id: &&str| ["pidfd-main", "waitpid-main", "inotify-delete-self"].contains(id);
        assert!(
            !advice.detectors.iter().any(|c| naive(&c.id)),
            "{situation:?}"
        );
    }
}

#[test]
fn the_clock_decides_between_those_that_are_sound() {
    let rows = [
        row("cgroup-events-sleep", 900),
        row("bpf-notify-populated", 300),
        row("subreaper+cgroup-events", 1_000),
        row("cgroup-events-poll", 10),
    ];
    let advice = advice(Situation::Server, &everything(), &measured(&rows));
    let order: Vec<&str> = advice.detectors.iter().map(|c| c.id).collect();
    let place = |id: &str| order.iter().position(|x| *x == id).unwrap();
    assert_eq!(order[0], "bpf-notify-populated");
    // Faster than all, but its wake-up may be lost; and a detector that sleeps comes before one
    // that reads at intervals, however short they are.
    assert!(place("cgroup-events-poll") > place("subreaper+cgroup-events"));
    assert!(place("cgroup-events-sleep") > place("subreaper+cgroup-events"));
    // Not measured is not fast.
    assert!(place("tracepoint-notify-populated") > place("subreaper+cgroup-events"));
}

#[test]
fn who_was_measured_in_the_easy_rows_only_is_not_known_to_be_fast() {
    let hard = |id, p50_ns| {
        let mut row = row(id, p50_ns);
        row["label"] = json!("hard");
        row
    };
    let rows = [
        row("bpf-notify-populated", 10),
        row("subreaper+cgroup-events", 100),
        hard("subreaper+cgroup-events", 900),
        row("tracepoint-notify-populated", 110),
        hard("tracepoint-notify-populated", 5_000),
    ];
    let advised = advice(Situation::Server, &everything(), &measured(&rows));
    assert_eq!(advised.detectors[0].id, "subreaper+cgroup-events");
    // A row in which only one was measured counts against no other.
    let rows = [
        row("bpf-notify-populated", 10),
        row("subreaper+cgroup-events", 100),
        row("tracepoint-notify-populated", 110),
        hard("bpf-notify-populated", 900),
    ];
    let advised = advice(Situation::Server, &everything(), &measured(&rows));
    assert_eq!(advised.detectors[0].id, "bpf-notify-populated");
}

#[test]
fn who_is_as_fast_and_needs_no_privilege_is_preferred() {
    let rows = [
        row("bpf-notify-populated", 100),
        row("subreaper+cgroup-events", 190),
    ];
    let evidence = measured(&rows);
    assert_eq!(
        first(&advice(Situation::Server, &everything(), &evidence)).0,
        "subreaper+cgroup-events"
    );
    let rows = [
        row("bpf-notify-populated", 100),
        row("subreaper+cgroup-events", 210),
    ];
    let evidence = measured(&rows);
    assert_eq!(
        first(&advice(Situation::Server, &everything(), &evidence)).0,
        "bpf-notify-populated"
    );
    assert_eq!(
        first(&advice(Situation::NoRoot, &everything(), &evidence)).0,
        "subreaper+cgroup-events"
    );
}

#[test]
fn a_warm_up_counts_where_somebody_waits_for_it() {
    let rows = [
        row("prepopulated-cgroup", 100_000),
        row("subreaper+cgroup-events", 900_000),
    ];
    let evidence = measured(&rows);
    assert_eq!(
        first(&advice(Situation::Server, &everything(), &evidence)).0,
        "prepopulated-cgroup"
    );
    assert_eq!(
        first(&advice(Situation::OneShot, &everything(), &evidence)).0,
        "subreaper+cgroup-events"
    );
}

#[test]
fn recorded_failures_refute_what_a_spec_claims() {
    let mut early = row("bpf-notify-populated", 1);
    early["right"] = json!(99);
    early["early"] = json!(1);
    let mut survived = row("cgroup-kill-sweep", 1);
    survived["emptied"] = json!(99);
    survived["survived"] = json!(1);
    let rows = [
        early,
        survived,
        row("subreaper+cgroup-events", 500),
        row("freeze-kill", 500),
    ];
    let advice = advice(Situation::Server, &everything(), &measured(&rows));
    assert_eq!(first(&advice), ("subreaper+cgroup-events", "freeze-kill"));
    let refuted = advice
        .detectors
        .iter()
        .find(|c| c.id == "bpf-notify-populated")
        .unwrap();
    assert!(
        refuted
            .but
            .iter()
            .any(|but| but.contains("too early in 1 of 100 trials"))
    );
}

#[test]
fn an_old_kernel_is_offered_nothing_newer() {
    let advice = advice(Situation::OldKernel, &everything(), &Evidence::default());
    for id in advice.detectors.iter().map(|c| c.id) {
        assert!(detect::by_id(id).unwrap().spec().since <= OLD, "{id}");
    }
    for id in advice.strategies.iter().map(|c| c.id) {
        assert!(kill::by_id(id).unwrap().spec().since <= OLD, "{id}");
    }
}

#[test]
fn a_patched_kernel_is_assumed_to_have_its_patch() {
    let mut offers = everything();
    for (id, support) in &mut offers.detectors {
        if detect::by_id(id).unwrap().spec().since == KernelVersion::UNRELEASED {
            *support = Support::missing("no such kernel", "build one");
        }
    }
    let patched = advice(Situation::PatchedKernel, &offers, &Evidence::default());
    let spec = detect::by_id(first(&patched).0).unwrap().spec();
    assert_eq!(spec.since, KernelVersion::UNRELEASED);
    let plain = advice(Situation::Server, &offers, &Evidence::default());
    assert!(!plain.detectors.iter().any(|c| c.id == spec.id));
}

#[test]
fn a_kernel_that_kills_processes_without_a_first_thread_needs_no_sweep() {
    let evidence = measured(&[row("cgroup-kill", 100), row("cgroup-kill-sweep", 300)]);
    let named = |kills_leaderless| {
        let here = Here {
            situation: Situation::Server,
            kills_leaderless,
        };
        first(&advise(here, &everything(), &evidence)).1
    };
    assert_eq!((named(true), named(false)), ("cgroup-kill", super::SWEEP));
}

#[test]
fn what_is_missing_here_is_named_with_its_remedy_and_never_recommended() {
    let mut offers = everything();
    for (id, support) in &mut offers.detectors {
        if *id != "cgroup-events-spin" {
            *support = Support::missing(format!("{id} is not here"), "get it");
        }
    }
    let advice = advice(
        Situation::OneShot,
        &offers,
        &measured(&[row("bpf-notify-populated", 1)]),
    );
    assert_eq!(advice.detectors[0].id, "cgroup-events-spin");
    let said = text(&Answer {
        kernel: "6.18".to_owned(),
        euid: 0,
        base: Some("/x".to_owned()),
        no_base: None,
        kernel_bug: None,
        evidence: Vec::new(),
        situations: vec![advice],
    });
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("know cgroup-events-spin") && said.contains("measured nothing: not measured"),
        "{said}"
    );
    assert!(
        said.contains(
            "not here: bpf-notify-populated: bpf-notify-populated is not here; help: get it"
        ),
        "{said}"
    );
    let nothing = Offers {
        detectors: BTreeMap::new(),
        strategies: BTreeMap::new(),
        features: BTreeMap::new(),
    };
    let here = Here {
        situation: Situation::OneShot,
        kills_leaderless: false,
    };
    assert!(
        advise(here, &nothing, &Evidence::default())
            .detectors
            .iter()
            .all(|c| c.missing.is_some())
    );
}

#[test]
fn all_situations_are_one_readable_page() {
    let evidence = measured(&[row("cgroup-kill", 100), row("subreaper+cgroup-events", 300)]);
    let all = Situation::value_variants().iter();
    let said = text(&Answer {
        kernel: "6.18".to_owned(),
        euid: 0,
        base: Some("/sys/fs/cgroup/unified (the v2 mount of this hybrid machine)".to_owned()),
        no_base: None,
        kernel_bug: None,
        evidence: ["a", "b"]
            .map(|name| format!("{name}: Linux 6.18, a processor"))
            .to_vec(),
        situations: all
            .map(|situation| advice(*situation, &everything(), &evidence))
            .collect(),
    });
    assert!(
        said.lines().count() <= 40,
        "{} lines:\n{said}",
        said.lines().count()
    );
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    assert_eq!(said.matches("  know  ").count(), 5, "{said}");
    assert!(
        said.contains("Measured on Linux 6.18, a processor (a, b)"),
        "once for each machine: {said}"
    );
}
