//! Which of the recorded detectors claim to see a whole cgroup.

/// Sorted ids. A test of `harness` compares them with its registry.
const SEE_THE_CGROUP: &[&str] = &[
    "bpf-notify-populated",
    "bpf-sched-exit",
    "cgroup-events-inotify",
    "cgroup-events-io-uring",
    "cgroup-events-mio",
    "cgroup-events-poll",
    "cgroup-events-sleep",
    "cgroup-events-spin",
    "cgroup-kill-poll",
    "cgroup-procs-poll",
    "cgroup-rmdir-probe",
    "fanotify",
    "inotify-delete-self",
    "pidfd+cgroup-events",
    "prepopulated-cgroup",
    "subreaper+cgroup-events",
    "taskstats",
    "tracepoint-notify-populated",
    "v1-event-control",
    "v1-release-agent",
    "v1-release-event-control",
];

/// Whether detector `id` claims to see all members of a cgroup and of its descendants. One that is
/// not known claims nothing.
pub fn sees_the_cgroup(id: &str) -> bool {
    SEE_THE_CGROUP.contains(&id)
}
