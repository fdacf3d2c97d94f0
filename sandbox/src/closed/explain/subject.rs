//! What a stopped task's call is about, read from its memory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

use super::calls::About;

/// A file or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A file, by its path in the sandbox.
    File(PathBuf),
    /// A port of an address.
    Address(SocketAddr),
    /// A UNIX socket without a path.
    Abstract,
    /// Something else, or it cannot be read.
    Unknown,
}

impl Subject {
    /// Of a call with these arguments by a stopped task.
    pub(super) fn of(about: About, pid: Pid, args: [u64; 6]) -> Self {
        let arg = |at: usize| args.get(at).copied().unwrap_or(0);
        let found = match about {
            About::Path { dir, path } => file(pid, dir.map(arg), arg(path)).map(Self::File),
            About::Address { at, length } => address(pid, arg(at), arg(length)),
            About::Message(at) => message(pid, arg(at)),
            About::Nothing => None,
        };
        found.unwrap_or(Self::Unknown)
    }

    /// For the user.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::File(path) => Some(path.to_string_lossy().into_owned()),
            Self::Address(address) => Some(address.to_string()),
            Self::Abstract => Some("an abstract socket".to_owned()),
            Self::Unknown => None,
        }
    }
}

/// Bytes of its memory, as many as there are.
fn memory(pid: Pid, at: u64, most: usize) -> Option<Vec<u8>> {
    let file = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut room = vec![0; most];
    let read = file.read_at(&mut room, at).ok()?;
    room.truncate(read);
    Some(room)
}

fn file(pid: Pid, dir: Option<u64>, at: u64) -> Option<PathBuf> {
    let bytes = memory(pid, at, 4096)?;
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    let path = Path::new(OsStr::from_bytes(bytes));
    if path.as_os_str().is_empty() {
        return None;
    }
    if path.is_absolute() {
        return Some(normal(path));
    }
    // Descriptors are 32 bits of the argument.
    let dir = dir.and_then(|dir| u32::try_from(dir & 0xffff_ffff).ok());
    let number = dir.map_or(libc::AT_FDCWD, u32::cast_signed);
    let link = match number {
        libc::AT_FDCWD => format!("/proc/{pid}/cwd"),
        _ => format!("/proc/{pid}/fd/{number}"),
    };
    Some(normal(&fs::read_link(link).ok()?.join(path)))
}

/// Without `.` and `..`, as far as names can tell.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn message(pid: Pid, at: u64) -> Option<Subject> {
    let header = memory(pid, at, 16)?;
    let name = u64::from_ne_bytes(*header.first_chunk()?);
    let length = u32::from_ne_bytes(*header.get(8..)?.first_chunk()?);
    address(pid, name, length.into())
}

fn address(pid: Pid, at: u64, length: u64) -> Option<Subject> {
    let length = usize::try_from(length).ok()?.min(128);
    parse(&memory(pid, at, length)?)
}

/// A `struct sockaddr`.
fn parse(bytes: &[u8]) -> Option<Subject> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = || Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
    match i32::from(family) {
        libc::AF_INET => {
            let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            let address = IpAddr::from(Ipv4Addr::from(address));
            Some(Subject::Address(SocketAddr::new(address, port()?)))
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let address = IpAddr::from(Ipv6Addr::from(address)).to_canonical();
            Some(Subject::Address(SocketAddr::new(address, port()?)))
        }
        libc::AF_UNIX => {
            let path = bytes.get(2..)?;
            let path = path.split(|byte| *byte == 0).next()?;
            if path.is_empty() {
                return Some(Subject::Abstract);
            }
            Some(Subject::File(normal(Path::new(OsStr::from_bytes(path)))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let text = |bytes: &[u8]| parse(bytes).and_then(|subject| subject.text());
        let family = |family: i32| u16::try_from(family).unwrap().to_ne_bytes();
        let v4 = [&family(libc::AF_INET)[..], &[0, 80, 10, 0, 0, 1], &[0; 8]].concat();
        assert_eq!(text(&v4).as_deref(), Some("10.0.0.1:80"));
        let mapped: Ipv6Addr = "::ffff:10.0.0.1".parse().unwrap();
        let rest = [&[0, 53, 0, 0, 0, 0][..], &mapped.octets(), &[0; 4]].concat();
        let v6 = [&family(libc::AF_INET6)[..], &rest].concat();
        assert_eq!(text(&v6).as_deref(), Some("10.0.0.1:53"));
        let unix = [&family(libc::AF_UNIX)[..], b"/run/x\0rest"].concat();
        assert_eq!(text(&unix).as_deref(), Some("/run/x"));
        let unnamed = [&family(libc::AF_UNIX)[..], b"\0x"].concat();
        assert_eq!(parse(&unnamed), Some(Subject::Abstract));
        assert_eq!(parse(&v4[..5]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn paths_lose_their_dots() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(normal(Path::new("/../x")), Path::new("/x"));
    }
}
