//! A made-up campaign, with known latencies and with ids that are in no registry.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness_record::{
    Canary, Entry, IdleRecord, KillReport, NoiseRecord, Note, Outcome, Plane, Stamps, Survivor,
    TrialRecord, Verdict,
};
use serde_json::json;

/// Blocks of each campaign.
pub(crate) const BLOCKS: u32 = 40;

/// A latency that depends on nothing but its place.
pub(crate) fn latency(middle: u64, block: u32, salt: u64) -> u64 {
    let draw = (u64::from(block) * 7_919 + salt * 104_729) % 1_000;
    middle + middle * draw / 10_000
}

/// A trial in which everything went as it should.
pub(crate) fn trial(
    run: &str,
    block: u32,
    mechanism: &str,
    lifetime: u64,
    latency: Option<u64>,
) -> TrialRecord {
    let over = 10_000_000_000 + u64::from(block) * 100_000_000;
    let mut trial = TrialRecord::blank(run, 0, Plane::Detect, "made-up", mechanism);
    trial.block = Some(block);
    trial.params = BTreeMap::from([("lifetime".to_owned(), lifetime)]);
    trial.seed = 1;
    trial.gap_ns = Some(20_000_000);
    trial.entry = Some(Entry::Born);
    trial.stamps = Stamps {
        armed_ns: Some(over - 1_000_000_000),
        spawn_ns: Some(over - lifetime - 200_000),
        spawned_ns: Some(over - lifetime - 50_000),
        running_ns: Some(over - lifetime - 40_000),
        over_lower_ns: Some(over),
        ..Stamps::default()
    };
    trial.verdict = latency.map(|ns| Verdict::Empty {
        woke_ns: over + ns - 1,
        decided_ns: over + ns,
    });
    trial.outcome = if latency.is_some() {
        Outcome::Right
    } else {
        Outcome::Missed
    };
    trial.expected = "says \"empty\" when it is over, not before".to_owned();
    trial.expectation = Some("sound".to_owned());
    trial.held = latency.is_some();
    trial.cpu_ns = Some(300_000);
    trial.idle = Some(IdleRecord {
        window_ns: 500_000_000,
        cpu_ns: 1_000_000,
        wakeups: 5,
        samples: 6,
    });
    if latency.is_none() {
        trial.note = Some(Note::Text {
            text: "it said nothing until the deadline".to_owned(),
        });
    }
    trial
}

/// A trial of the kill plane.
pub(crate) fn kill(
    run: &str,
    block: u32,
    strategy: &str,
    sleepers: u64,
    duration: Option<u64>,
) -> TrialRecord {
    // Detectors take turns, as they do in the kill plane.
    let watcher = ["watcher", "other-watcher"][block as usize % 2];
    let mut trial = trial(run, block, watcher, 0, Some(1));
    let first = 20_000_000_000 + u64::from(block) * 100_000_000;
    trial.plane = Plane::Kill;
    trial.strategy = Some(strategy.to_owned());
    trial.params = BTreeMap::from([("sleepers".to_owned(), sleepers)]);
    trial.kill = Some(KillReport {
        begun_ns: first - 20_000,
        first_signal_ns: first,
        signals: 3,
        ..KillReport::default()
    });
    trial.stamps.unpopulated_ns = duration.map(|ns| first + ns);
    trial.verdict = duration.map(|ns| Verdict::Empty {
        woke_ns: first + ns,
        decided_ns: first + ns + 1_000 + u64::from(block % 2) * 1_000,
    });
    trial.outcome = if duration.is_some() {
        Outcome::Emptied
    } else {
        Outcome::Survived
    };
    if duration.is_none() {
        trial.canaries_hit = vec![Canary::SameGroup];
        trial.survivors = vec![Survivor {
            pid: 7,
            comm: "actor".to_owned(),
            state: "S".to_owned(),
            cgroup: "/x".to_owned(),
            reason: "not signalled".to_owned(),
            evidence: "no SIGKILL pending".to_owned(),
        }];
    }
    trial
}

/// Detectors: the reference, one that is ten times slower, one that misses every fourth trial; the
/// reference has a twin.
pub(crate) fn detecting(run: &str) -> Vec<TrialRecord> {
    let mut trials = Vec::new();
    for block in 0..BLOCKS {
        for lifetime in [0, 1_000_000, 5_000_000] {
            let salt = lifetime / 1_000_000;
            trials.push(trial(
                run,
                block,
                "waitpid-main",
                lifetime,
                Some(latency(100_000, block, salt)),
            ));
            let mut twin = trial(
                run,
                block,
                "waitpid-main",
                lifetime,
                Some(latency(100_000, block, salt + 50)),
            );
            twin.twin = 1;
            trials.push(twin);
            trials.push(trial(
                run,
                block,
                "never-heard-of",
                lifetime,
                Some(latency(1_000_000, block, salt + 3)),
            ));
            let sleepy = (block % 4 > 0).then(|| latency(200_000, block, salt + 9));
            trials.push(trial(run, block, "sleepy", lifetime, sleepy));
        }
        let mut other = trial(
            run,
            block,
            "never-heard-of",
            0,
            Some(latency(500_000, block, 77)),
        );
        other.scenario = "other-case".to_owned();
        trials.push(other);
        let mut early = trial(run, block, "sleepy", 0, Some(1));
        early.scenario = "other-case".to_owned();
        early.outcome = Outcome::Early;
        trials.push(early);
    }
    trials
}

/// Strategies: one that empties, one that never does, at three sizes.
pub(crate) fn killing(run: &str) -> Vec<TrialRecord> {
    let mut trials = Vec::new();
    for block in 0..BLOCKS {
        for sleepers in [1, 10, 100] {
            let duration = latency(50_000 * (sleepers + 1), block, sleepers);
            trials.push(kill(run, block, "cgroup-kill", sleepers, Some(duration)));
            trials.push(kill(
                run,
                block,
                "made-up-kill",
                sleepers,
                Some(duration * 2),
            ));
            trials.push(kill(run, block, "hopeless", sleepers, None));
        }
    }
    trials
}

/// Takes a campaign in, in the place of what was there.
pub(crate) fn take(root: &Path, name: &str, dir: &Path) {
    add(root, name, dir, true).unwrap();
}

/// The same, with the error.
pub(crate) fn add(
    root: &Path,
    name: &str,
    dir: &Path,
    replace: bool,
) -> anyhow::Result<reports::store::Dataset> {
    let taking = reports::store::Taking {
        replace,
        progress: &|_| (),
    };
    reports::store::add(root, name, dir, &taking)
}

/// Writes a campaign as `scenario measure` does.
pub(crate) fn campaign(dir: &Path, run: &str, mut trials: Vec<TrialRecord>) {
    fs::create_dir_all(dir).unwrap();
    trials.sort_by_key(|trial| trial.block);
    let mut rows = Vec::new();
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut text = Vec::new();
    for (seq, trial) in trials.iter_mut().enumerate() {
        trial.seq = u32::try_from(seq).unwrap();
        let mut label = trial.scenario.clone();
        // The axis of a mechanism is no part of the label of a scenario.
        for (axis, value) in trial.params.iter().filter(|(axis, _)| *axis != "interval") {
            label.push_str(&format!(" {axis}={value}"));
        }
        // Detectors take turns, as they do in the kill plane.
        let detectors = match trial.plane {
            Plane::Detect => vec![trial.detector.clone()],
            Plane::Kill => vec!["watcher".to_owned(), "other-watcher".to_owned()],
        };
        let row = json!({
            "plane": trial.plane, "scenario": trial.scenario, "detector": detectors[0],
            "detectors": detectors, "strategy": trial.strategy,
            "params": trial.params, "twin": trial.twin, "label": label, "expected": "as it is",
        });
        let at = rows
            .iter()
            .position(|known| *known == row)
            .unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
        let block = trial.block.unwrap() as usize;
        blocks.resize(blocks.len().max(block + 1), Vec::new());
        blocks[block].push(at);
        harness_record::write_line(&mut text, trial).unwrap();
    }
    let loops = [1, 10, 100].map(|sites| json!({"mechanism": "poll", "sites": sites}));
    let plan = json!({
        "schema": 2, "run": run, "arguments": ["measure", "made-up", "--out", "/tmp/secret-place"],
        "seed": 1, "trials_per_row": BLOCKS,
        "deadline_ns": 1_000_000_000u64, "gap_ns": 20_000_000u64, "tasks": 64, "rows": rows,
        "blocks": blocks.iter().map(|rows| json!({"rows": rows,
        "script_seed": 1})).collect::<Vec<_>>(),
        "jobs": 2, "loops": loops,
        "skipped": [{"mechanism": "not-here", "why": "ENOSYS"}],
    });
    let environment = json!({
        "schema": 1, "kernel": {"release": "6.18.0", "hz": 250}, "cpu": {"model": "made up",
        "allowed": 2}, "cgroups": {"layout": "v2"},
        "hostname": "somebody's", "build": {"debug_assertions": false},
    });
    let noise = NoiseRecord {
        schema: 1,
        spun_ns: 5_000_000,
        lost_ns: 50_000,
        longest_ns: 20_000,
        ..NoiseRecord::default()
    };
    let mut noises = Vec::new();
    harness_record::write_line(&mut noises, &noise).unwrap();
    fs::write(dir.join("plan.json"), plan.to_string()).unwrap();
    fs::write(dir.join("environment.json"), environment.to_string()).unwrap();
    fs::write(dir.join("trials.jsonl"), text).unwrap();
    fs::write(dir.join("noise.jsonl"), noises).unwrap();
}

/// A workspace with two campaigns, one of them twice, and many sites; rendered.
pub(crate) fn workspace(root: &Path) {
    fs::create_dir_all(root.join("reports/data")).unwrap();
    let raw = root.join("raw");
    for (name, run, trials) in [
        ("latency", "run-a", detecting("run-a")),
        ("latency-again", "run-b", detecting("run-b")),
        ("kill-size", "run-c", killing("run-c")),
    ] {
        let dir = raw.join(name);
        campaign(&dir, run, trials);
        if name == "kill-size" {
            let lines = [(1, "right"), (10, "right"), (100, "right"), (100, "early")].map(
                |(sites, outcome)| {
                    json!({
                        "schema": 1, "run": "run-c", "mechanism": "poll", "sites": sites,
                        "populated": 1, "outcome": outcome,
                        "asked_ns": 5_000, "exit_ns": 7_000, "decided_ns": 7_000 + 1_000 * sites,
                        "cpu_ns": 10 * sites,
                    })
                    .to_string()
                },
            );
            fs::write(dir.join("scale.jsonl"), lines.join("\n") + "\n").unwrap();
        }
        take(root, name, &dir);
    }
    fs::write(
        root.join("reports/findings.md"),
        "# Findings\n\n\
            It takes <!-- figure: latency/made-up:lifetime=0/never-heard-of/p50-ci -->?<!-- \
            /figure -->, and <!-- figure: kill-64/forkbomb/x/p50 -->?<!-- /figure --> of the \
            bomb.\n\n\
            <!-- figure: latency/twins -->?<!-- /figure -->\n",
    )
    .unwrap();
    let store = reports::store::Store::read(root).unwrap();
    reports::command::write_all(&store).unwrap();
}
