//! The kinds of runs whose every boundary is looked at.

/// One kind of run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Whether an ordinary user runs it; a test that is not root is one itself.
    pub(crate) ordinary: bool,
    /// Whether that user may make cgroups.
    pub(crate) delegated: bool,
    pub(crate) options: &'static [&'static str],
    pub(crate) script: &'static str,
    /// Whether main is traced before exec. Where it has init for a tracer it cannot be; there it is
    /// killed from outside at init's boundaries.
    pub(crate) with_main: bool,
    /// Calls that are refused with an error from outside.
    pub(crate) refused: &'static [(nix::libc::c_long, i32)],
    /// Whether all of it has a twentieth of a processor.
    pub(crate) quota: bool,
    /// Whether all of it ends when launcher and init are killed in the same moment.
    pub(crate) bears_both: bool,
}

/// It leaves two that ignore what can be ignored, one of them stopped, and ends.
const LEAVES: &str = "trap '' TERM INT HUP; setsid sleep 1000 & \
                      setsid sh -c 'kill -STOP $$; sleep 1000' & exit 3";
/// The same, and it does not end.
const STAYS: &str = "trap '' TERM INT HUP; setsid sleep 1000 & \
                     setsid sh -c 'kill -STOP $$; sleep 1000' & sleep 1000";
/// It ends, and nothing is left.
const ENDS: &str = "exit 3";

const PLAIN: Kind = Kind {
    name: "",
    ordinary: false,
    delegated: true,
    options: &[],
    script: LEAVES,
    with_main: true,
    refused: &[],
    quota: false,
    bears_both: true,
};

const TRACED: Kind = Kind {
    with_main: false,
    ..PLAIN
};

const CGROUP: Kind = Kind {
    bears_both: false,
    ..PLAIN
};

const NO_CLONE3: &[(nix::libc::c_long, i32)] = &[(nix::libc::SYS_clone3, nix::libc::ENOSYS)];
const NO_MOUNT: &[(nix::libc::c_long, i32)] = &[(nix::libc::SYS_mount, nix::libc::EPERM)];

/// It leaves those, and keeps all processors busy.
const BUSY: &str = "trap '' TERM INT HUP; setsid sleep 1000 & \
                    for i in 1 2 3 4; do while :; do :; done & done; sleep 1000";

/// Kinds in which the launcher is killed at moments of a life that does not end by itself.
pub(crate) const LASTING: &[Kind] = &[
    Kind {
        name: "namespace-lasting",
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "namespace-user-lasting",
        ordinary: true,
        delegated: false,
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "bare-lasting",
        options: &["--bare"],
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "traced-lasting",
        options: &["--tier", "traced"],
        script: STAYS,
        ..TRACED
    },
    Kind {
        name: "traced-user-lasting",
        ordinary: true,
        delegated: false,
        options: &["--tier", "traced"],
        script: STAYS,
        ..TRACED
    },
    Kind {
        name: "cgroup-lasting",
        options: &["--tier", "cgroup"],
        script: STAYS,
        ..CGROUP
    },
];

/// Kinds with little processor time: for the program alone, or for all of a run.
pub(crate) const SLOW: &[Kind] = &[
    Kind {
        name: "cpu-option",
        options: &["--best-effort", "--cpu", "0.05"],
        script: BUSY,
        ..PLAIN
    },
    Kind {
        name: "quota-namespace",
        script: BUSY,
        quota: true,
        ..PLAIN
    },
    Kind {
        name: "quota-traced",
        options: &["--tier", "traced"],
        script: BUSY,
        quota: true,
        ..TRACED
    },
    Kind {
        name: "quota-cgroup",
        options: &["--tier", "cgroup"],
        script: BUSY,
        quota: true,
        ..CGROUP
    },
];

/// Kinds in which launcher or init is stopped. The deadline comes first.
pub(crate) const STOPPED: &[Kind] = &[
    Kind {
        name: "namespace-stopped",
        options: &["-t", "1s"],
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "bare-user-stopped",
        ordinary: true,
        options: &["-t", "1s", "--bare"],
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "traced-stopped",
        options: &["-t", "1s", "--tier", "traced"],
        script: STAYS,
        ..TRACED
    },
    Kind {
        name: "cgroup-stopped",
        options: &["-t", "1s", "--tier", "cgroup"],
        script: STAYS,
        ..CGROUP
    },
];

/// The kind of this name.
pub(crate) fn named(name: &str) -> &'static Kind {
    let all = [KINDS, LASTING, SLOW, STOPPED];
    let mut kinds = all.into_iter().flatten();
    kinds.find(|kind| kind.name == name).unwrap()
}

/// All kinds that are killed at their boundaries.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "namespace",
        options: &["--wait", "main"],
        ..PLAIN
    },
    Kind {
        name: "namespace-ends",
        script: ENDS,
        ..PLAIN
    },
    Kind {
        name: "namespace-deadline",
        options: &["-t", "60ms", "--grace", "20ms"],
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "namespace-user",
        ordinary: true,
        delegated: false,
        options: &["--wait", "main"],
        ..PLAIN
    },
    Kind {
        name: "bare",
        options: &["--bare", "--wait", "main"],
        ..PLAIN
    },
    Kind {
        name: "bare-user",
        ordinary: true,
        options: &["--bare", "-t", "60ms"],
        script: STAYS,
        ..PLAIN
    },
    Kind {
        name: "limits",
        options: &[
            "--best-effort",
            "--pids",
            "50",
            "--memory",
            "1G",
            "--cpu",
            "0.5",
            "--cpu-time",
            "10s",
            "--wait",
            "main",
        ],
        ..PLAIN
    },
    Kind {
        name: "bare-clone3-refused",
        options: &["--bare", "--wait", "main"],
        refused: NO_CLONE3,
        ..PLAIN
    },
    // It begins with the namespace tier, which fails when the cgroup is there, and goes on.
    Kind {
        name: "mount-refused",
        options: &["--wait", "main"],
        refused: NO_MOUNT,
        ..TRACED
    },
    Kind {
        name: "traced",
        options: &["--tier", "traced", "--wait", "main"],
        ..TRACED
    },
    Kind {
        name: "traced-deadline",
        options: &["--tier", "traced", "-t", "60ms", "--grace", "20ms"],
        script: STAYS,
        ..TRACED
    },
    Kind {
        name: "traced-user",
        ordinary: true,
        delegated: false,
        options: &["--tier", "traced", "--wait", "main"],
        ..TRACED
    },
    Kind {
        name: "cgroup",
        options: &["--tier", "cgroup", "--wait", "main"],
        ..CGROUP
    },
    Kind {
        name: "cgroup-user",
        ordinary: true,
        options: &["--tier", "cgroup", "-t", "60ms", "--grace", "20ms"],
        script: STAYS,
        ..CGROUP
    },
    Kind {
        name: "cgroup-clone3-refused",
        options: &["--tier", "cgroup", "--wait", "main"],
        refused: NO_CLONE3,
        ..CGROUP
    },
];
