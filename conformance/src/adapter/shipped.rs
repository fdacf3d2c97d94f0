//! The adapters that are compiled in.

/// Ids and texts, in the order of the ids.
pub const SHIPPED: &[(&str, &str)] = &[
    (
        "allgone-cgroup",
        include_str!("../../adapters/allgone-cgroup.toml"),
    ),
    (
        "allgone-job",
        include_str!("../../adapters/allgone-job.toml"),
    ),
    (
        "allgone-job-kill",
        include_str!("../../adapters/allgone-job-kill.toml"),
    ),
    (
        "allgone-namespace",
        include_str!("../../adapters/allgone-namespace.toml"),
    ),
    (
        "allgone-timeout",
        include_str!("../../adapters/allgone-timeout.toml"),
    ),
    (
        "allgone-traced",
        include_str!("../../adapters/allgone-traced.toml"),
    ),
    (
        "allgone-wait-main",
        include_str!("../../adapters/allgone-wait-main.toml"),
    ),
    ("bare", include_str!("../../adapters/bare.toml")),
    (
        "busybox-timeout",
        include_str!("../../adapters/busybox-timeout.toml"),
    ),
    ("bwrap", include_str!("../../adapters/bwrap.toml")),
    (
        "bwrap-as-pid-1",
        include_str!("../../adapters/bwrap-as-pid-1.toml"),
    ),
    ("bwrap-die", include_str!("../../adapters/bwrap-die.toml")),
    ("bwrap-pid", include_str!("../../adapters/bwrap-pid.toml")),
    (
        "bwrap-pid-die",
        include_str!("../../adapters/bwrap-pid-die.toml"),
    ),
    ("catatonit", include_str!("../../adapters/catatonit.toml")),
    ("chpst", include_str!("../../adapters/chpst.toml")),
    ("chronic", include_str!("../../adapters/chronic.toml")),
    ("crun", include_str!("../../adapters/crun.toml")),
    ("dumb-init", include_str!("../../adapters/dumb-init.toml")),
    ("env-cookie", include_str!("../../adapters/env-cookie.toml")),
    ("execa", include_str!("../../adapters/execa.toml")),
    ("firejail", include_str!("../../adapters/firejail.toml")),
    (
        "lxc-execute",
        include_str!("../../adapters/lxc-execute.toml"),
    ),
    ("make", include_str!("../../adapters/make.toml")),
    (
        "node-exec-file",
        include_str!("../../adapters/node-exec-file.toml"),
    ),
    ("node-spawn", include_str!("../../adapters/node-spawn.toml")),
    ("nsjail", include_str!("../../adapters/nsjail.toml")),
    ("parallel", include_str!("../../adapters/parallel.toml")),
    ("podman", include_str!("../../adapters/podman.toml")),
    ("prlimit", include_str!("../../adapters/prlimit.toml")),
    (
        "python-capture",
        include_str!("../../adapters/python-capture.toml"),
    ),
    (
        "python-killpg",
        include_str!("../../adapters/python-killpg.toml"),
    ),
    (
        "python-subprocess",
        include_str!("../../adapters/python-subprocess.toml"),
    ),
    ("runc", include_str!("../../adapters/runc.toml")),
    ("s6-setsid", include_str!("../../adapters/s6-setsid.toml")),
    ("script", include_str!("../../adapters/script.toml")),
    ("setsid-w", include_str!("../../adapters/setsid-w.toml")),
    (
        "sh-setsid-killpg",
        include_str!("../../adapters/sh-setsid-killpg.toml"),
    ),
    ("sh-trap", include_str!("../../adapters/sh-trap.toml")),
    (
        "start-stop-daemon",
        include_str!("../../adapters/start-stop-daemon.toml"),
    ),
    ("sudo", include_str!("../../adapters/sudo.toml")),
    (
        "systemd-run",
        include_str!("../../adapters/systemd-run.toml"),
    ),
    (
        "systemd-run-scope",
        include_str!("../../adapters/systemd-run-scope.toml"),
    ),
    ("timelimit", include_str!("../../adapters/timelimit.toml")),
    ("timeout", include_str!("../../adapters/timeout.toml")),
    (
        "timeout-foreground",
        include_str!("../../adapters/timeout-foreground.toml"),
    ),
    ("timeout-k", include_str!("../../adapters/timeout-k.toml")),
    ("tini", include_str!("../../adapters/tini.toml")),
    ("tini-g", include_str!("../../adapters/tini-g.toml")),
    (
        "unshare-fork",
        include_str!("../../adapters/unshare-fork.toml"),
    ),
    (
        "unshare-kill-child",
        include_str!("../../adapters/unshare-kill-child.toml"),
    ),
    ("xargs", include_str!("../../adapters/xargs.toml")),
];
