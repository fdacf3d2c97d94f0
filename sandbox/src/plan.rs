//! From what is asked for to the steps that are made: pure but for one look at where this process
//! is in the cgroup hierarchies.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use allgone::SysError;
use allgone::sys::spawn::Credentials;
use allgone::sys::spawn::launch::{
    File, Hold, Instruction, Launch, Need, Orders, Rlimit, Setup, namespaces, refusing_untraced,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::Resource;

use crate::closed::Ground;
use crate::error::RunError;
use crate::grouplimits::GroupLimits;
use crate::options::{Hosted, Options};
use crate::place::{self, Above, Place};
use crate::tier::Tier;

/// Steps in their order.
pub(crate) type Steps<'a> = Vec<(Setup<'a>, Need)>;

/// What is borrowed from a plan to launch it.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    before: Steps<'a>,
    after: Steps<'a>,
    groups: Vec<(BorrowedFd<'a>, &'a CStr)>,
    pub(crate) lifts: Vec<File<'a>>,
}

/// Everything that the steps need, owned.
#[derive(Debug)]
pub struct Plan {
    /// What the promises rest on.
    pub tier: Tier,
    /// What ends the cgroup, by its path below the directory above.
    kill: CString,
    /// Namespaces of init.
    pub namespaces: u64,
    /// Further ones of main.
    pub main_namespaces: u64,
    /// Where the cgroup is made, or why there is none.
    pub place: Result<Place, String>,
    /// Where the program may be.
    pub paths: Vec<CString>,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// Its environment, if it is not this process's; then it also has a session of its own.
    envp: Option<Vec<CString>>,
    user: Option<Credentials>,
    maps: Option<(CString, CString)>,
    private: bool,
    cpu_time: bool,
    /// Whether it may not run without a cgroup.
    needs_cgroup: bool,
    limits: Vec<(&'static str, Rlimit)>,
    /// Limits on all of it.
    pub group_limits: GroupLimits,
    /// What keeps a traced tree whole.
    filter: Vec<Instruction>,
    /// What closes the program off, if anything does.
    pub(crate) closed: Option<Ground>,
}

impl Plan {
    /// Looks where a cgroup may be made, and decides.
    pub fn of(options: &Options, tier: Tier) -> Result<Self, RunError> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let traced = tier == Tier::Traced;
        let namespaced = tier == Tier::Namespace;
        let closed = options.closed.as_ref();
        let private = !options.bare && namespaced && closed.is_none();
        let mut flags = if namespaced { namespaces::PID } else { 0 };
        let mut maps = None;
        if !uid.is_root() && namespaced {
            flags |= namespaces::USER;
            maps = Some((
                text(format!("{uid} {uid} 1"))?,
                text(format!("{gid} {gid} 1"))?,
            ));
        }
        if private {
            flags |= namespaces::MOUNT | namespaces::IPC | namespaces::UTS;
        }
        let paths = paths(
            options
                .program
                .first()
                .map(OsString::as_os_str)
                .unwrap_or_default(),
            path_of(options.hosted.as_ref()),
        )?;
        let closed = closed
            .map(|closed| {
                let (user, memory) = (options.user, options.memory);
                Ground::of(closed, &paths, user, memory, options.best_effort, tier)
            })
            .transpose()?;
        flags |= closed.as_ref().map_or(0, Ground::namespaces);
        let filter = if traced {
            refusing_untraced().map_err(|e| SysError::plain("make a filter for this machine", e))?
        } else {
            Vec::new()
        };
        // A tracer counts by itself.
        let needs_cgroup = options.cpu_time.is_some() && !options.best_effort && !traced;
        let name = place::name();
        let (place, group_limits) = if traced {
            let none = "none is made in this tier";
            let limits = GroupLimits::none(options, "it needs a cgroup")?;
            (Err(none.to_owned()), limits)
        } else {
            let layout = place::layout();
            let place = place::place(&layout, &name, &options.cgroup);
            let limits = GroupLimits::of(options, &layout, &place, &name)?;
            (place, limits)
        };
        let asked_for = tier == Tier::Cgroup || options.cgroup != Above::Own;
        let of_network = closed.as_ref().is_some_and(Ground::needs_cgroup);
        let needs_cgroup = needs_cgroup || of_network || asked_for;
        if let (Err(why), true) = (&place, asked_for) {
            return Err(RunError::NoCgroup(why.clone()));
        }
        if let (Err(why), true) = (&place, needs_cgroup) {
            let option = if of_network { "net public" } else { "cpu-time" };
            let why = format!("it needs a cgroup: {why}");
            return Err(RunError::Limit { option, why });
        }
        let limits = [
            ("fsize", Resource::RLIMIT_FSIZE, options.fsize),
            ("nofile", Resource::RLIMIT_NOFILE, options.nofile),
        ];
        Ok(Self {
            tier,
            kill: text([name.to_bytes(), b"/cgroup.kill"].concat())?,
            namespaces: flags,
            main_namespaces: if private || (closed.is_some() && namespaced) {
                namespaces::CGROUP
            } else {
                0
            },
            place,
            paths,
            argv: options
                .program
                .iter()
                .map(|word| text(word.as_bytes().to_vec()))
                .collect::<Result<_, _>>()?,
            envp: options.hosted.as_ref().map(|hosted| hosted.env.clone()),
            // A closed run changes the user as the last but one thing that takes a privilege.
            user: options.user.filter(|_| closed.is_none()),
            maps,
            private,
            cpu_time: options.cpu_time.is_some(),
            needs_cgroup,
            limits: limits
                .into_iter()
                .filter_map(|(name, resource, value)| {
                    let (soft, hard) = (value?, value?);
                    let limit = Rlimit {
                        resource,
                        soft,
                        hard,
                    };
                    Some((name, limit))
                })
                .collect(),
            group_limits,
            filter,
            closed,
        })
    }

    /// What init does before it makes the main process.
    pub fn before(&self) -> Vec<(Setup<'_>, Need)> {
        let mut steps = Vec::with_capacity(16);
        steps.extend(self.closed.iter().flat_map(Ground::first));
        let write = |path, text| (Setup::Write { path, text }, Need::Required);
        if let Some((users, groups)) = &self.maps {
            steps.extend([
                write(c"/proc/self/setgroups", c"deny"),
                write(c"/proc/self/uid_map", users),
                write(c"/proc/self/gid_map", groups),
            ]);
        }
        if self.tier == Tier::Traced {
            // A tracer has nothing to take away, and the kernel kills its tracees with it.
            let steps = [
                Setup::DeathSignal(libc::SIGKILL),
                Setup::Subreaper,
                Setup::Dumpable,
            ];
            return steps.map(|step| (step, Need::Required)).into();
        }
        // Not SIGKILL: init ends everything when the launcher is gone, and takes the cgroup away.
        // The signal wakes it if something has stopped it.
        steps.push((Setup::DeathSignal(libc::SIGCONT), Need::Required));
        steps.push((Setup::NotDumpable, Need::Required));
        if self.tier == Tier::Cgroup {
            steps.push((Setup::Subreaper, Need::Required));
        }
        if let Ok(place) = &self.place {
            let (parent, name) = (place.parent.as_fd(), place.name.as_c_str());
            let need = self.cgroup_need();
            steps.push((Setup::MakeCgroup { parent, name }, need));
            steps.push((Setup::OpenCgroup { parent, name }, need));
            if let (Tier::Cgroup, Some(kill)) = (self.tier, self.kill()) {
                steps.push((Setup::Needs(kill), need));
            }
            if self.cpu_time {
                steps.push((Setup::OpenCpuStat, need));
            }
        }
        steps.extend(self.group_limits.before(&self.place));
        if self.private {
            steps.extend(private_mounts());
        }
        steps.extend(self.closed.iter().flat_map(Ground::before));
        steps
    }

    /// What the main process does before exec.
    pub fn after(&self) -> Vec<(Setup<'_>, Need)> {
        let limits = self.limits.iter();
        let limit = |(_, limit): &(&str, Rlimit)| (Setup::Limit(*limit), Need::Required);
        let mut steps: Steps<'_> = self.group_limits.after().collect();
        steps.extend(limits.map(limit));
        if self.envp.is_some() {
            steps.push((Setup::Session, Need::Required));
        }
        // After all that needs the caller's privileges.
        steps.extend(self.user.map(|user| (Setup::User(user), Need::Required)));
        if self.tier == Tier::Traced {
            let keep = [Setup::NoNewPrivs, Setup::Filter(&self.filter)];
            steps.extend(keep.map(|step| (step, Need::Required)));
        }
        steps.extend(self.closed.iter().flat_map(Ground::after));
        steps
    }

    /// The program's environment, if it is not this process's.
    fn envp(&self) -> Option<&[CString]> {
        let closed = self.closed.as_ref().map(Ground::env);
        closed.or(self.envp.as_deref())
    }

    /// What ends all that is in the cgroup.
    pub(crate) fn kill(&self) -> Option<File<'_>> {
        let place = self.place.as_ref().ok()?;
        Some(File {
            dir: place.parent.as_fd(),
            path: &self.kill,
            text: c"1",
        })
    }

    /// Removes what launchers have left that were killed with their init.
    pub(crate) fn sweep(&self) {
        if let Ok(place) = &self.place {
            place::sweep(place.parent.as_fd(), &place.parent_path);
        }
        self.group_limits.sweep();
    }

    /// What [`Plan::launch`] borrows.
    pub(crate) fn prepare(&self) -> Prepared<'_> {
        Prepared {
            before: self.before(),
            after: self.after(),
            groups: self.group_limits.groups(),
            lifts: self.group_limits.lifts(&self.place),
        }
    }

    /// All that is started.
    pub(crate) fn launch<'a>(
        &'a self,
        steps: &'a Prepared<'a>,
        mask: u64,
        signals: BorrowedFd<'a>,
        orders: Orders,
    ) -> Launch<'a> {
        Launch {
            hold: match (self.tier, self.kill()) {
                (Tier::Cgroup, Some(kill)) => Hold::Cgroup(kill),
                (Tier::Traced, _) => Hold::Trace,
                (Tier::Namespace | Tier::Cgroup, kill) => Hold::Namespace(kill),
            },
            flags: self.namespaces,
            main_flags: self.main_namespaces,
            before: &steps.before,
            after: &steps.after,
            paths: &self.paths,
            argv: &self.argv,
            envp: self.envp(),
            mask,
            signals,
            cgroup: self.cgroup(),
            cgroup_need: self.cgroup_need(),
            groups: &steps.groups,
            memory: self.group_limits.memory(&self.place),
            lifts: &steps.lifts,
            held: [None; 2],
            orders,
        }
    }

    /// The limits that main sets for itself.
    pub fn limit_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.limits.iter().map(|(name, ..)| *name)
    }

    /// Whether it may run outside of a cgroup.
    pub fn cgroup_need(&self) -> Need {
        if self.needs_cgroup {
            Need::Required
        } else {
            Need::Optional
        }
    }

    /// Directory and name of the cgroup.
    pub fn cgroup(&self) -> Option<(BorrowedFd<'_>, &CStr)> {
        let place = self.place.as_ref().ok()?;
        Some((place.parent.as_fd(), &place.name))
    }
}

/// A /proc that shows the namespace, and a /tmp that vanishes with it.
fn private_mounts() -> [(Setup<'static>, Need); 3] {
    const PROTECT: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV;
    let mount = |source, target, kind, flags, options| {
        let mount = Setup::Mount {
            source,
            target,
            kind,
            flags,
            options,
        };
        (mount, Need::Required)
    };
    let alone = libc::MS_REC | libc::MS_PRIVATE;
    [
        mount(c"none", c"/", None, alone, None),
        mount(
            c"proc",
            c"/proc",
            Some(c"proc"),
            PROTECT | libc::MS_NOEXEC,
            None,
        ),
        mount(
            c"tmpfs",
            c"/tmp",
            Some(c"tmpfs"),
            PROTECT,
            Some(c"mode=1777"),
        ),
    ]
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, RunError> {
    CString::new(bytes).map_err(|_| {
        RunError::Sys(SysError::plain(
            "pass on an argument with a zero byte",
            Errno::EINVAL,
        ))
    })
}

/// The `PATH` of the program's environment.
fn path_of(hosted: Option<&Hosted>) -> Option<OsString> {
    let Some(hosted) = hosted else {
        return std::env::var_os("PATH");
    };
    let mut variables = hosted.env.iter().map(|variable| variable.to_bytes());
    let path = variables.find_map(|variable| variable.strip_prefix(b"PATH="))?;
    Some(OsStr::from_bytes(path).to_owned())
}

/// Where a program of this name may be: `PATH` is for names without a slash.
fn paths(name: &OsStr, path: Option<OsString>) -> Result<Vec<CString>, RunError> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![text(name.as_bytes())?]);
    }
    let path = path.unwrap_or_else(|| "/bin:/usr/bin".into());
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| {
            let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
            text([dir, b"/", name.as_bytes()].concat())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_searched_for() {
        let found = paths(OsStr::new("./x"), None).unwrap();
        assert_eq!(found, [c"./x".to_owned()]);
        let found = paths(OsStr::new("sh"), None).unwrap();
        assert!(found.iter().all(|path| path.to_bytes().ends_with(b"/sh")));
    }
}
