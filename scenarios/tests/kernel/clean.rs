//! `scenario clean`: what a run that died has left.

use std::process::Command;

use super::cli::expect;
use super::common::{Test, ensure};
use super::needs::CGROUP2_WRITE;

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "clean::processes_are_counted_and_not_signals",
            &[CGROUP2_WRITE],
            clean_counts,
        ),
        Test::new(
            "clean::what_a_dead_run_left_is_removed_and_nothing_else",
            &[CGROUP2_WRITE],
            clean,
        ),
    ]
}

fn clean() -> Result<(), String> {
    use harness::host::name::{OwnerId, RunName};
    let own = RunName::own().map_err(|e| e.to_string())?;
    let base = super::common::base();
    let dead = RunName(OwnerId {
        pid: i32::MAX,
        ..own.0
    })
    .to_string();
    let foreign = format!("not-a-run-{}", std::process::id());
    let alive = format!("{own}.alive");
    for name in [&dead, &foreign, &alive] {
        base.cgroup().create(name).map_err(|e| e.to_string())?;
    }
    let outcome = (|| {
        let there = |name: &String| base.cgroup().path().join(name).exists();
        expect(&["clean", "--dry-run"], 0, &[&dead])?;
        ensure(there(&dead), || {
            "a dry run has removed something".to_owned()
        })?;
        expect(&["clean"], 0, &[&dead])?;
        ensure(!there(&dead), || format!("{dead} is still there"))?;
        ensure(there(&foreign) && there(&alive), || {
            "clean has removed what is not its business".to_owned()
        })
    })();
    for name in [&dead, &foreign, &alive] {
        if base.cgroup().path().join(name).exists() {
            base.cgroup()
                .remove_child(name)
                .map_err(|e| e.to_string())?;
        }
    }
    outcome
}

/// One write to `cgroup.kill` ends both.
fn clean_counts() -> Result<(), String> {
    use harness::host::name::{OwnerId, RunName};
    let own = RunName::own().map_err(|e| e.to_string())?;
    let dead = RunName(OwnerId {
        pid: i32::MAX - 1,
        ..own.0
    })
    .to_string();
    let base = super::common::base();
    let cgroup = base.cgroup().create(&dead).map_err(|e| e.to_string())?;
    let mut sleepers = Vec::new();
    for _ in 0..2 {
        let sleeper = Command::new("sleep")
            .arg("1000")
            .spawn()
            .map_err(|e| e.to_string())?;
        cgroup
            .write("cgroup.procs", &sleeper.id().to_string())
            .map_err(|e| e.to_string())?;
        sleepers.push(sleeper);
    }
    drop(cgroup);
    // Of this leftover: there may be others, of other programs, with processes of their own.
    let words = format!("{dead}; 2 processes in it were killed");
    let outcome = expect(&["clean"], 0, &[&words]);
    for mut sleeper in sleepers {
        // Killed already, unless the command has failed.
        sleeper.kill().map_err(|e| e.to_string())?;
        sleeper.wait().map_err(|e| e.to_string())?;
    }
    outcome.map(|_| ())
}
