//! What can fail between clone and exec. Compiled into the guard's program too.

/// The kinds of steps, in the order of execution; failures name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// `rt_sigaction` and `rt_sigprocmask`.
    Signals = 1,
    /// `sched_setaffinity`.
    Affinity,
    /// write of `0` to `cgroup.procs`.
    JoinCgroup,
    /// write of `0` to `tasks` (v1).
    Tasks,
    /// `setsid`.
    Session,
    /// `setpgid`.
    Group,
    /// `dup2` of the descriptors to keep.
    Descriptors,
    /// `close_range` of all others.
    CloseOthers,
    /// `setrlimit`.
    Rlimit,
    /// `umask`.
    Umask,
    /// `setgroups`, `setresgid`, `setresuid`, `capset`.
    Credentials,
    /// `chdir`.
    Dir,
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// fork of the tiny init.
    InitFork,
    /// `PR_SET_PDEATHSIG`.
    DeathSignal,
    /// read of the gate.
    Gate,
    /// `execve` or `execveat`.
    Exec,
    /// One of a launcher's [`Setup`](super::launch::Setup).
    Setup,
    /// `clone3` of the main process by its init.
    Main,
    /// `rt_sigprocmask` of what the caller had.
    Mask,
    /// write to `oom_score_adj`.
    OomScore,
    /// `sched_setattr`.
    Slice,
}

impl Step {
    pub(crate) const ALL: [Self; 22] = [
        Self::Signals,
        Self::Affinity,
        Self::JoinCgroup,
        Self::Tasks,
        Self::Session,
        Self::Group,
        Self::Descriptors,
        Self::CloseOthers,
        Self::Rlimit,
        Self::Umask,
        Self::Credentials,
        Self::Dir,
        Self::NoNewPrivs,
        Self::InitFork,
        Self::DeathSignal,
        Self::Gate,
        Self::Exec,
        Self::Setup,
        Self::Main,
        Self::Mask,
        Self::OomScore,
        Self::Slice,
    ];

    /// The name used in messages and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signals => "rt_sigprocmask",
            Self::Affinity => "sched_setaffinity",
            Self::JoinCgroup => "write cgroup.procs",
            Self::Tasks => "write tasks",
            Self::Session => "setsid",
            Self::Group => "setpgid",
            Self::Descriptors => "dup2",
            Self::CloseOthers => "close_range",
            Self::Rlimit => "setrlimit",
            Self::Umask => "umask",
            Self::Credentials => "setresuid",
            Self::Dir => "chdir",
            Self::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS)",
            Self::InitFork => "fork",
            Self::DeathSignal => "prctl(PR_SET_PDEATHSIG)",
            Self::Gate => "read gate",
            Self::Exec => "execve",
            Self::Setup => "set-up",
            Self::Main => "clone3",
            Self::Mask => "rt_sigprocmask",
            Self::OomScore => "write oom_score_adj",
            Self::Slice => "sched_setattr",
        }
    }
}
