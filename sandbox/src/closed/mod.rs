//! `--closed`: what the program sees of the host, and what it may do.
//!
//! Each promise is kept by the kernel object that owns the resource: files by a root of its own in
//! a mount namespace, the network by a network namespace, privileges by another user without
//! capabilities, system calls by a filter. Nothing is cleaned up afterwards, because nothing of it
//! is ever the host's.

mod calls;
mod cidr;
mod copyout;
mod env;
pub(crate) mod explain;
mod fallback;
mod filter;
mod idmap;
mod include;
mod keep;
mod locks;
mod neighbours;
pub mod options;
mod owned;
mod public;
mod selinux;
mod special;
mod steps;
mod tree;
mod user;

use std::ffi::{CString, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use allgone::sys::spawn::Credentials;
use allgone::sys::spawn::launch::{LockStep, Need, Setup, namespaces};
use allgone::sys::spawn::results::STEPS;
use nix::unistd::Pid;

use crate::error::RunError;
use crate::tier::Tier;
use explain::{Gate, Tracer, World};
use keep::Keep;
use locks::Locks;
pub use options::{Closed, OPTIONS};
use options::{Net, Preset};
use owned::{Owned, Step, text};
pub(crate) use public::Public;
use selinux::Confinement;
use steps::Builder;
use tree::{Surroundings, Tree};

/// How much private files may take, all together, unless `--space` says otherwise.
const SPACE: u64 = 1 << 30;
/// More steps than a run has besides those about files.
const AROUND: usize = 64;

/// All that makes a run a closed one.
#[derive(Debug)]
pub struct Ground {
    preset: Preset,
    net: Net,
    public: Option<Public>,
    tree: Tree,
    files: Vec<Step>,
    keep: Option<Keep>,
    root: Vec<Step>,
    locks: Locks,
    /// The context of the program.
    selinux: Confinement,
    env: Vec<CString>,
    user: Option<(u32, u32)>,
    /// What of the host is passed in by descriptors.
    inherited: Vec<String>,
    /// What init waits at until it is traced.
    gate: Option<Gate>,
    /// Whether it has namespaces, or Landlock alone.
    namespaced: bool,
}

impl Ground {
    /// Decides all of it. `paths`: where the program may be. `user`: if it is one of one's
    /// choice. `memory`: the limit on that, in bytes.
    ///
    /// Errors: a path that cannot be shown, a descriptor that leads out, no user to become.
    pub(crate) fn of(
        closed: &Closed,
        paths: &[CString],
        user: Option<Credentials>,
        memory: Option<u64>,
        best_effort: bool,
        tier: Tier,
    ) -> Result<Self, RunError> {
        let namespaced = tier == Tier::Namespace;
        if !namespaced {
            fallback::check(closed)?;
        }
        let selinux = Confinement::of(closed, paths, best_effort)?;
        let user = user::of(user)?;
        let public = (closed.net == Net::Public).then(|| Public::of(closed));
        let public = public.transpose()?;
        let inherited = locks::inherited()?;
        let gate = closed.explain.then(Gate::new).transpose();
        let gate = gate.map_err(|e| allgone::SysError::plain("pipe", e))?;
        let cwd = std::env::current_dir().ok();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let home = home.filter(|home| home.is_absolute() && home.parent().is_some());
        let path = |path: &CString| PathBuf::from(OsStr::from_bytes(path.to_bytes()));
        let around = Surroundings {
            cwd,
            home,
            programs: paths.iter().map(path).collect(),
        };
        let tree = Tree::of(closed, &around)?;
        let rules = (!namespaced).then(|| fallback::rules(&tree, closed.net));
        let rules = rules.transpose()?;
        // More than this would not be refused at the limit, but end the program.
        let most = memory.map_or(SPACE, |memory| SPACE.min(memory / 2));
        let space = closed.space.unwrap_or(most);
        let proc = if best_effort {
            Need::Optional
        } else {
            Need::Required
        };
        let mut files = Vec::new();
        if user.is_none() && namespaced {
            let limit = c"/proc/sys/user/max_user_namespaces";
            files.push((Owned::Write(limit, c"0"), Need::Required));
        }
        if closed.net == Net::None && namespaced {
            files.push((Owned::Lock(LockStep::Loopback), Need::Required));
        }
        let mut builder = Builder::new(&tree, user);
        let (mut keep, mut root) = (None, Vec::new());
        if namespaced {
            builder.fill(space, proc, selinux.files())?;
            builder.include(include::of(&closed.include)?)?;
            keep = Keep::of(&closed.keep, |path| builder.location(path), space)?;
            root = builder.root();
            files.extend(builder.steps());
        }
        if files.len() + AROUND > STEPS {
            return Err(RunError::TooMany(files.len()));
        }
        let tmp = Path::new("/tmp");
        let home = around.home.as_deref().unwrap_or(tmp);
        let start = match &around.cwd {
            Some(cwd) if !closed.no_cwd && locks::is_there(&tree, cwd) => cwd,
            _ if namespaced => home,
            // What is in the home is not there to see.
            _ => Path::new("/"),
        };
        let env = env::of(std::env::vars_os(), home, &closed.env);
        let keeps = tree.is_written();
        let start = text(start.as_os_str().as_bytes())?;
        let locks = Locks::of(closed, user, start, keeps, best_effort, rules)?;
        Ok(Self {
            preset: closed.preset,
            net: closed.net,
            public,
            files,
            keep,
            root,
            locks,
            selinux,
            env,
            user,
            inherited,
            gate,
            namespaced,
            tree,
        })
    }

    /// Namespaces of init.
    pub(crate) fn namespaces(&self) -> u64 {
        if !self.namespaced {
            return 0;
        }
        let net = match self.net {
            Net::None => namespaces::NET,
            Net::Public | Net::Host => 0,
        };
        net | namespaces::MOUNT | namespaces::IPC | namespaces::UTS
    }

    /// What it is closed by.
    pub(crate) fn by(&self) -> &'static str {
        if self.namespaced {
            "namespaces"
        } else {
            "landlock"
        }
    }

    /// What init does first of all: later it could not be traced by an ordinary user.
    pub(crate) fn first(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        self.gate.iter().map(Gate::step)
    }

    /// What init does.
    pub(crate) fn before(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        let network = self.public.iter().flat_map(Public::steps);
        let keep = self.keep.iter().map(Keep::step);
        let files = self.files.iter();
        let root = self.root.iter().map(made);
        network.chain(files.map(made)).chain(keep).chain(root)
    }

    /// Whether it takes a cgroup, for the programs on its network.
    pub(crate) fn needs_cgroup(&self) -> bool {
        self.public.is_some()
    }

    /// What is followed while it runs.
    pub(crate) fn public(&self) -> Option<&Public> {
        self.public.as_ref()
    }

    /// Copies out what is to be kept. After the proof.
    pub(crate) fn keep(&self) -> Result<(), RunError> {
        self.keep.as_ref().map_or(Ok(()), Keep::copy)
    }

    /// Traces init and what it starts, if that is asked for. Errors: it cannot be traced.
    pub(crate) fn tracer(&self, init: Pid) -> Result<Option<Tracer<'_>>, RunError> {
        let Some(gate) = &self.gate else {
            return Ok(None);
        };
        let world = World {
            tree: &self.tree,
            preset: self.preset,
            net: self.net,
            root: nix::unistd::geteuid().is_root(),
        };
        let tracer = Tracer::begin(gate, init, world);
        tracer.map(Some).map_err(RunError::Explain)
    }

    /// What main does, last of all.
    pub(crate) fn after(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        // First: under Landlock alone main cannot write in /proc later.
        self.selinux.step().into_iter().chain(self.locks.steps())
    }

    /// What launcher and init hold open until all is over.
    pub(crate) fn held(&self) -> Option<BorrowedFd<'_>> {
        self.selinux.held()
    }

    /// What an exec that failed means in this run.
    pub(crate) fn explained(&self, error: RunError) -> RunError {
        self.selinux.explained(error)
    }

    /// The program's environment.
    pub(crate) fn env(&self) -> &[CString] {
        &self.env
    }

    /// What holds, in lines for the user.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "closed by {}: preset {}, network {}, user {}",
            self.by(),
            self.preset.name(),
            self.net.name(),
            self.user
                .map_or_else(|| "the caller's".to_owned(), |(uid, _)| uid.to_string()),
        )];
        lines.extend(self.tree.describe());
        lines.extend(self.locks.describe());
        lines.extend(self.selinux.describe());
        let names = self.env.iter().filter_map(|line| {
            let line = line.to_bytes();
            let end = line.iter().position(|byte| *byte == b'=')?;
            Some(String::from_utf8_lossy(&line[..end]).into_owned())
        });
        let names: Vec<_> = names.collect();
        lines.push(format!("environment: {:?}", names.join(" ")));
        lines.extend(self.outside());
        lines
    }

    /// What is outside of the promise in this run.
    pub(crate) fn outside(&self) -> Vec<String> {
        let mut lines = self.inherited.clone();
        lines.extend_from_slice(self.selinux.lacks());
        if !self.namespaced {
            lines.extend(fallback::OUTSIDE.iter().map(ToString::to_string));
        }
        let changed =
            |dir: &Path| format!("what is written below {dir:?} stays, and may be run later");
        lines.extend(self.tree.writable().map(changed));
        if self.net == Net::Host {
            lines.push("the host's network, its loopback included".to_owned());
        }
        lines.extend(self.public.iter().flat_map(Public::outside));
        lines
    }
}

fn made((step, need): &Step) -> (Setup<'_>, Need) {
    (step.setup(), *need)
}
