//! What the mechanisms require of the birth of the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::error::SysError;

/// What a program's birth will be like. A detector's `arm` and a strategy's `prepare` change it;
/// then the program is started once.
#[derive(Debug)]
pub struct SpawnOptions {
    first_free: RawFd,
    kept: Vec<OwnedFd>,
    pub(super) birthplace: Option<OwnedFd>,
    pub(super) gate: Option<OwnedFd>,
    pub(super) tasks: Vec<OwnedFd>,
    /// Further clone flags, such as [`CLONE_NEWPID`](crate::sys::spawn::CLONE_NEWPID).
    pub clone_flags: u64,
    /// Put a tiny init between the caller and the program (for a new PID namespace).
    pub init: bool,
    /// `PR_SET_PDEATHSIG` for the process.
    pub parent_death_signal: Option<Signal>,
}

/// The starter's end of a gate: the program waits before exec until it is opened or dropped.
#[derive(Debug)]
pub struct Gate(OwnedFd);

impl Gate {
    /// Lets the program go on to exec.
    pub fn open(self) -> Result<(), Errno> {
        // The byte and the closing both open it; the write is the one that can report.
        nix::unistd::write(&self.0, b"g").map(|_| ())
    }
}

impl Default for SpawnOptions {
    /// No special requirements. Descriptors that mechanisms hand over are numbered from 3.
    fn default() -> Self {
        Self::numbered_from(3)
    }
}

impl SpawnOptions {
    /// No special requirements. Descriptors that mechanisms hand over are numbered from
    /// `first_free`; smaller numbers belong to the program.
    pub fn numbered_from(first_free: RawFd) -> Self {
        Self {
            first_free,
            kept: Vec::new(),
            birthplace: None,
            gate: None,
            tasks: Vec::new(),
            clone_flags: 0,
            init: false,
            parent_death_signal: None,
        }
    }

    /// Lets the program be born in another cgroup: a descendant of the set's.
    pub fn born_in(&mut self, cgroup: OwnedFd) {
        self.birthplace = Some(cgroup);
    }

    /// Lets the program inherit `fd`; returns the number it will have there.
    pub fn keep(&mut self, fd: OwnedFd) -> RawFd {
        self.kept.push(fd);
        self.first_free + RawFd::try_from(self.kept.len()).unwrap_or(RawFd::MAX) - 1
    }

    /// Lets the program move itself into a v1 cgroup, given by its open `tasks` file, before it
    /// gives up its privileges. It enters after its birth and before its exec
    /// ([`Child::exec_signal`](super::Child::exec_signal)); the caller never enters.
    pub fn enter(&mut self, tasks: OwnedFd) {
        self.tasks.push(tasks);
    }

    /// Puts a gate before the program's exec. Errors: `EMFILE`; `EBUSY` there is one already.
    pub fn gate(&mut self) -> Result<Gate, SysError> {
        if self.gate.is_some() {
            return Err(SysError::plain(
                "put a second gate before the exec",
                Errno::EBUSY,
            ));
        }
        let (read, write) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
        self.gate = Some(read);
        Ok(Gate(write))
    }

    /// Whether there is a gate before the program's exec.
    pub fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Descriptors that the program inherits for the mechanisms, with their numbers.
    pub(super) fn kept(&self) -> impl Iterator<Item = (BorrowedFd<'_>, RawFd)> {
        self.kept.iter().map(AsFd::as_fd).zip(self.first_free..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_numbered_in_the_order_they_are_given() {
        let mut options = SpawnOptions::numbered_from(5);
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!((options.keep(null()), options.keep(null())), (5, 6));
        assert_eq!(
            options.kept().map(|(_, number)| number).collect::<Vec<_>>(),
            [5, 6]
        );
    }

    #[test]
    fn a_program_waits_at_one_gate() {
        let mut options = SpawnOptions::default();
        assert!(!options.is_gated());
        let gate = options.gate().unwrap();
        assert!(options.is_gated());
        assert_eq!(options.gate().unwrap_err().errno, Errno::EBUSY);
        drop(gate);
    }
}
