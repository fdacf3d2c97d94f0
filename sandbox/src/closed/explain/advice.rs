//! Which lock a refusal comes from, and which option of the launcher would open it.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use nix::unistd::{AccessFlags, Pid, access};

use super::Denial;
use super::calls::{Call, Changes};
use super::subject::Subject;
use crate::closed::cidr::Cidr;
use crate::closed::options::{Net, Preset};
use crate::closed::tree::{Place, Tree};
use crate::closed::{calls, special};

/// What is known of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Advice {
    /// What refused it.
    pub(crate) lock: &'static str,
    /// What would allow it; `None`: nothing does.
    pub(crate) option: Option<String>,
}

impl Advice {
    fn by(lock: &'static str, option: impl Into<String>) -> Self {
        let option = Some(option.into());
        Self { lock, option }
    }

    fn never(lock: &'static str) -> Self {
        Self { lock, option: None }
    }
}

/// What the run was made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) preset: Preset,
    pub(crate) net: Net,
    /// Whether the launcher is root.
    pub(crate) root: bool,
}

impl World<'_> {
    /// A refusal, if it is one of the sandbox's; `None`: the host would have said the same.
    pub(super) fn denial(
        &self,
        pid: Pid,
        number: u64,
        args: [u64; 6],
        errno: i32,
    ) -> Option<Denial> {
        let call = Call::of(number);
        let (mut name, mut subject) = (call.map(|call| call.name), Subject::Unknown);
        let advice = match (call, errno) {
            (_, libc::EPERM | libc::ENOSYS) if self.is_refused(number).is_some() => {
                let (refused, advice) = self.is_refused(number)?;
                name = name.or(Some(refused));
                Some(advice)
            }
            (Some(call), _) => {
                subject = Subject::of(call.about, pid, args);
                self.of_call(call, args, &subject, errno)
            }
            (None, _) => of_resource("", errno),
        }?;
        Some(Denial {
            call: name.unwrap_or("a system call"),
            subject: subject.text(),
            errno,
            advice,
        })
    }

    /// A call that is refused whatever its arguments.
    fn is_refused(&self, number: u64) -> Option<(&'static str, Advice)> {
        let number = libc::c_long::try_from(number).ok()?;
        let of = |preset| {
            let groups = calls::refused(preset);
            let calls =
                groups.flat_map(|group| group.calls.iter().map(move |call| (call, group.reason)));
            let mut calls = calls.filter(|((_, known), _)| *known == number);
            calls.next().map(|((name, _), reason)| (*name, reason))
        };
        let (name, reason) = of(self.preset)?;
        let advice = match of(Preset::Build) {
            None => Advice::by(reason, "--preset build"),
            Some(_) => Advice::never(reason),
        };
        Some((name.trim_start_matches("SYS_"), advice))
    }

    fn of_call(&self, call: &Call, args: [u64; 6], about: &Subject, errno: i32) -> Option<Advice> {
        let arg = |at: usize| args.get(at).copied().unwrap_or(0);
        let has_bits = |at| arg(at) & u64::from(calls::SET_ID) != 0;
        match (call.name, errno) {
            ("socket", libc::EAFNOSUPPORT) => return Some(self.of_socket(arg(0))),
            ("socket", libc::EPERM) => return Some(Advice::never("it has no privileges")),
            ("clone", libc::EPERM) => return Some(Advice::never("no namespaces of its own")),
            ("ioctl", libc::EPERM) => return Some(Advice::never("no input to its terminal")),
            ("personality", libc::EPERM) => return Some(Advice::never("execution domains")),
            ("prlimit64", libc::EPERM) => return Some(Advice::never("limits of others")),
            ("fchmod" | "chmod", libc::EPERM) if has_bits(1) => return Some(set_id()),
            ("fchmodat" | "fchmodat2", libc::EPERM) if has_bits(2) => return Some(set_id()),
            ("mknod" | "mknodat", libc::EPERM) => return Some(Advice::never("no device nodes")),
            _ => {}
        }
        let advice = match about {
            Subject::File(path) => self.of_file(call, args, path, errno),
            Subject::Address(address) => {
                self.of_address(call.name, address.ip(), address.port(), errno)
            }
            Subject::Abstract if matches!(errno, libc::EPERM | libc::ECONNREFUSED) => {
                Some(Advice::never("abstract sockets are its own"))
            }
            Subject::Abstract | Subject::Unknown => None,
        };
        advice.or_else(|| of_resource(call.name, errno))
    }

    fn of_socket(&self, family: u64) -> Advice {
        let family = u32::try_from(family & 0xffff_ffff).unwrap_or(0);
        let allowed = |preset| calls::families(preset).contains(&family);
        if !allowed(self.preset) && allowed(Preset::Agent) {
            return Advice::by("families of sockets", "--preset agent");
        }
        Advice::never("families of sockets")
    }

    fn of_file(&self, call: &Call, args: [u64; 6], path: &Path, errno: i32) -> Option<Advice> {
        if path.starts_with("/proc") {
            return None;
        }
        let changes = match call.changes {
            Changes::Flags(at) => of_flags(args.get(at).copied().unwrap_or(0)),
            changes => changes,
        };
        let parent = path.parent()?;
        // What has to be writable: as the host has it, for nothing is made there.
        let dir = match changes {
            Changes::File if path.is_dir() => path,
            _ => parent,
        };
        match errno {
            libc::ENOENT | libc::ENOTDIR if !self.tree.is_bound(path) => {
                if changes == Changes::Directory || changes == Changes::File {
                    let there = dir.is_dir() && dir.parent().is_some() && !self.is_private(dir);
                    return there.then(|| self.that_writes("it is not shown", dir, path));
                }
                let there = path.symlink_metadata().is_ok();
                let lock = "it is not shown";
                there.then(|| Advice::by(lock, format!("--ro {}", path.display())))
            }
            libc::EROFS => {
                if self
                    .tree
                    .protected
                    .iter()
                    .any(|kept| path.starts_with(kept))
                {
                    let lock = "something outside may run it later";
                    return Some(Advice::by(lock, "--preset build"));
                }
                Some(self.that_writes("it is shown read-only", dir, path))
            }
            libc::EACCES | libc::EPERM if !self.tree.is_bound(path) => {
                let own = changes != Changes::No && !self.is_private(path);
                let lock = "it is in no private place";
                own.then(|| Advice::by(lock, format!("--tmpfs {}", private(path, changes))))
            }
            // Permissions are looked at before the mount is.
            libc::EACCES if changes != Changes::No && !self.is_writable(path) => {
                Some(self.that_writes("it is shown read-only", dir, path))
            }
            libc::EACCES => self.of_user(path),
            _ => None,
        }
    }

    /// Whether it is below an empty directory of the program's own.
    fn is_private(&self, path: &Path) -> bool {
        matches!(self.tree.nearest(path), Some((_, Place::Scratch(_))))
    }

    /// Whether what is written there stays, or vanishes.
    fn is_writable(&self, path: &Path) -> bool {
        let nearest = self.tree.nearest(path);
        nearest.is_some_and(|(_, place)| {
            !matches!(
                place,
                Place::Bind {
                    writable: false,
                    ..
                }
            )
        })
    }

    /// How a directory of the host becomes writable for a program of this launcher.
    fn that_writes(&self, lock: &'static str, dir: &Path, path: &Path) -> Advice {
        if dir.parent().is_none() {
            return Advice::by(lock, format!("--tmpfs {}", path.display()));
        }
        let facts = dir.metadata();
        let may = if self.root {
            facts.is_ok_and(|facts| facts.uid() != 0 && facts.gid() != 0)
        } else {
            access(dir, AccessFlags::W_OK).is_ok()
        };
        let option = if may { "--rw" } else { "--overlay" };
        Advice::by(lock, format!("{option} {}", dir.display()))
    }

    /// A file that the launcher may read, and the program's user may not.
    fn of_user(&self, path: &Path) -> Option<Advice> {
        if !self.root || access(path, AccessFlags::R_OK).is_err() {
            return None;
        }
        let lock = "its user may not read it";
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(Advice::by(
            lock,
            format!("--include {}=/tmp/{name}", path.display()),
        ))
    }

    fn of_address(&self, call: &str, address: IpAddr, port: u16, errno: i32) -> Option<Advice> {
        let lock = "the network";
        let host = "--net host";
        match (self.net, errno) {
            (Net::None, libc::ECONNREFUSED) if address.is_loopback() => {
                // Of its own loopback, where nothing listens.
                Some(Advice::by(lock, host))
            }
            (Net::None, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL) => {
                let to = if call == "bind" || address.is_loopback() || !self.root {
                    host.to_owned()
                } else if is_special(address) {
                    format!("--net public --allow-net {}", with_port(address, port))
                } else {
                    "--net public".to_owned()
                };
                Some(Advice::by(lock, to))
            }
            (Net::Public, libc::EPERM) if call == "bind" => Some(Advice::by(lock, host)),
            (Net::Public, libc::EPERM) => {
                let to = format!("--allow-net {}", with_port(address, port));
                Some(Advice::by(lock, to))
            }
            _ => None,
        }
    }
}

fn set_id() -> Advice {
    Advice::never("no set-id bits where files stay")
}

/// Limits, whatever the call.
fn of_resource(call: &str, errno: i32) -> Option<Advice> {
    let forks = matches!(call, "clone" | "fork" | "vfork");
    let lock = "a limit";
    match errno {
        libc::ENOSPC => Some(Advice::by(lock, "--space BYTES")),
        libc::EFBIG => Some(Advice::by(lock, "--fsize BYTES")),
        libc::EMFILE => Some(Advice::by(lock, "--nofile N")),
        libc::EAGAIN if forks => Some(Advice::by(lock, "--pids N")),
        _ => None,
    }
}

/// What open(2) changes.
fn of_flags(flags: u64) -> Changes {
    let flags = i32::try_from(flags & 0x7fff_ffff).unwrap_or(0);
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let makes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    if writes || makes {
        Changes::Directory
    } else {
        Changes::No
    }
}

/// The directory that would be a private place: what is made itself, if it may be one.
fn private(path: &Path, changes: Changes) -> String {
    let parent = path.parent().filter(|dir| dir.parent().is_some());
    let dir = match changes {
        Changes::Directory | Changes::File => parent.unwrap_or(path),
        Changes::No | Changes::Flags(_) => path,
    };
    dir.display().to_string()
}

fn is_special(address: IpAddr) -> bool {
    special::refused().any(|cidr| cidr.holds(address))
}

fn with_port(address: IpAddr, port: u16) -> String {
    let Cidr { address, length } = Cidr::host(address);
    match address {
        IpAddr::V4(address) => format!("{address}/{length}:{port}"),
        IpAddr::V6(address) => format!("[{address}]/{length}:{port}"),
    }
}
