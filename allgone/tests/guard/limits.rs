//! Limits in v1 hierarchies: directories that are not below the base. They go with the jobs of a
//! dead host all the same.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use allgone::cgroup::Cgroup;
use allgone::job::{Command, Guarded};
use allgone::limits::LimitSource;
use allgone::sys::time::{now, sleep_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Test;
use crate::base::{Base, PATIENCE, pid_of, until};
use crate::deaths::{ONE_SECOND, host};
use crate::host::say;

pub(crate) const TESTS: &[Test] = &[(
    "directories_of_limits_go_with_a_dead_host",
    directories_of_limits_go_with_a_dead_host,
)];

fn source() -> LimitSource {
    allgone::Base::find().map_or(LimitSource::None, |base| base.limits().clone())
}

/// Whether limits come from v1 hierarchies here.
pub(crate) fn are_v1() -> bool {
    matches!(source(), LimitSource::V1 { .. })
}

/// The hierarchies' directories in which jobs have theirs.
fn places() -> Vec<PathBuf> {
    let LimitSource::V1 { pids, memory, .. } = source() else {
        return Vec::new();
    };
    let all = std::iter::once(pids).chain(memory);
    all.map(|dir| dir.path).collect()
}

/// The life of the host: two jobs with limits, until it is killed.
pub(crate) fn limited(base: &Cgroup, name: &str) {
    let base = allgone::Base::given(base.try_clone().unwrap(), source(), name.to_owned());
    let guarded = Guarded::start(&base).unwrap();
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").limit_tasks(50).limit_memory(64 << 20);
    let _jobs = [&guarded; 2].map(|place| sleep.spawn(place).unwrap());
    say(&pid_of(guarded.guard()).to_string());
    sleep_until(now() + Duration::from_secs(1000)).unwrap();
}

fn named(place: &Path, prefix: &str) -> usize {
    let entries = std::fs::read_dir(place).unwrap().flatten();
    let its = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
    entries.filter(its).count()
}

fn directories_of_limits_go_with_a_dead_host() {
    for with_its_guard in [false, true] {
        let base = Base::must();
        let name = base.path().file_name().unwrap().to_str().unwrap();
        let mut child = host(&base, &["limited", name]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let guard: i32 = lines.next().unwrap().unwrap().parse().unwrap();
        let places = places();
        assert!(!places.is_empty());
        for place in &places {
            assert_eq!(named(place, name), 2, "{place:?}");
        }
        // The guard first: its second does it then. One that is killed last, when nothing else is
        // left to do, may leave its own cgroup.
        if with_its_guard {
            kill(Pid::from_raw(guard), Signal::SIGKILL).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        base.wait_clear(ONE_SECOND);
        for place in &places {
            let gone = until(PATIENCE, || (named(place, name) == 0).then_some(()));
            assert!(gone.is_some(), "{place:?}");
        }
    }
}
