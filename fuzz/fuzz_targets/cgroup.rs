//! `cgroup.events`, `cgroup.procs`, `/proc/self/mountinfo` and `/proc/self/cgroup`.
#![no_main]

use allgone::cgroup::{parse_events, parse_members};
use allgone::layout::mountinfo::{parse_mountinfo, parse_own};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    if let Ok(text) = std::str::from_utf8(content) {
        // Unknown is never empty: only a text that says so is an empty cgroup.
        if let Some(events) = parse_events(text) {
            assert!(text.contains(if events.populated { "populated 1" } else { "populated 0" }));
        }
        if let Some(members) = parse_members(text) {
            let lines = text.lines().filter(|line| !line.is_empty()).count();
            assert!(members.is_empty() == (lines == 0));
            assert!(members.pids.len() + members.foreign <= lines);
            assert!(members.pids.iter().all(|pid| *pid > 0));
        }
    }
    if let Ok(mounts) = parse_mountinfo(content) {
        for mount in mounts {
            assert!(!mount.read_only() || mount.options.iter().any(|option| option == "ro"));
        }
    }
    if let Ok(own) = parse_own(content) {
        assert!(own.len() <= content.iter().filter(|byte| **byte == b'\n').count() + 1);
    }
});
