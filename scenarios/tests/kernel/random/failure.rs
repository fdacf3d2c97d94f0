//! A tree that is not as expected: made smaller, printed, and kept.

use std::fs;
use std::time::Duration;

use harness::record::{Cause, Outcome, TrialRecord};
use harness::sys::time;
use scenarios::Script;
use scenarios::actor::text::Named;
use scenarios::script::smaller;

use super::Mechanism;
use super::length::dir;

/// How long a tree is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);
/// A failure may be a race: so often a smaller tree is tried.
const TRIES: usize = 5;

/// The trees that were kept for `mechanism`.
pub(super) fn kept(mechanism: &str) -> Result<Vec<Script>, String> {
    let entries = match fs::read_dir(dir()) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| format!("{}: {e}", dir().display()))?,
    };
    let mut scripts = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ours = name
            .strip_prefix(mechanism)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest.ends_with(".script"));
        if ours {
            let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let text = fs::read(&path).map_err(|e| fail(&e))?;
            scripts.push(Named::read(&text).map_err(|e| fail(&e))?.into_script());
        }
    }
    Ok(scripts)
}

/// Everything about a failure, in words.
pub(super) fn explain(mechanism: Mechanism, script: Script, record: &TrialRecord) -> String {
    let smallest = shrink(mechanism, script, (record.outcome, record.cause));
    let record = serde_json::to_string_pretty(record).unwrap_or_else(|e| e.to_string());
    let text = smallest.to_string();
    let path = dir().join(format!("{}.{}.script", mechanism.id(), time::now().0));
    let kept = match fs::create_dir_all(dir()).and_then(|()| fs::write(&path, &text)) {
        Ok(()) => format!("kept as {}", path.display()),
        Err(e) => format!("could not be kept as {}: {e}", path.display()),
    };
    format!("{record}\nthe smallest tree that fails, {kept}:\n{text}")
}

/// The smallest tree found that fails in the same way.
fn shrink(mechanism: Mechanism, script: Script, like: (Outcome, Option<Cause>)) -> Script {
    let enough = time::now() + SHRINKING;
    let mut smallest = script;
    'smaller: loop {
        for candidate in smaller(&smallest) {
            if enough.has_passed() {
                return smallest;
            }
            if !mechanism.takes(&candidate) {
                continue;
            }
            let tries = vec![candidate.clone(); TRIES];
            let failed = mechanism.first_that_fails(&tries);
            let alike = |record: &TrialRecord| (record.outcome, record.cause) == like;
            if matches!(failed, Ok(Some((_, record))) if alike(&record)) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        return smallest;
    }
}
