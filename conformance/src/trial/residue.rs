//! What a launcher leaves besides processes of the payload.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::DIR;

/// Where files are looked for. Of `/run` only what is not a directory counts: programs keep empty
/// ones there for their next run.
const PLACES: [(&str, bool); 4] = [
    ("/tmp", true),
    ("/var/tmp", true),
    ("/dev/shm", true),
    ("/run", false),
];

/// Everything of the kinds that a run can leave, in words.
pub(super) fn snapshot(run_is_own: bool) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (place, directories) in PLACES {
        if place != "/run" || run_is_own {
            let device = fs::metadata(place).map_or(0, |found| found.dev());
            let dir = Path::new(place);
            files(dir, device, directories, 0, &mut all);
        }
    }
    cgroups(Path::new("/sys/fs/cgroup"), 0, &mut all);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines() {
        if let Some(point) = line.split(' ').nth(4) {
            all.insert(format!("mount on {point}"));
        }
    }
    for kind in ["shm", "sem", "msg"] {
        let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let key = line.split_whitespace().nth(1).unwrap_or("?");
            all.insert(format!("System V {kind} {key}"));
        }
    }
    all
}

/// A directory may be as deep as a payload makes it.
const DEPTH: u32 = 6;

/// Other file systems below, such as directories of programs, are not looked into.
fn files(dir: &Path, device: u64, directories: bool, depth: u32, all: &mut BTreeSet<String>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let Ok(found) = entry.metadata() else {
            continue;
        };
        // The trial has made it.
        if path == Path::new(DIR) || found.dev() != device {
            continue;
        }
        let kind = found.file_type();
        if !kind.is_dir() || directories {
            all.insert(format!("file {}", path.display()));
        }
        if kind.is_dir() && depth < DEPTH {
            files(&path, device, directories, depth + 1, all);
        }
    }
}

fn cgroups(dir: &Path, depth: u32, all: &mut BTreeSet<String>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < DEPTH {
            all.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), depth + 1, all);
        }
    }
}
