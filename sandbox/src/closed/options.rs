//! What is asked for of a closed run. Each of these options means `--closed`: there is no run that
//! is closed in part.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::cidr::{Cidr, with_port};
use crate::duration::parse_bytes;
use crate::error::Usage;
use crate::opt::{Opt, flag, valued};

/// The options, in the order in which help shows them.
pub const OPTIONS: &[Opt] = &[
    flag(
        "closed",
        None,
        "A root of its own, no network, no privileges; each option below means it",
    ),
    Opt {
        values: Preset::NAMES,
        ..valued(
            "preset",
            "PRESET",
            "What kind of program it is: agent (default), judge, or build (which may trace)",
        )
    },
    valued(
        "ro",
        "PATH",
        "Show this file or directory, read-only; may be given again",
    ),
    valued(
        "rw",
        "PATH",
        "Show this directory and let it be written to; may be given again",
    ),
    valued(
        "tmpfs",
        "PATH",
        "An empty directory that vanishes; may be given again",
    ),
    valued(
        "overlay",
        "PATH",
        "Show this directory and let it be written to, in memory; may be given again",
    ),
    valued(
        "include",
        "PATH[=DEST]",
        "Copy this into the private files before the start; may be given again",
    ),
    valued(
        "keep",
        "PATH=DEST",
        "Copy this private file or directory out when all is over; may be given again",
    ),
    flag(
        "host-root",
        None,
        "Show the host's whole tree read-only, but for /tmp, /run, /dev and the home",
    ),
    flag(
        "no-cwd",
        None,
        "Do not show the working directory, which is read-only otherwise",
    ),
    valued(
        "space",
        "BYTES",
        "How much its private files may take, all together (1G)",
    ),
    valued(
        "env",
        "NAME[=VALUE]",
        "Pass on this variable, or set it; may be given again",
    ),
    valued(
        "seccomp",
        "FILE",
        "A further filter of system calls, as seccomp_export_bpf(3) writes it",
    ),
    valued(
        "selinux-type",
        "TYPE",
        "Execute it in this SELinux type, with two categories of its own",
    ),
    valued(
        "selinux-level",
        "LEVEL",
        "Execute it at this SELinux level, such as s0:c1,c2",
    ),
    Opt {
        values: Net::NAMES,
        ..valued(
            "net",
            "NETWORK",
            "none: a loopback of its own (default); public: the Internet alone; host: the host's",
        )
    },
    flag(
        "no-dns",
        None,
        "With --net public: not even the resolvers of /etc/resolv.conf",
    ),
    flag(
        "explain",
        None,
        "Say in the end what was refused, by which lock, and which option would allow it (slow)",
    ),
    valued(
        "allow-net",
        "CIDR[:PORT]",
        "With --net public: this too; may be given again",
    ),
    valued(
        "deny-net",
        "CIDR",
        "With --net public: not this; may be given again",
    ),
];

/// What a path is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As on the host, read-only.
    ReadOnly,
    /// As on the host; what is written stays.
    Writable,
    /// Empty; what is written vanishes.
    Scratch,
    /// As on the host; what is written vanishes.
    Overlay,
}

/// What kind of program it is, and so what it may do beyond the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preset {
    /// Works on a directory for somebody: what would be run later outside of it stays read-only.
    #[default]
    Agent,
    /// Solves a task by itself: no sockets but UNIX ones.
    Judge,
    /// Compiles and tests: it may trace its own processes.
    Build,
}

impl Preset {
    /// Their names.
    pub const NAMES: &[&str] = &["agent", "judge", "build"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Judge => "judge",
            Self::Build => "build",
        }
    }
}

/// Which network it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Net {
    /// A loopback of its own.
    #[default]
    None,
    /// The Internet, and nothing of the host and its neighbours.
    Public,
    /// The host's.
    Host,
}

impl Net {
    /// Their names.
    pub const NAMES: &[&str] = &["none", "public", "host"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Public => "public",
            Self::Host => "host",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Closed {
    /// `--preset`.
    pub preset: Preset,
    /// `--ro`, `--rw` and `--tmpfs`, in their order.
    pub shown: Vec<(Kind, PathBuf)>,
    /// `--include`, with where.
    pub include: Vec<(PathBuf, PathBuf)>,
    /// `--keep`, with where.
    pub keep: Vec<(PathBuf, PathBuf)>,
    /// `--host-root`.
    pub host_root: bool,
    /// `--no-cwd`.
    pub no_cwd: bool,
    /// `--space`, in bytes.
    pub space: Option<u64>,
    /// `--env`, in their order.
    pub env: Vec<OsString>,
    /// `--net`.
    pub net: Net,
    /// `--no-dns`.
    pub no_dns: bool,
    /// `--allow-net`, each a prefix and perhaps a port.
    pub allow_net: Vec<String>,
    /// `--deny-net`, each a prefix.
    pub deny_net: Vec<String>,
    /// `--seccomp`.
    pub seccomp: Option<PathBuf>,
    /// `--selinux-type`.
    pub selinux_type: Option<String>,
    /// `--selinux-level`.
    pub selinux_level: Option<String>,
    /// `--explain`.
    pub explain: bool,
}

impl Closed {
    /// Sets the option of this name. `None`: the value makes no sense.
    pub fn set(&mut self, name: &str, value: &OsStr) -> Option<()> {
        let mut show = |kind| {
            let path = PathBuf::from(value);
            (!value.is_empty()).then(|| self.shown.push((kind, path)))
        };
        match name {
            "closed" => Some(()),
            "ro" => show(Kind::ReadOnly),
            "rw" => show(Kind::Writable),
            "tmpfs" => show(Kind::Scratch),
            "overlay" => show(Kind::Overlay),
            "seccomp" => {
                self.seccomp = Some(value.into());
                (!value.is_empty()).then_some(())
            }
            "include" => {
                let (path, dest) = pair(value).or_else(|| Some((value.into(), value.into())))?;
                let dest = std::path::absolute(dest).ok()?;
                (!value.is_empty()).then(|| self.include.push((path, dest)))
            }
            "keep" => {
                let (path, dest) = pair(value)?;
                self.keep.push((std::path::absolute(path).ok()?, dest));
                Some(())
            }
            "host-root" => {
                self.host_root = true;
                Some(())
            }
            "selinux-type" => {
                self.selinux_type = Some(word(value, "")?);
                Some(())
            }
            "selinux-level" => {
                self.selinux_level = Some(word(value, ":,.-")?);
                Some(())
            }
            "explain" => {
                self.explain = true;
                Some(())
            }
            "no-cwd" => {
                self.no_cwd = true;
                Some(())
            }
            "space" => {
                // Less would not hold the directories.
                let bytes = parse_bytes(value.to_str()?).filter(|bytes| *bytes >= 1 << 16)?;
                self.space = Some(bytes);
                Some(())
            }
            "env" => {
                let bytes = value.as_bytes();
                let named = !bytes.is_empty() && !bytes.starts_with(b"=");
                named.then(|| self.env.push(value.to_owned()))
            }
            "preset" => {
                self.preset = match value.to_str()? {
                    "agent" => Preset::Agent,
                    "judge" => Preset::Judge,
                    "build" => Preset::Build,
                    _ => return None,
                };
                Some(())
            }
            "no-dns" => {
                self.no_dns = true;
                Some(())
            }
            "allow-net" => {
                let text = value.to_str()?;
                with_port(text)?;
                self.allow_net.push(text.to_owned());
                Some(())
            }
            "deny-net" => {
                let text = value.to_str()?;
                Cidr::parse(text)?;
                self.deny_net.push(text.to_owned());
                Some(())
            }
            "net" => {
                self.net = match value.to_str()? {
                    "none" => Net::None,
                    "public" => Net::Public,
                    "host" => Net::Host,
                    _ => return None,
                };
                Some(())
            }
            _ => None,
        }
    }

    /// What contradicts itself.
    pub fn check(&self) -> Result<(), Usage> {
        let further = [
            ("no-dns", self.no_dns),
            ("allow-net", !self.allow_net.is_empty()),
            ("deny-net", !self.deny_net.is_empty()),
        ];
        for (option, given) in further {
            if given && self.net != Net::Public {
                let without = "--net public";
                return Err(Usage::Pointless { option, without });
            }
        }
        if self.preset == Preset::Judge && self.net != Net::None {
            return Err(Usage::Contradiction("preset", "net"));
        }
        Ok(())
    }
}

/// A part of a context: letters, digits and `_`, and what else belongs to it.
fn word(value: &OsStr, further: &str) -> Option<String> {
    let text = value.to_str()?;
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || further.contains(c);
    (!text.is_empty() && text.chars().all(belongs)).then(|| text.to_owned())
}

/// `PATH=DEST`.
fn pair(value: &OsStr) -> Option<(PathBuf, PathBuf)> {
    let bytes = value.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (path, dest) = (&bytes[..at], &bytes[at + 1..]);
    let path_of = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
    (!path.is_empty() && !dest.is_empty()).then(|| (path_of(path), path_of(dest)))
}
