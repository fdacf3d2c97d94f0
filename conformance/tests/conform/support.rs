//! The command, and what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::score::{Cell, Score, Scores, Verdict};

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_allgone-conform"))
}

/// An adapter of these tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("{name}.toml"))
}

/// Whether the suite can work here; if not, why is printed, unless it is required.
pub(crate) fn works() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let base = root.then(allgone::Base::find);
    if matches!(base, Some(Ok(_))) {
        return true;
    }
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    let wanted = required
        .split(',')
        .any(|name| ["root", "cgroup2-write"].contains(&name));
    assert!(!wanted, "root and a cgroup are required: {base:?}");
    println!("left out: the suite needs root and a cgroup");
    false
}

pub(crate) fn run(name: &str, args: &[&str]) -> Output {
    let mut command = command();
    command
        .arg(fixture(name))
        .args(["--quiet", "--seed", "1"])
        .args(args);
    command.output().unwrap()
}

/// The score of one launcher, and the exit code.
pub(crate) fn score(name: &str, args: &[&str]) -> (Score, i32) {
    let output = run(name, &[args, &["--format", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let scores = Scores::read(&text).unwrap_or_else(|e| panic!("{e}: {said}{text}"));
    let score = scores.launchers.into_iter().next().unwrap();
    (score, output.status.code().unwrap())
}

pub(crate) fn cell<'a>(score: &'a Score, promise: &str, level: u8) -> &'a Cell {
    let mut cells = score.cells.iter();
    let found = cells.find(|cell| cell.promise == promise && cell.level == level);
    found.unwrap_or_else(|| panic!("no {promise} at level {level}: {score:?}"))
}

/// Exactly these promises are broken; everything else that is claimed is kept.
pub(crate) fn only_broken(score: &Score, broken: &[&str]) {
    assert!(
        score.skipped.is_none() && score.unusable.is_none(),
        "{score:?}"
    );
    for cell in &score.cells {
        let found = cell.verdict;
        match broken.contains(&cell.promise.as_str()) {
            true => assert_ne!(found, Verdict::Unknown, "{cell:?}"),
            false => assert!(
                matches!(
                    found,
                    Verdict::Kept | Verdict::NotClaimed | Verdict::Skipped
                ),
                "{}: {cell:?}",
                score.launcher
            ),
        }
    }
    for promise in broken {
        let mut cells = score.cells.iter().filter(|cell| cell.promise == *promise);
        assert!(
            cells.any(|cell| cell.verdict == Verdict::Broken),
            "{promise}: {score:?}"
        );
    }
}
