//! Resuming, without real trials: an interruption at every byte of a small campaign.

use clap::Parser;
use harness::detect::DETECTORS;
use harness::expect::Plane;
use harness::host::Support;
use harness::record::{Outcome, TrialRecord, write_line};
use serde_json::json;

use super::super::args::{Cli, Verb};
use super::super::plan::{Offers, Plan, plan};
use super::super::record::PlanRecord;
use super::resume::{keep, same_plan};
use super::{Begun, MeasureArgs, campaign, resolve};

const WORDS: [&str; 9] = [
    "measure",
    "exit-now",
    "--detector",
    "waitpid-main,pidfd-main",
    "--twins",
    "waitpid-main",
    "--trials",
    "3",
    "--noise=0",
];

fn args(words: &[&str]) -> MeasureArgs {
    match Cli::try_parse_from([&["scenario"], words].concat())
        .unwrap()
        .verb
    {
        Some(Verb::Measure(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn planned(seed: u64) -> Plan {
    let offers = Offers {
        detectors: DETECTORS
            .iter()
            .map(|d| (d.spec().id, Support::Available))
            .collect(),
        ..Offers::default()
    };
    plan(&resolve(&args(&WORDS)).unwrap(), &offers, seed).unwrap()
}

/// The record of trial `seq` of the plan.
fn record(plan: &Plan, seq: usize) -> TrialRecord {
    let planned = &plan.order[seq];
    let cell = &plan.cells[planned.row];
    let mut record = TrialRecord::blank(
        "r",
        u32::try_from(seq).unwrap(),
        Plane::Detect,
        cell.subject.id(),
        cell.detector(planned.block).spec().id,
    );
    record.block = Some(planned.block);
    record.twin = cell.twin;
    let values = cell.params.iter();
    record.params = values
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    record.seed = planned.script_seed;
    record.outcome = Outcome::Right;
    record.held = true;
    record
}

fn lines(plan: &Plan, trials: std::ops::Range<usize>) -> Vec<u8> {
    let mut file = Vec::new();
    for seq in trials {
        write_line(&mut file, &record(plan, seq)).unwrap();
    }
    file
}

#[test]
fn twins_are_rows_of_their_own() {
    let plan = planned(1);
    let mut rows: Vec<_> = plan
        .cells
        .iter()
        .map(|c| (c.watchers[0].spec().id, c.twin))
        .collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [("pidfd-main", 0), ("waitpid-main", 0), ("waitpid-main", 1)]
    );
    assert_eq!(plan.order.len(), 9);
    assert_eq!(plan.order, planned(1).order);
}

#[test]
fn shards_are_the_plan_in_parts_and_go_on_as_such() {
    let whole = planned(1);
    let shard = |text| super::Shards::parse(text).unwrap();
    let parts = ["1/2", "2/2"].map(|text| whole.part(Some(&shard(text))));
    // Three blocks of three rows: the first and the third, and the second.
    assert_eq!(parts.each_ref().map(|part| part.order.len()), [6, 3]);
    let mut together: Vec<_> = parts.iter().flat_map(|part| part.order.clone()).collect();
    together.sort_by_key(|planned| planned.seq);
    assert_eq!(
        together, whole.order,
        "each trial once, with its number in the whole"
    );
    // What is recorded of a part is the beginning of that part, and of no other.
    let of_second = |seqs: &[usize]| {
        let mut file = Vec::new();
        for seq in seqs {
            write_line(&mut file, &record(&whole, *seq)).unwrap();
        }
        file
    };
    assert_eq!(
        keep(of_second(&[3, 4]).as_slice(), &parts[1])
            .unwrap()
            .trials,
        2
    );
    let error = keep(of_second(&[3, 4]).as_slice(), &parts[0]).unwrap_err();
    assert!(
        error.to_string().contains("is not trial 0 of the plan"),
        "{error:#}"
    );
}

#[test]
fn a_shard_needs_a_seed() {
    let given = args(&[
        "measure",
        "exit-now",
        "--shard",
        "1/2",
        "--out",
        "/nowhere/at-all",
    ]);
    let refused = super::measure(&given).unwrap_err();
    assert!(
        format!("{refused:?}").contains("--shard needs --seed"),
        "{refused:?}"
    );
}

#[test]
fn an_interruption_at_every_byte_loses_at_most_the_unfinished_trial() {
    let plan = planned(1);
    let whole = lines(&plan, 0..plan.order.len());
    for end in 0..=whole.len() {
        let file = &whole[..end];
        let kept = keep(file, &plan).unwrap();
        let complete = file.iter().filter(|b| **b == b'\n').count();
        assert_eq!(kept.trials, complete, "at byte {end}");
        assert_eq!(kept.cut.is_some(), kept.bytes != end as u64);
        // The resumed part completes it: each trial once, in order.
        let mut again = file[..usize::try_from(kept.bytes).unwrap()].to_vec();
        again.extend(lines(&plan, kept.trials..plan.order.len()));
        assert_eq!(again, whole, "at byte {end}");
    }
}

#[test]
fn a_page_that_a_power_cut_left_empty_is_cut_off() {
    let plan = planned(1);
    let mut file = lines(&plan, 0..4);
    let good = file.len() as u64;
    file.extend([0; 4096]);
    let kept = keep(file.as_slice(), &plan).unwrap();
    assert_eq!((kept.trials, kept.bytes), (4, good));
    assert!(kept.cut.unwrap().contains("4096 bytes"));
}

#[test]
fn an_interrupted_trial_is_played_again() {
    let plan = planned(1);
    let mut file = lines(&plan, 0..2);
    let mut last = record(&plan, 2);
    last.outcome = Outcome::Interrupted;
    write_line(&mut file, &last).unwrap();
    assert_eq!(keep(file.as_slice(), &plan).unwrap().trials, 2);
}

#[test]
fn what_an_interruption_does_not_leave_is_refused() {
    let plan = planned(1);
    let why = |file: &[u8]| format!("{:#}", keep(file, &plan).unwrap_err());
    let mut damaged = lines(&plan, 0..2);
    damaged[3] = b'!';
    assert!(
        why(&damaged).contains("line 1 is damaged"),
        "{}",
        why(&damaged)
    );
    // The line is that of the file, also in what the parser says.
    let mut second = lines(&plan, 0..3);
    let at = second.iter().position(|byte| *byte == b'\n').unwrap() + 4;
    second[at] = b'!';
    let said = why(&second);
    assert!(
        said.contains("line 2 is damaged") && said.contains("line 2 is not a trial record"),
        "{said}"
    );
    assert!(!said.contains("line 1"), "{said}");
    let out_of_order = lines(&plan, 1..3);
    assert!(why(&out_of_order).contains("line 1 is not trial 0"));
    let mut too_many = lines(&plan, 0..9);
    let again = too_many.clone();
    too_many.extend(again);
    assert!(why(&too_many).contains("line 10 is one trial more"));
    // A campaign with another seed has another order.
    let other = lines(&planned(2), 0..9);
    assert!(keep(other.as_slice(), &plan).is_err());
}

#[test]
fn the_plan_of_other_arguments_is_refused_and_the_name_of_the_run_is_not() {
    let plan = planned(1);
    let request = resolve(&args(&WORDS)).unwrap();
    let document = |run| {
        let words = WORDS.iter().map(|w| (*w).to_owned()).collect();
        let record = PlanRecord::new(run, words, &request, &plan, Some(campaign(&args(&WORDS))));
        serde_json::to_value(record).unwrap()
    };
    assert!(same_plan(&document("a"), &document("b")).is_ok());
    let mut newer = document("a");
    newer["version"] = json!("99.0.0");
    let why = same_plan(&newer, &document("a")).unwrap_err().to_string();
    assert!(why.contains("`version` is \"99.0.0\" there"), "{why}");
    let mut other = document("a");
    other["blocks"][0]["rows"] = json!([0, 0, 0]);
    assert!(same_plan(&other, &document("a")).is_err());
}

#[test]
fn the_recorded_arguments_are_asked_again() {
    let begun = Begun {
        plan: json!({"campaign": {}, "arguments": WORDS, "seed": 5}),
    };
    let given = args(&["measure", "--resume", "d", "--for", "4m", "--quiet"]);
    let asked = begun.asked(&given).unwrap();
    assert_eq!((asked.run.trials, asked.run.quiet), (Some(3), true));
    assert_eq!(asked.stop_after, given.stop_after);
    assert_eq!(asked.run.out.as_deref(), given.resume.as_deref());
    assert_eq!(begun.seed(), Some(5));
}
