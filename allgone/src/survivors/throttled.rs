//! Out of CPU time: a quota above it is used up, so it cannot even run to exit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Reason;
use super::case::{Case, Finding};
use crate::sys::time::{now, sleep_until};

/// The time between the two reads of `nr_throttled`: more than two of the default periods of 100
/// ms.
const WINDOW: Duration = Duration::from_millis(240);

/// A quota on its cgroup or above, and periods that ended throttled between two reads.
///
/// Sources: Documentation/admin-guide/cgroup-v2.rst: `cpu.max`, `cpu.stat`;
/// Documentation/scheduler/sched-bwc.rst: `cpu.cfs_quota_us`.
pub(super) fn by_quota(case: &Case<'_>) -> Option<Finding> {
    // Only a runnable process can be throttled.
    case.thread_in('R')?;
    let limit = limit_of(case)?;
    let first = counter(&limit.directory)?;
    // A window of measurement, not a synchronisation.
    match sleep_until(now() + WINDOW) {
        Ok(()) | Err(_) => {}
    }
    let second = counter(&limit.directory)?;
    (second > first).then(|| {
        Finding::new(
            Reason::Throttled,
            format!(
                "{} of {} is {}; nr_throttled went from {first} to {second} in {} ms; {}",
                limit.file,
                limit.directory.display(),
                limit.value,
                WINDOW.as_millis(),
                case.pending()
            ),
        )
    })
}

struct Limit {
    directory: PathBuf,
    file: &'static str,
    value: String,
}

fn limit_of(case: &Case<'_>) -> Option<Limit> {
    let v1 = case
        .membership
        .v1("cpu")
        .and_then(|path| case.mounts.v1("cpu", path));
    let v2 = case.membership.v2().and_then(|path| case.mounts.v2(path));
    v1.and_then(|own| nearest(&own, "cpu.cfs_quota_us"))
        .or_else(|| v2.and_then(|own| nearest(&own, "cpu.max")))
}

/// The nearest directory from `own` upwards whose `file` holds a limit.
fn nearest(own: &Path, file: &'static str) -> Option<Limit> {
    own.ancestors().find_map(|dir| {
        let value = std::fs::read_to_string(dir.join(file))
            .ok()?
            .trim()
            .to_owned();
        is_limit(&value).then(|| Limit {
            directory: dir.to_path_buf(),
            file,
            value,
        })
    })
}

/// `-1` (v1) and `max ...` (v2) mean no limit.
fn is_limit(value: &str) -> bool {
    value
        .split_whitespace()
        .next()
        .is_some_and(|quota| quota.parse::<u64>().is_ok())
}

fn counter(directory: &Path) -> Option<u64> {
    nr_throttled(&std::fs::read_to_string(directory.join("cpu.stat")).ok()?)
}

/// The line `nr_throttled` of `cpu.stat`.
fn nr_throttled(content: &str) -> Option<u64> {
    content
        .lines()
        .find_map(|line| line.strip_prefix("nr_throttled "))
        .and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_told_from_their_absence() {
        assert!(is_limit("1000") && is_limit("1000 100000"));
        assert!(!is_limit("-1") && !is_limit("max 100000") && !is_limit(""));
    }

    #[test]
    fn the_counter_is_read() {
        assert_eq!(
            nr_throttled("nr_periods 9\nnr_throttled 7\nthrottled_time 1\n"),
            Some(7)
        );
        assert_eq!(nr_throttled("usage_usec 1\n"), None, "unknown is not zero");
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            prop_assert!(nr_throttled(&text).is_none() || text.contains("nr_throttled "));
            prop_assert!(!is_limit(&text) || text.contains(|c: char| c.is_ascii_digit()));
        }
    }
}
