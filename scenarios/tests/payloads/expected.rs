//! What is expected of a run, and the exceptions, each with its reason.

use harness::trial::Beside;

use super::payload::Payload;

/// A way of launching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Namespace,
    Bare,
    Traced,
    Cgroup,
    /// The first one, closed.
    Closed,
}

impl Tier {
    pub(crate) const ALL: [Self; 5] = [
        Self::Namespace,
        Self::Bare,
        Self::Traced,
        Self::Cgroup,
        Self::Closed,
    ];

    /// Its options.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &["--tier", "namespace"],
            Self::Bare => &["--tier", "namespace", "--bare"],
            Self::Traced => &["--tier", "traced"],
            Self::Cgroup => &["--tier", "cgroup"],
            Self::Closed => &["--tier", "namespace", "--closed"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Bare => "bare",
            Self::Traced => "traced",
            Self::Cgroup => "cgroup",
            Self::Closed => "closed",
        }
    }
}

/// How it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By itself: `--wait all`.
    All,
    /// At the deadline: `--timeout`.
    Deadline,
    /// With its main process, or at the deadline: `--wait main --timeout`.
    Main,
    /// The launcher is killed when the tree is complete.
    Killed,
}

/// Who starts the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "an ordinary user",
        }
    }
}

/// One combination.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) payload: Payload,
    pub(crate) tier: Tier,
    pub(crate) kind: Kind,
    pub(crate) user: User,
}

/// What is to be found after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The exit code of the launcher.
    pub(crate) code: i32,
    /// Whether the launcher is killed: then what is left ends within a second.
    pub(crate) launcher_killed: bool,
    /// Whether cgroups may stay that the program has made beside the launcher's.
    pub(crate) cgroups: bool,
    /// Whether what a process outside has started lives on.
    pub(crate) outsider_lives: bool,
    /// Why it is not as elsewhere.
    pub(crate) why: Option<&'static str>,
}

/// What the launcher ends with when the deadline has ended it.
pub(crate) const TIMED_OUT: i32 = 124;

/// What it ends with when it was killed.
const KILLED: i32 = 128 + 9;
/// What an actor ends with that does not find its own cgroup.
const NO_CGROUP: i32 = scenarios::actor::NO_CGROUP;

impl Case {
    fn killed(&self) -> bool {
        self.kind == Kind::Killed
    }

    pub(crate) fn expected(&self) -> Expected {
        let payload = &self.payload;
        let ends = self.kind != Kind::Deadline || payload.ends;
        let mut expected = Expected {
            code: payload.code.filter(|_| ends).unwrap_or(TIMED_OUT),
            launcher_killed: false,
            cgroups: false,
            outsider_lives: false,
            why: None,
        };
        if self.killed() {
            expected.code = KILLED;
            expected.launcher_killed = true;
        }
        for exception in EXCEPTIONS.iter().filter(|exception| (exception.of)(self)) {
            (exception.change)(&mut expected);
            expected.why = Some(exception.why);
        }
        expected
    }
}

/// A deviation that a tier states.
struct Exception {
    /// Whether it is one for this run.
    of: fn(&Case) -> bool,
    change: fn(&mut Expected),
    why: &'static str,
}

/// All of them. Each is asserted, not skipped.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        of: |case| case.payload.beside == Beside::Broker,
        change: |expected| expected.outsider_lives = true,
        why: "a process that was there before has forked it at the program's request: no tier \
              knows of it",
    },
    Exception {
        of: |case| case.payload.beside == Beside::Joiner && case.tier == Tier::Traced,
        change: |expected| expected.outsider_lives = true,
        why: "a process that was there before has moved into the cgroup in which the launcher is, \
              and this tier has no cgroup",
    },
    Exception {
        of: |case| {
            let own_namespace = matches!(case.tier, Tier::Namespace | Tier::Closed);
            case.payload.own_cgroup && own_namespace
        },
        change: |expected| {
            expected.code = NO_CGROUP;
            expected.launcher_killed = false;
        },
        why: "in a cgroup namespace of its own the program does not find its cgroup in the \
              hierarchy that is mounted; --bare has it",
    },
    Exception {
        of: |case| {
            let id = &case.payload.id;
            let refused = *id == "io-uring-worker" || NEED_NAMESPACES.contains(id);
            refused && case.tier == Tier::Closed
        },
        change: |expected| {
            expected.code = scenarios::actor::REFUSED;
            expected.launcher_killed = false;
        },
        why: "what is closed may make no namespace, no mount and no ring of io_uring",
    },
    Exception {
        of: |case| case.payload.own_cgroup && case.tier == Tier::Traced,
        change: |expected| expected.cgroups = true,
        why: "this tier has no cgroup: what the program makes in its caller's stays, as its files \
              do",
    },
    Exception {
        of: |case| case.payload.id == "placeholder-attacker" && case.tier == Tier::Traced,
        change: |expected| {
            expected.code = KILLED;
            expected.launcher_killed = true;
        },
        why: "it kills the launcher, which is in the same cgroup: that is its own end",
    },
];

/// What an actor ends with in a container, if what its main process does is refused there, and why.
pub(crate) fn refused_in_container(payload: &Payload) -> Option<(i32, &'static str)> {
    let refused = scenarios::actor::REFUSED;
    if payload.id == "io-uring-worker" {
        return Some((refused, "Docker's profile has no io_uring"));
    }
    if payload.own_cgroup {
        return Some((
            NO_CGROUP,
            "no cgroup can be made in a hierarchy that is read-only",
        ));
    }
    NEED_NAMESPACES
        .contains(&payload.id)
        .then_some((refused, "no namespace can be made in a container"))
}

/// Payloads whose main process makes a namespace.
const NEED_NAMESPACES: &[&str] = &["deep-path", "mount-cgroup2", "mount-inside", "nested-pidns"];

/// Scenarios that are no programs by themselves: what they are about is made by the trial that
/// plays them. They are ignored, with this reason.
pub(crate) fn not_alone(id: &str) -> Option<&'static str> {
    let found = NOT_ALONE.iter().find(|(of, _)| *of == id);
    found.map(|(_, why)| *why)
}

const NOT_ALONE: &[(&str, &str)] = &[
    (
        "kernel-leftovers",
        "it leaves objects of the kernel on purpose, which no launcher promises to remove",
    ),
    ("realtime-hog", "a trial allows it a real-time priority"),
    (
        "setuid-child",
        "a trial makes it a set-user-ID copy of its program",
    ),
    (
        "uninterruptible",
        "a trial gives it a pipe that a process outside holds",
    ),
];
