//! The suite is killed, and nothing of it is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};
use rand::RngExt;

use super::support::{command, fixture, works};

/// Cgroups of the suite with this process number, in every hierarchy.
fn cgroups(pid: u32) -> BTreeSet<String> {
    fn walk(dir: &Path, prefix: &str, depth: u32, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if name.starts_with(prefix) {
                found.insert(entry.path().display().to_string());
            } else if depth > 0 {
                walk(&entry.path(), prefix, depth - 1, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    let prefix = format!("conform-{pid}-");
    walk(Path::new("/sys/fs/cgroup"), &prefix, 4, &mut found);
    found
}

/// Ten random moments; `CONFORM_KILLS=100` is the long form. They are printed with what is left.
#[test]
fn nothing_of_the_suite_is_left_when_it_is_killed() {
    if !works() {
        return;
    }
    let kills = std::env::var("CONFORM_KILLS").ok();
    let kills: u64 = kills.map_or(10, |kills| kills.parse().unwrap());
    let mut random = rand::rng();
    for round in 0..kills {
        let mut suite = command()
            .arg(fixture("sound"))
            .args(["--quiet", "--promise", "exhausted,kill,end-kill"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not to synchronise: any moment will do. The first is before the suite has begun.
        let after = Duration::from_micros(random.random_range(0..3_000_000));
        sleep_until(now() + after).unwrap();
        suite.kill().unwrap();
        suite.wait().unwrap();
        let deadline = now() + Duration::from_secs(20);
        let mut left = cgroups(suite.id());
        while !left.is_empty() && !deadline.has_passed() {
            sleep_until(now() + Duration::from_millis(5)).unwrap();
            left = cgroups(suite.id());
        }
        assert!(left.is_empty(), "round {round}, after {after:?}: {left:?}");
    }
}
