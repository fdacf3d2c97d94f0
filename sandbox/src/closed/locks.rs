//! What main takes away from itself before it becomes the program, in the order in which it can.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use allgone::SysError;
use allgone::sys::landlock::Rules;
use allgone::sys::spawn::Credentials;
use allgone::sys::spawn::launch::{FileStep, Instruction, LockStep, Need, Rlimit, Setup};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{SFlag, fstat};

use super::calls;
use super::filter::{self, compile};
use super::options::{Closed, Net, Preset};
use super::tree::{Place, Tree};
use crate::error::RunError;

/// What main does, with all that it needs.
#[derive(Debug)]
pub(crate) struct Locks {
    preset: Preset,
    user: Option<(u32, u32)>,
    /// The working directory, looked up with the user's rights.
    start: CString,
    core: Rlimit,
    filter: Vec<Instruction>,
    /// A further one. Together they allow what both allow.
    further: Option<Vec<Instruction>>,
    /// Whether Landlock is all that keeps it from abstract sockets.
    scopes: Need,
    /// What closes it off where there are no namespaces.
    rules: Option<Rules>,
    keeps: bool,
}

impl Locks {
    pub(crate) fn of(
        closed: &Closed,
        user: Option<(u32, u32)>,
        start: CString,
        keeps: bool,
        best_effort: bool,
        rules: Option<Rules>,
    ) -> Result<Self, RunError> {
        let unknown = || SysError::plain("make a filter for this machine", Errno::ENOSYS);
        let arch = filter::ARCH.ok_or_else(unknown)?;
        let (_, hard) =
            getrlimit(Resource::RLIMIT_CORE).map_err(|e| SysError::plain("getrlimit", e))?;
        // 1 and not 0: a program that core_pattern pipes to is started for 0 as well, outside of
        // the sandbox and as root (fs/coredump.c). Without privilege it cannot be raised to 1.
        let most = hard.min(1);
        Ok(Self {
            preset: closed.preset,
            user,
            start,
            core: Rlimit {
                resource: Resource::RLIMIT_CORE,
                soft: most,
                hard: most,
            },
            filter: if rules.is_some() {
                let network = closed.net == Net::Host;
                compile(arch, &calls::by_landlock(closed.preset, network))
            } else {
                compile(arch, &calls::decisions(closed.preset, keeps))
            },
            further: closed.seccomp.as_deref().map(filter::read).transpose()?,
            scopes: if closed.net != Net::None && !best_effort {
                Need::Required
            } else {
                Need::Optional
            },
            keeps,
            rules,
        })
    }

    /// In their order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        let lock = |lock| (Setup::Lock(lock), Need::Required);
        let user = self.user.map(|(uid, gid)| {
            let user = Setup::User(Credentials { uid, gid });
            (user, Need::Required)
        });
        // An ordinary user may not, and `no_new_privs` makes it as good as empty.
        let bounding = self.rules.is_none() || self.user.is_some();
        let bounding = bounding.then(|| lock(LockStep::NoBounding));
        let first = [(Setup::Limit(self.core), Need::Required)]
            .into_iter()
            .chain(bounding);
        let scopes = match &self.rules {
            Some(rules) => (Setup::Landlock(rules.as_fd()), Need::Required),
            None => (Setup::Lock(LockStep::Scopes), self.scopes),
        };
        let last = [
            lock(LockStep::NoCapabilities),
            (Setup::Files(FileStep::Enter(&self.start)), Need::Required),
            lock(LockStep::Keyring),
            (Setup::NoNewPrivs, Need::Required),
            scopes,
            lock(LockStep::Descriptors),
            (Setup::Filter(&self.filter), Need::Required),
        ];
        let further = self.further.iter();
        let further = further.map(|filter| (Setup::Filter(filter), Need::Required));
        first.chain(user).chain(last).chain(further)
    }

    /// What is refused, in lines.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let alone = self.rules.iter().flat_map(|_| calls::unseen_by_landlock());
        for group in calls::refused(self.preset).chain(alone) {
            let names = group
                .calls
                .iter()
                .map(|(name, _)| name.trim_start_matches("SYS_"));
            let names: Vec<_> = names.collect();
            lines.push(format!("refused: {} ({})", names.join(" "), group.reason));
        }
        lines.push(
            "refused: clone with new namespaces, prlimit of others; clone3 is unknown".to_owned(),
        );
        lines.push(
            "refused: ioctl TIOCSTI, TIOCLINUX, TIOCSETD; personalities but Linux's".to_owned(),
        );
        lines.push(match self.preset {
            _ if self.rules.is_some() => {
                "sockets: INET and NETLINK_ROUTE with --net host, pairs".to_owned()
            }
            Preset::Judge => "sockets: UNIX".to_owned(),
            Preset::Agent | Preset::Build => "sockets: UNIX, INET, INET6, NETLINK_ROUTE".to_owned(),
        });
        if self.keeps {
            lines.push("refused: set-user-id and set-group-id bits; openat2 is unknown".to_owned());
        }
        lines
    }
}

/// What descriptors 0 to 2 lead to. Errors: one is a directory, from which all of the host's tree
/// could be reached.
pub(crate) fn inherited() -> Result<Vec<String>, RunError> {
    let mut lines = Vec::new();
    for (number, name) in ["standard input", "standard output", "standard error"]
        .iter()
        .enumerate()
    {
        let fd = match number {
            0 => fstat(std::io::stdin()),
            1 => fstat(std::io::stdout()),
            _ => fstat(std::io::stderr()),
        };
        let Ok(facts) = fd else {
            continue;
        };
        let kind = SFlag::from_bits_truncate(facts.st_mode) & SFlag::S_IFMT;
        match kind {
            SFlag::S_IFDIR => return Err(RunError::Directory(name)),
            SFlag::S_IFSOCK => {
                lines.push(format!("{name} is a socket, with whatever answers there"))
            }
            SFlag::S_IFREG => lines.push(format!("{name} is a file of the host")),
            SFlag::S_IFCHR
                if nix::unistd::isatty(std::io::stdin()).unwrap_or(false) && number == 0 =>
            {
                lines.push(
                    "standard input is a terminal: what is written to it, it obeys".to_owned(),
                );
            }
            _ => {}
        }
    }
    Ok(lines)
}

/// Whether the working directory exists in the new root.
pub(crate) fn is_there(tree: &Tree, cwd: &Path) -> bool {
    tree.is_bound(cwd)
        || tree.places.keys().any(|path| path.starts_with(cwd))
        || matches!(tree.places.get(cwd), Some(Place::Scratch(_)))
}
