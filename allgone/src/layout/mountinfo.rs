//! The text formats that say where cgroups are mounted and where a process is. Pure functions; what
//! is not understood is an error.
//!
//! Sources: proc_pid_mountinfo(5), cgroups(7), `cgroup_show_path()` in kernel/cgroup/cgroup.c.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use crate::error::SysError;

/// Which interface a mount of cgroups has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2.
    V2,
    /// cgroup v1, with the controllers mounted there; a named hierarchy has none.
    V1 {
        /// Kernel names, such as `pids`.
        controllers: Vec<String>,
        /// The name of a named hierarchy, such as `systemd`.
        name: Option<String>,
    },
}

/// One mount of a cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The cgroup that is visible there, relative to the reader's cgroup namespace; `/` unless only
    /// a part was mounted.
    pub root: PathBuf,
    /// Which interface it has.
    pub hierarchy: Hierarchy,
    /// Options of mount and file system together, such as `nsdelegate`, `favordynmods`, `ro`.
    pub options: Vec<String>,
}

impl CgroupMount {
    /// Whether nothing can be written through this mount.
    pub fn read_only(&self) -> bool {
        self.options.iter().any(|o| o == "ro")
    }
}

/// A line of `/proc/self/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCgroup {
    /// Number of the hierarchy; 0 is v2.
    pub id: u32,
    /// Controllers of a v1 hierarchy, or its name as `name=systemd`. Empty for v2.
    pub controllers: Vec<String>,
    /// Path relative to the reader's cgroup namespace.
    pub path: PathBuf,
}

/// The text of a file of `/proc` could not be read or understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Not read.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// Not understood.
    #[error("could not understand a line of {file}: {line:?}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// The line.
        line: String,
    },
}

impl From<LayoutError> for SysError {
    /// The kernel's answer; a line that was not understood is `EBADMSG`.
    fn from(e: LayoutError) -> Self {
        match e {
            LayoutError::Sys(e) => e,
            LayoutError::Malformed { file, .. } => Self::path("understand", file, Errno::EBADMSG),
        }
    }
}

/// Parses `/proc/<pid>/mountinfo` and keeps the cgroup mounts. Any other mount is skipped, whatever
/// its line looks like.
pub fn parse_mountinfo(text: &[u8]) -> Result<Vec<CgroupMount>, LayoutError> {
    let lines = text
        .split(|b| *b == b'\n')
        .filter(|line| is_cgroup_line(line));
    lines
        .map(|line| {
            parse_mount_line(line).ok_or_else(|| LayoutError::Malformed {
                file: "/proc/self/mountinfo",
                line: String::from_utf8_lossy(line).into_owned(),
            })
        })
        .collect()
}

fn is_cgroup_line(line: &[u8]) -> bool {
    let mut fields = line.split(|b| *b == b' ').skip_while(|f| *f != b"-");
    matches!(fields.nth(1), Some(b"cgroup" | b"cgroup2"))
}

/// `31 23 0:28 /root /point rw,relatime shared:1 - cgroup2 source rw,nsdelegate`
fn parse_mount_line(line: &[u8]) -> Option<CgroupMount> {
    let mut fields = line.split(|b| *b == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    let mount_options = std::str::from_utf8(fields.next()?).ok()?;
    let mut fields = fields.skip_while(|f| *f != b"-").skip(1);
    let kind = fields.next()?;
    let super_options = std::str::from_utf8(fields.nth(1)?).ok()?;
    let hierarchy = if kind == b"cgroup2" {
        Hierarchy::V2
    } else {
        let name = super_options
            .split(',')
            .find_map(|o| o.strip_prefix("name="));
        Hierarchy::V1 {
            controllers: super_options
                .split(',')
                .filter(|o| is_controller(o))
                .map(str::to_owned)
                .collect(),
            name: name.map(str::to_owned),
        }
    };
    let mut options: Vec<String> = Vec::new();
    for option in mount_options.split(',').chain(super_options.split(',')) {
        if !options.iter().any(|o| o == option) {
            options.push(option.to_owned());
        }
    }
    Some(CgroupMount {
        point,
        root,
        hierarchy,
        options,
    })
}

/// Whether an option of a v1 mount names a controller: it does unless it is one of
/// `cgroup1_show_options()`, kernel/cgroup/cgroup-v1.c.
fn is_controller(option: &str) -> bool {
    let other = [
        "",
        "rw",
        "ro",
        "noprefix",
        "xattr",
        "cpuset_v2_mode",
        "favordynmods",
        "clone_children",
        "none",
        "all",
    ];
    !other.contains(&option) && !option.contains('=')
}

/// Parses `/proc/<pid>/cgroup`.
pub fn parse_own(text: &[u8]) -> Result<Vec<OwnCgroup>, LayoutError> {
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse_own_line(line).ok_or_else(|| LayoutError::Malformed {
                file: "/proc/self/cgroup",
                line: String::from_utf8_lossy(line).into_owned(),
            })
        })
        .collect()
}

fn parse_own_line(line: &[u8]) -> Option<OwnCgroup> {
    // The path may hold colons, the two fields before it cannot.
    let mut fields = line.splitn(3, |b| *b == b':');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let controllers = std::str::from_utf8(fields.next()?).ok()?;
    let path = fields.next().filter(|p| p.starts_with(b"/"))?;
    Some(OwnCgroup {
        id,
        controllers: controllers
            .split(',')
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect(),
        path: PathBuf::from(OsString::from_vec(path.to_vec())),
    })
}

/// Undoes the octal escapes (`\040` for a space) of mountinfo.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(value) => {
                out.push(value);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_understood_is_an_error_and_not_an_absence() {
        for bad in [&b"0:/\n"[..], b"x::/\n", b"0::rel\n", b"0\n"] {
            assert!(parse_own(bad).is_err(), "{bad:?}");
        }
        assert!(parse_mountinfo(b"41 31 0:38 / - cgroup2 cgroup2 rw\n").is_err());
        assert!(parse_mountinfo(b"41 31 0:38 / /x rw - cgroup2\n").is_err());
        assert_eq!(parse_mountinfo(b"garbage\n").unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse_mountinfo(&text).is_ok() || text.contains(&b'-'));
            prop_assert!(parse_own(&text).is_ok() || !text.is_empty());
        }

        #[test]
        fn every_path_survives_the_kernels_escapes(name in "[^\0/\n]{1,20}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' | '\t' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
                c => c.to_string(),
            }).collect();
            let line = format!("1 1 0:1 / /{escaped} rw - cgroup2 none rw\n");
            let mounts = parse_mountinfo(line.as_bytes()).unwrap();
            prop_assert_eq!(&mounts[0].point, &PathBuf::from(format!("/{name}")));
        }
    }
}
