//! `/proc/<pid>/stat`, `status` and `cgroup`: a process chooses its name and its cgroup's.
#![no_main]

use std::path::Path;

use allgone::proc::{Membership, Stat, Status, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    if let Some(stat) = Stat::parse(content) {
        // Whatever the name contains, the fields behind it are those behind its last parenthesis.
        let text = String::from_utf8_lossy(content);
        let behind = text.rsplit_once(')').map(|(_, behind)| behind);
        let mut fields = behind.unwrap_or_default().split_whitespace();
        let state = stat.state.to_string();
        assert_eq!(fields.next(), Some(state.as_str()));
        assert_eq!(fields.next().and_then(|ppid| ppid.parse().ok()), Some(stat.ppid));
    }
    if let Some(status) = Status::parse(content) {
        assert_eq!(Status::parse(content), Some(status));
    }
    if let Some(membership) = Membership::parse(content) {
        for path in membership.v2().into_iter().chain(membership.v1("pids")) {
            assert!(path.starts_with('/') && !path.contains('\n'));
            let climbs = path.split('/').any(|part| part == "..");
            assert_eq!(within(path, Path::new("/")), !climbs);
        }
    }
});
