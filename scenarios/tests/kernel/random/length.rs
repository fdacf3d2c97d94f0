//! How many trees, and how far an earlier run has come.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use harness::MonoNs;
use harness::sys::time;

/// Where failing trees and numbers are kept.
pub(super) fn dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("random-trees")
}

/// The seeds of the trees of one mechanism.
#[derive(Debug)]
pub(super) struct Length {
    pub(super) seeds: Range<u64>,
    mechanism: &'static str,
    /// Of a long run: where its number is kept.
    number: Option<PathBuf>,
    deadline: Option<MonoNs>,
}

impl Length {
    /// What the environment says, or `ordinary` trees that were never played before.
    pub(super) fn of(mechanism: &'static str, ordinary: u64) -> Result<Self, String> {
        let Some(trees) = variable("RANDOM_TREES")? else {
            let first = time::now().0;
            return Ok(Self {
                seeds: first..first + ordinary,
                mechanism,
                number: None,
                deadline: None,
            });
        };
        let number = dir().join("done").join(mechanism);
        let done = match fs::read_to_string(&number) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| format!("{}: {text:?}", number.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(format!("{}: {e}", number.display())),
        };
        Ok(Self {
            seeds: done..trees,
            mechanism,
            number: Some(number),
            deadline: deadline()?,
        })
    }

    /// Whether the minutes of a long run are over.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(MonoNs::has_passed)
    }

    /// All before `seed` have been played.
    pub(super) fn done(&self, seed: u64) -> Result<(), String> {
        let Some(number) = &self.number else {
            return Ok(());
        };
        let kept = fs::create_dir_all(dir().join("done"))
            .and_then(|()| fs::write(number, format!("{seed}\n")));
        kept.map_err(|e| format!("{}: {e}", number.display()))
    }

    /// Says how far a long run has come: all before `seed` have been played.
    pub(super) fn say(&self, seed: u64) {
        if self.number.is_some() {
            let (mechanism, all) = (self.mechanism, self.seeds.end);
            println!(
                "random trees through {mechanism}: {} of {all}",
                seed.min(all)
            );
        }
    }
}

/// The same for all tests of this process.
fn deadline() -> Result<Option<MonoNs>, String> {
    static BEGUN: OnceLock<MonoNs> = OnceLock::new();
    let begun = *BEGUN.get_or_init(time::now);
    let minutes = variable("RANDOM_TREES_MINUTES")?;
    Ok(minutes.map(|minutes| begun + Duration::from_secs(minutes.saturating_mul(60))))
}

fn variable(name: &str) -> Result<Option<u64>, String> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or(format!("{name} is {value:?}, and has to be a number"))
}
