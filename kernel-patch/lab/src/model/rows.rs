//! The configurations: each barrier, wake-up and guard is taken away in turn.

/// What must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// No counter-example in the whole state space.
    None,
    /// A counter-example.
    Found,
}

/// One configuration of the model.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is searched, for the table.
    pub what: &'static str,
    /// Preprocessor switches, separated by blanks.
    pub with: &'static str,
    /// The kinds of the two watchers.
    pub watchers: [&'static str; 2],
    /// What is asserted: `PROP_...`, or `HANG`, which asserts nothing but that each process ends.
    pub property: &'static str,
    /// What must come.
    pub expected: Expected,
    /// Whether the shortest counter-example is looked for.
    pub shortest: bool,
}

impl Row {
    /// The preprocessor's arguments.
    #[must_use]
    pub fn switches(&self) -> Vec<String> {
        let [first, second] = self.watchers;
        let mut all: Vec<String> = self
            .with
            .split_whitespace()
            .map(|s| format!("-D{s}"))
            .collect();
        all.extend([
            format!("-DPROP_{}", self.property),
            format!("-DW0={first}"),
            format!("-DW1={second}"),
        ]);
        all
    }

    /// Whether it has millions of states: two watchers, all interleavings.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.expected == Expected::None && self.watchers[1] != "NONE"
    }

    /// Whether a process that waits for ever isn't what this one is after: where an assertion must
    /// be violated, a hang doesn't count.
    #[must_use]
    pub fn ignores_hangs(&self) -> bool {
        self.expected == Expected::Found && self.property != "HANG"
    }
}

/// The configuration with this name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

const fn none(
    name: &'static str,
    what: &'static str,
    with: &'static str,
    watchers: [&'static str; 2],
    property: &'static str,
) -> Row {
    Row {
        name,
        what,
        with,
        watchers,
        property,
        expected: Expected::None,
        shortest: false,
    }
}

const fn found(
    name: &'static str,
    what: &'static str,
    with: &'static str,
    watchers: [&'static str; 2],
    property: &'static str,
) -> Row {
    Row {
        expected: Expected::Found,
        ..none(name, what, with, watchers, property)
    }
}

const N: [&str; 2] = ["NONE", "NONE"];
const POLL: [&str; 2] = ["POLL", "NONE"];
const EXCLUSIVE: [&str; 2] = ["EXCLUSIVE", "EXCLUSIVE"];
const OPEN: [&str; 2] = ["INOTIFY_OPEN", "NONE"];
const PATH: [&str; 2] = ["INOTIFY_PATH", "NONE"];

/// All of them.
#[rustfmt::skip]
pub const ROWS: [Row; 62] = [
    Row { shortest: true, ..found("base-end", "base: asleep, and believes that the job runs",
        "REPLAYABLE", POLL, "END") },
    found("base-poll", "base: poll",
        "", POLL, "LOST"),
    found("base-exclusive", "base: two exclusive epolls",
        "", EXCLUSIVE, "LOST"),
    found("base-inotify-open", "base: inotify, file held open",
        "", OPEN, "LOST"),
    found("base-inotify-path", "base: inotify, file opened for each read",
        "", PATH, "LOST"),
    found("base-timer", "base: timer of a file that is gone",
        "", POLL, "TIMER"),
    found("base-late", "base: the first end in an interval is held back",
        "", POLL, "LATE"),
    none("base-kept-poll", "base, never removed: poll",
        "NO_RMDIR", POLL, "LOST"),
    none("base-kept-inotify", "base, never removed: inotify",
        "NO_RMDIR", OPEN, "LOST"),
    none("poll", "patched: poll",
        "PATCH1 PATCH5 PATCH6 PATCH8", POLL, "ALL"),
    none("inotify-open", "patched: inotify, file held open",
        "PATCH1 PATCH5 PATCH6 PATCH8", OPEN, "ALL"),
    none("inotify-path", "patched: inotify, file opened for each read",
        "PATCH1 PATCH5 PATCH6 PATCH8", PATH, "ALL"),
    none("late", "patched: the first end in an interval is told at once",
        "PATCH1 PATCH5 PATCH6 PATCH8", POLL, "LATE"),
    none("references", "patched: references on the node",
        "PATCH1 PATCH5 PATCH6 PATCH8", OPEN, "MEMORY"),
    none("v1", "patched: a hierarchy without the file",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_FILE", N, "MEMORY"),
    none("relaxed", "patched: atomic_inc() orders nothing",
        "PATCH1 PATCH5 PATCH6 PATCH8 RELAXED_ATOMIC", POLL, "ALL"),
    none("spurious", "patched: wake-ups that have another reason",
        "PATCH1 PATCH5 PATCH6 PATCH8 SPURIOUS", POLL, "ALL"),
    none("other-file", "patched: a file that patch 6 doesn't serve, poll",
        "PATCH1 PATCH5 PATCH8", POLL, "ALL"),
    none("two-polls", "patched: two polls",
        "PATCH1 PATCH5 PATCH6 PATCH8 COARSE", ["POLL", "POLL"], "ALL"),
    none("two-exclusive", "patched: two exclusive epolls",
        "PATCH1 PATCH5 PATCH6 PATCH8 COARSE", EXCLUSIVE, "ALL"),
    none("poll-inotify", "patched: poll, and inotify with the file open",
        "PATCH1 PATCH5 PATCH6 PATCH8 COARSE", ["POLL", "INOTIFY_OPEN"], "ALL"),
    none("two-inotify", "patched: inotify, with and without the file open",
        "PATCH1 PATCH5 PATCH6 PATCH8 COARSE", ["INOTIFY_OPEN", "INOTIFY_PATH"], "ALL"),
    found("ends-removed", "the search reaches: removed, and known",
        "REACHES_REMOVED PATCH1 PATCH5 PATCH6 PATCH8", POLL, "ALL"),
    found("ends-empty", "the search reaches: empty, kept, and known",
        "REACHES_EMPTY PATCH1 PATCH5 PATCH6 PATCH8", POLL, "ALL"),
    found("no-patch-1", "without patch 1",
        "PATCH5 PATCH6 PATCH8", POLL, "TIMER"),
    found("no-patch-5", "without patch 5",
        "PATCH1 PATCH6 PATCH8", EXCLUSIVE, "LOST"),
    found("no-patch-6", "without patch 6",
        "PATCH1 PATCH5 PATCH8", OPEN, "LOST"),
    found("no-patch-8", "without patch 8",
        "PATCH1 PATCH5 PATCH6", POLL, "LATE"),
    found("no-wake-notify", "kernfs_notify() wakes no poller",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_WAKE_NOTIFY", POLL, "LOST"),
    found("no-event-notify", "kernfs_notify() counts no event",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_EVENT_NOTIFY", POLL, "LOST"),
    found("wake-first", "kernfs_notify() wakes, then counts",
        "PATCH1 PATCH5 PATCH6 PATCH8 WAKE_BEFORE_EVENT", POLL, "LOST"),
    found("no-ttwu", "pollwake() wakes no task",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_TTWU", POLL, "LOST"),
    found("no-work", "kernfs_notify() schedules no work",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_WORK", OPEN, "LOST"),
    found("late-dequeue", "the work leaves the list after fsnotify()",
        "PATCH1 PATCH5 PATCH6 PATCH8 LATE_DEQUEUE", OPEN, "LOST"),
    found("no-wake-drained", "drain wakes no poller",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_WAKE_DRAINED", EXCLUSIVE, "LOST"),
    found("wake-one", "drain wakes one exclusive entry, other file",
        "PATCH1 PATCH5 PATCH8 WAKE_ONE_DRAIN", EXCLUSIVE, "LOST"),
    found("notify-before", "notified before the removal",
        "PATCH1 PATCH5 PATCH6 PATCH8 NOTIFY_BEFORE", OPEN, "LOST"),
    found("no-timer", "held back, and no timer armed",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_TIMER", POLL, "LOST"),
    found("no-wake-drainer", "the last active reference wakes no drain",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_WAKE_DRAINER", POLL, "HANG"),
    found("no-recheck", "cfile->kn isn't read again under the lock",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_RECHECK", POLL, "MEMORY"),
    found("no-file-check", "patch 8 locks before it knows of a file",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_FILE NO_FILE_CHECK", N, "MEMORY"),
    found("no-kept-reference", "patch 6 keeps no reference",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_KEPT_REFERENCE", N, "MEMORY"),
    found("no-queue-reference", "the work's list holds no reference",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_QUEUE_REFERENCE", OPEN, "MEMORY"),
    found("no-bound", "patch 8 exempts every end",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_BOUND", N, "BOUND"),
    found("no-busy-check", "rmdir doesn't look for live tasks",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_BUSY_CHECK", N, "LIVE"),
    found("no-dead-check", "clone3 enters a cgroup that is removed",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_DEAD_CHECK", N, "LIVE"),
    found("read-order", "contents read before of->event is",
        "PATCH1 PATCH5 PATCH6 PATCH8 LOADS_REORDERED", POLL, "LOST"),
    found("no-mb-populated", "smp_mb() of css_update_populated()",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_MB_POPULATED", POLL, "LOST"),
    found("no-mb-sleep", "barrier of set_current_state()",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_MB_SLEEP", POLL, "LOST"),
    found("no-mb-ttwu", "barrier of try_to_wake_up()",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_MB_TTWU", POLL, "LOST"),
    found("no-mb-triggered", "smp_store_mb() of poll",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_MB_TRIGGERED SPURIOUS", POLL, "LOST"),
    found("no-wmb-pollwake", "smp_wmb() of pollwake()",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_WMB_POLLWAKE RELAXED_ATOMIC SPURIOUS", POLL, "LOST"),
    found("queue-unlocked", "queue looked at without lock and barrier",
        "PATCH1 PATCH5 PATCH6 PATCH8 WAITQUEUE_ACTIVE RELAXED_ATOMIC", POLL, "LOST"),
    none("queue-barrier", "... with a barrier",
        "PATCH1 PATCH5 PATCH6 PATCH8 WAITQUEUE_ACTIVE MB_WAKER RELAXED_ATOMIC", POLL, "LOST"),
    found("queue-no-mb-poll", "... and poll_wait() without its own",
        "PATCH1 PATCH5 PATCH6 PATCH8 WAITQUEUE_ACTIVE MB_WAKER RELAXED_ATOMIC NO_MB_POLL_WAIT",
        POLL, "LOST"),
    none("spare-mb-poll", "poll_wait() without its barrier",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_MB_POLL_WAIT RELAXED_ATOMIC", POLL, "LOST"),
    found("no-arm-check", "the timer is armed without a look at cfile->kn",
        "PATCH1 PATCH5 PATCH6 PATCH8 NO_ARM_CHECK", POLL, "TIMER"),
    none("spare-event", "drain counts no event, other file",
        "PATCH1 PATCH5 PATCH8 NO_EVENT_DRAIN", POLL, "LOST"),
    none("spare-wait", "drain doesn't wait, other file",
        "PATCH1 PATCH5 PATCH8 NO_DRAIN_WAIT", POLL, "LOST"),
    none("spare-active", "poll takes no active reference, other file",
        "PATCH1 PATCH5 PATCH8 NO_ACTIVE_CHECK", POLL, "LOST"),
    found("no-event-no-wait", "drain: no event, no wait",
        "PATCH1 PATCH5 PATCH8 NO_EVENT_DRAIN NO_DRAIN_WAIT", POLL, "LOST"),
    found("no-event-no-active", "drain: no event; poll: no reference",
        "PATCH1 PATCH5 PATCH8 NO_EVENT_DRAIN NO_ACTIVE_CHECK", POLL, "LOST"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_are_those_that_search_two_watchers_to_the_end() {
        let large: Vec<&str> = ROWS
            .iter()
            .filter(|row| row.is_large())
            .map(|r| r.name)
            .collect();
        assert_eq!(
            large,
            ["two-polls", "two-exclusive", "poll-inotify", "two-inotify"]
        );
    }

    #[test]
    fn names_are_unique_and_switches_are_those_of_the_model() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../model");
        let model: String = std::fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "pml"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        for (at, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..at].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
            for switch in row.with.split_whitespace() {
                assert!(
                    model.contains(&format!("def {switch}\n"))
                        || model.contains(&format!("def {switch}\t"))
                        || model.contains(&format!("defined({switch})")),
                    "{}: the model has no switch {switch}",
                    row.name
                );
            }
        }
    }
}
