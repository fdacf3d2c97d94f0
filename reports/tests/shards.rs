//! Shards of a campaign are put together machine by machine.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod made;

use std::fs;
use std::path::{Path, PathBuf};

use reports::store::{self, Dataset, Taking};
use serde_json::{Value, json};

/// One of `of` shards of a made-up campaign, as the boot `boot` would have recorded it.
fn shard(root: &Path, number: u64, of: u64, boot: &str) -> PathBuf {
    let run = format!("run-{boot}-{number}");
    let dir = root.join(&run);
    made::campaign(&dir, &run, made::detecting(&run));
    let path = dir.join("plan.json");
    let mut plan: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    plan["campaign"] = json!({"shards": {"of": of, "numbers": [number]}});
    plan["arguments"] = json!([
        "measure",
        "made-up",
        "--shard",
        format!("{number}/{of}"),
        "--seed",
        "1"
    ]);
    fs::write(&path, plan.to_string()).unwrap();
    let sittings = json!({"schema": 1, "sittings": [{"run": run, "boot_id": boot}]});
    fs::write(dir.join("sittings.json"), sittings.to_string()).unwrap();
    let mine = |line: &&str| {
        let trial: Value = serde_json::from_str(line).unwrap();
        trial["block"].as_u64().unwrap() % of + 1 == number
    };
    let path = dir.join("trials.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(mine).collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    dir
}

fn take(root: &Path, dirs: &[PathBuf]) -> anyhow::Result<Vec<Dataset>> {
    let taking = Taking {
        replace: false,
        progress: &|_| (),
    };
    store::add_all(root, "many", dirs, &taking)
}

fn refused(root: &Path, dirs: &[PathBuf]) -> String {
    let error = format!("{:#}", take(root, dirs).unwrap_err());
    let left = fs::read_dir(root.join("reports/data"))
        .into_iter()
        .flatten()
        .count();
    assert_eq!(left, 0, "nothing is left behind: {error}");
    error
}

#[test]
fn shards_of_one_boot_are_the_campaign() {
    let root = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = [3, 1, 2].map(|n| shard(root.path(), n, 3, "a")).to_vec();
    let taken = take(root.path(), &dirs).unwrap();
    assert_eq!(taken.len(), 1);
    let dataset = &taken[0];
    assert_eq!(dataset.name, "many");
    assert!(dataset.plan.shards().is_none(), "it is whole");
    let planned: usize = dataset
        .plan
        .blocks
        .iter()
        .map(|block| block.rows.len())
        .sum();
    assert_eq!(dataset.trials.len(), planned);
    let numbers: Vec<u32> = dataset.trials.iter().map(|trial| trial.seq).collect();
    assert!(
        numbers.is_sorted() && numbers[0] == 0,
        "each trial once, in the plan's order"
    );
    assert_eq!(dataset.runs.len(), 3, "{:?}", dataset.runs);
    assert_eq!(dataset.plan.command(), "scenario measure made-up --seed 1");
}

#[test]
fn shards_of_two_machines_are_two_datasets() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [(1, "a"), (2, "b"), (3, "a")].map(|(n, boot)| shard(root.path(), n, 3, boot));
    let taken = take(root.path(), &dirs).unwrap();
    let names: Vec<&str> = taken.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["many-1", "many-2"]);
    let shards = taken[0].plan.shards().unwrap();
    assert_eq!(shards.numbers.iter().copied().collect::<Vec<_>>(), [1, 3]);
    assert!(taken[0].plan.command().contains("--shard=1,3/3"));
    let blocks = |at: usize| {
        let mut blocks: Vec<u32> = taken[at].trials.iter().filter_map(|t| t.block).collect();
        blocks.dedup();
        blocks
    };
    assert!(blocks(0).iter().all(|block| block % 3 != 1));
    assert!(blocks(1).iter().all(|block| block % 3 == 1));
    assert_eq!(blocks(0).len() + blocks(1).len(), made::BLOCKS as usize);
}

#[test]
fn what_is_no_shard_or_no_other_shard_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|n| shard(root.path(), n, 3, "a"));
    let twice = refused(root.path(), &[one.clone(), two.clone(), one.clone()]);
    assert!(twice.contains("shard 1 is in"), "{twice}");
    let other = shard(&root.path().join("other"), 2, 4, "a");
    let error = refused(root.path(), &[one.clone(), other]);
    assert!(
        error.contains("not of one campaign") || error.contains("of 4"),
        "{error}"
    );
    let whole = root.path().join("whole");
    made::campaign(&whole, "run-w", made::detecting("run-w"));
    let error = refused(root.path(), &[one.clone(), whole]);
    assert!(error.contains("a whole campaign, not a shard"), "{error}");
    let path = two.join("trials.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text.lines().take(20).collect();
    fs::write(&path, kept.join("\n") + "\n").unwrap();
    let error = refused(root.path(), &[one, two]);
    assert!(error.contains("it is not finished, 20 of"), "{error}");
}
