//! Copying a tree that a hostile program has made.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};

/// How deep directories are followed: each holds two descriptors.
const DEPTH: usize = 64;
/// How many files and directories are copied.
const ENTRIES: usize = 100_000;
/// How many of those that were not are named.
const NAMED: usize = 5;

/// A copy under way, and what of it was refused.
#[derive(Debug)]
pub(crate) struct CopyOut {
    left: u64,
    entries: usize,
    depth: usize,
    /// Where it is.
    at: PathBuf,
    refused: Vec<String>,
    /// Those that are not named.
    more: usize,
}

impl CopyOut {
    /// For so many bytes.
    pub(crate) fn new(left: u64) -> Self {
        Self {
            left,
            entries: ENTRIES,
            depth: 0,
            at: PathBuf::new(),
            refused: Vec::new(),
            more: 0,
        }
    }

    /// How many bytes may still be copied.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// What was not copied, and why not; `None`: all was.
    pub(crate) fn refusals(&self) -> Option<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        let all: Vec<_> = self.refused.iter().cloned().chain(more).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Copies `name` in `from` to `new` in `to`, and all that is below it.
    pub(crate) fn any(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        to: BorrowedFd<'_>,
        new: &OsStr,
    ) {
        self.at.push(Path::new(name));
        if let Err(why) = self.one(from, name, to, new) {
            if self.refused.len() < NAMED {
                self.refused.push(format!("{:?}: {why}", self.at));
            } else {
                self.more += 1;
            }
        }
        self.at.pop();
    }

    fn one(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        to: BorrowedFd<'_>,
        new: &OsStr,
    ) -> Result<(), String> {
        let told = |e: Errno| e.to_string();
        self.entries = self.entries.checked_sub(1).ok_or("too many files")?;
        let facts = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(told)?;
        let kind = SFlag::from_bits_truncate(facts.st_mode) & SFlag::S_IFMT;
        let safe = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let read = OFlag::O_RDONLY | safe;
        match kind {
            SFlag::S_IFREG => {
                let source = openat(from, name, read, Mode::empty()).map_err(told)?;
                let create = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | safe;
                let executable = facts.st_mode & 0o111 != 0;
                let mode = if executable { 0o777 } else { 0o666 };
                let target =
                    openat(to, new, create, Mode::from_bits_truncate(mode)).map_err(told)?;
                self.bytes(File::from(source), File::from(target))
            }
            SFlag::S_IFDIR if self.depth == DEPTH => Err("too deep".to_owned()),
            SFlag::S_IFDIR => {
                let flags = read | OFlag::O_DIRECTORY;
                let mut source = Dir::openat(from, name, flags, Mode::empty()).map_err(told)?;
                mkdirat(to, new, Mode::from_bits_truncate(0o777)).map_err(told)?;
                let target = openat(to, new, flags, Mode::empty()).map_err(told)?;
                let names = names(&mut source, self.entries)?;
                self.depth += 1;
                for name in names {
                    let name = OsStr::from_bytes(&name);
                    self.any(source.as_fd(), name, target.as_fd(), name);
                }
                self.depth -= 1;
                Ok(())
            }
            SFlag::S_IFLNK => Err("a symbolic link".to_owned()),
            _ => Err("neither a file nor a directory".to_owned()),
        }
    }

    fn bytes(&mut self, mut from: File, mut to: File) -> Result<(), String> {
        let mut room = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut room).map_err(|e| e.to_string())?;
            if read == 0 {
                return Ok(());
            }
            // A file with holes is larger than what it takes.
            let left = self.left.checked_sub(read as u64);
            self.left = left.ok_or("more than --space, holes included")?;
            to.write_all(&room[..read]).map_err(|e| e.to_string())?;
        }
    }
}

/// The names in a directory, which nothing changes any more.
fn names(dir: &mut Dir, most: usize) -> Result<Vec<Vec<u8>>, String> {
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
        if names.len() > most {
            return Err("too many files".to_owned());
        }
    }
    Ok(names)
}
