//! Whether anything of the payload lives: asked of the kernel, by a lease.
//!
//! Each trial has its own copy of the payload, and a write lease on a file is refused as long as
//! anything has it open or executes it: in whatever cgroup, namespace or session, as whatever user,
//! with or without descriptors, environment or a first thread. No name, number or list is involved
//! that a payload or a launcher could falsify, and nothing needs to be found.
//!
//! What it could not see: a process that has executed another file. The payloads do not, and
//! [`Oracle::look`] right after "ready" notices a launcher that executes a copy.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use allgone_sys::lease;

use super::Life;

/// The payload of one trial, and who executes it.
#[derive(Debug)]
pub(super) struct Oracle {
    file: File,
    inode: (u64, u64),
}

impl Oracle {
    /// Copies the payload to `path`.
    pub(super) fn place(source: &mut File, path: &Path) -> std::io::Result<Self> {
        let bytes = loaded(source)?;
        let mut copy = File::create(path)?;
        copy.write_all(&bytes)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        drop(copy);
        let file = File::open(path)?;
        let found = file.metadata()?;
        Ok(Self {
            file,
            inode: (found.dev(), found.ino()),
        })
    }

    /// Asks.
    pub(super) fn look(&self) -> Life {
        match lease::is_open_elsewhere(&self.file) {
            Ok(false) => Life::Idle,
            Ok(true) => Life::Alive,
            Err(errno) => Life::Unknown(format!("could not ask for a lease: {errno}")),
        }
    }

    /// Whether a process executes it, as far as `/proc` tells: only to leave it out of a list of
    /// other processes.
    pub(super) fn is_payload(&self, pid: i32) -> bool {
        let found = fs::metadata(format!("/proc/{pid}/exe"));
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.inode)
    }
}

/// What the kernel loads of an executable: everything up to the end of its last segment. Debugging
/// information comes after that, and is ten times as large.
fn loaded(source: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(0))?;
    source.read_to_end(&mut bytes)?;
    if let Some(end) = end_of_segments(&bytes) {
        bytes.truncate(end);
    }
    Ok(bytes)
}

/// For a 64-bit ELF file in the machine's byte order; `None` for anything else.
fn end_of_segments(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize, size: usize| -> Option<usize> {
        let mut wide = [0u8; 8];
        wide.get_mut(..size)?
            .copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut end = 0;
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(size)?)?;
        let segment = number(header + 8, 8)?.checked_add(number(header + 32, 8)?)?;
        end = end.max(segment);
    }
    (end > 0 && end <= bytes.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_copy_without_debugging_information_runs_and_is_seen() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut cat = File::open("/bin/cat").unwrap();
        let path = dir.path().join("cat");
        let oracle = Oracle::place(&mut cat, &path).unwrap();
        assert_eq!(oracle.look(), Life::Idle);
        let mut child = Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(oracle.look(), Life::Alive);
        assert!(oracle.is_payload(i32::try_from(child.id()).unwrap()));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert_eq!(oracle.look(), Life::Idle);
        assert_eq!(end_of_segments(b"#!/bin/sh\n"), None);
    }
}
