//! The program again, in the same process: execs of an actor.
//!
//! The new program reads the script from the same descriptor, maps the same ledger, and goes on
//! where the old one was. What it has to know for that is one argument ([`Again`]).

use std::ffi::{CStr, CString};
use std::fmt::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::str::FromStr;

use allgone_sys::actor::is_open;
use allgone_sys::exec::{MOST_WORDS, execute, execute_from_thread};
use allgone_sys::time::now;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{geteuid, getuid, setresuid};

use super::{NAME, Player};
use crate::script::FOREVER;

/// A file whose interpreter is the program that executes it, as an actor: see [`NAME`].
const HASH_BANG: &[u8] = b"#!/proc/self/exe actor\n";

/// The program itself, and what it is to be started with.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its file.
    pub(crate) file: OwnedFd,
    /// Its arguments after the zeroth, without [`Again`].
    pub(crate) words: Vec<CString>,
    /// Inherited descriptors without which it cannot go on: the script, the ledger.
    pub(crate) needs: [RawFd; 2],
}

/// Where a process goes on after an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// Its block.
    pub(crate) block: usize,
    /// The operation that has executed the program.
    pub(crate) op: usize,
    /// How many times it still has to do that; [`FOREVER`] is until killed.
    pub(crate) left: u64,
    /// Its row in the ledger.
    pub(crate) row: Option<usize>,
    /// Its parent at birth.
    pub(crate) parent: i32,
    /// When the kernel is to end it.
    pub(crate) deadline_ns: Option<u64>,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            block,
            op,
            left,
            parent,
            ..
        } = self;
        write!(f, "{block},{op},{left},{parent},")?;
        match self.row {
            Some(row) => write!(f, "{row},")?,
            None => f.write_str("-,")?,
        }
        match self.deadline_ns {
            Some(ns) => write!(f, "{ns}"),
            None => f.write_str("-"),
        }
    }
}

impl FromStr for Again {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        fn number<N: FromStr>(word: Option<&str>) -> Result<N, ()> {
            word.and_then(|word| word.parse().ok()).ok_or(())
        }
        fn optional<N: FromStr>(word: Option<&str>) -> Result<Option<N>, ()> {
            match word {
                Some("-") => Ok(None),
                other => number(other).map(Some),
            }
        }
        let mut words = text.split(',');
        let again = Self {
            block: number(words.next())?,
            op: number(words.next())?,
            left: number(words.next())?,
            parent: number(words.next())?,
            row: optional(words.next())?,
            deadline_ns: optional(words.next())?,
        };
        words.next().is_none().then_some(again).ok_or(())
    }
}

/// Text on the stack.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.length + more.len();
        // The last byte stays zero.
        if end >= self.bytes.len() {
            return Err(fmt::Error);
        }
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Player<'_> {
    pub(super) fn exec(&mut self, count: u64) -> Result<(), Errno> {
        let left = match self.execs_left.take().unwrap_or(count) {
            0 => return Ok(()),
            FOREVER => FOREVER,
            left => left - 1,
        };
        // Turn and turn about; for ever the clock decides.
        let by_script = match left {
            FOREVER => now().0.is_multiple_of(2),
            left => left % 2 == 1,
        };
        let program = self.setting.program.as_ref().ok_or(Errno::ENOENT)?;
        match by_script {
            false => Err(self.execute(program.file.as_fd(), left, execute)),
            true => {
                // The interpreter closes it: see `crate::start::words`.
                let script = memfd_create(c"set-up", MFdFlags::empty())?;
                nix::unistd::write(&script, HASH_BANG)?;
                Err(self.execute(script.as_fd(), left, execute))
            }
        }
    }

    pub(super) fn exec_from_thread(&mut self) -> Result<(), Errno> {
        if self.execs_left.take().is_some() {
            return Ok(());
        }
        let program = self.setting.program.as_ref().ok_or(Errno::ENOENT)?;
        Err(self.execute(program.file.as_fd(), 0, execute_from_thread))
    }

    /// The file's bit gives it the effective user; it takes that for good itself.
    pub(super) fn become_other(&mut self) -> Result<(), Errno> {
        if self.execs_left.take().is_some() {
            let other = geteuid();
            return match other == getuid() {
                // The bit was ignored: `no_new_privs`, or the mount option `nosuid`.
                true => Err(Errno::EPERM),
                false => setresuid(other, other, other),
            };
        }
        let copy = self.setting.given.as_ref().ok_or(Errno::ENOENT)?;
        Err(self.execute(copy.as_fd(), 0, execute))
    }

    /// Returns only if it failed.
    fn execute(
        &self,
        file: BorrowedFd<'_>,
        left: u64,
        how: fn(BorrowedFd<'_>, &[&CStr]) -> Errno,
    ) -> Errno {
        let Some(program) = &self.setting.program else {
            return Errno::ENOENT;
        };
        // The new program would not know how to go on.
        if !program.needs.into_iter().all(is_open) {
            return Errno::EBADF;
        }
        let (block, next) = self.at;
        let again = Again {
            block,
            op: next.saturating_sub(1),
            left,
            row: self.row,
            parent: self.parent.as_raw(),
            deadline_ns: self.setting.deadline.map(|at| at.0),
        };
        let mut line = Line {
            bytes: [0; 160],
            length: 0,
        };
        if write!(line, "--again={again}").is_err() {
            return Errno::E2BIG;
        }
        let Ok(again) = CStr::from_bytes_until_nul(&line.bytes) else {
            return Errno::E2BIG;
        };
        let mut words = [NAME; MOST_WORDS];
        let used = program.words.len() + 2;
        let Some(places) = words.get_mut(1..used) else {
            return Errno::E2BIG;
        };
        let all = program.words.iter().map(CString::as_c_str).chain([again]);
        for (place, word) in places.iter_mut().zip(all) {
            *place = word;
        }
        how(file, words.get(..used).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_process_goes_on_is_read_as_it_is_written() {
        for (row, deadline_ns) in [(None, None), (Some(16_383), Some(u64::MAX - 1))] {
            let again = Again {
                block: 1,
                op: 65_535,
                left: FOREVER,
                row,
                parent: i32::MAX,
                deadline_ns,
            };
            let mut line = Line {
                bytes: [0; 160],
                length: 0,
            };
            write!(line, "--again={again}").unwrap();
            assert_eq!(again.to_string().parse(), Ok(again));
        }
        for bad in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "1,2,x,4,-,-",
            "1,2,-,4,-,-",
        ] {
            assert_eq!(bad.parse::<Again>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused() {
        let mut line = Line {
            bytes: [0; 160],
            length: 0,
        };
        assert!(line.write_str(&"x".repeat(159)).is_ok());
        assert!(line.write_str("x").is_err());
    }
}
