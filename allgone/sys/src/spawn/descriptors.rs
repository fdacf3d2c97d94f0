//! The descriptors of a child: those that it needs until exec, those that the program gets, and the
//! closing of all others.
//!
//! Their number and order are arbitrary, and few free numbers are needed to rearrange them.
//! Sources: dup2(2), fcntl(2) `F_DUPFD_CLOEXEC`, close_range(2) (Linux 5.9), getdents64(2),
//! proc_pid_fd(5).

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use crate::check;

/// An index into a [`Table`]: steps refer to descriptors by it, because a descriptor's number may
/// change before a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// Filled by the parent; the child works on its copy and allocates nothing.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// What steps use, by slot. Closed by exec.
    held: Vec<RawFd>,
    /// What the program gets: which descriptor, as which number.
    given: Vec<(RawFd, RawFd)>,
    /// The numbers that the program's descriptors get, sorted.
    targets: Vec<RawFd>,
    /// Room for the numbers that stay open until exec.
    kept: Vec<RawFd>,
    borrowed: PhantomData<BorrowedFd<'a>>,
}

impl<'a> Table<'a> {
    /// A table of the program's descriptors. Errors: `EINVAL` two get the same number.
    pub(super) fn giving(inherit: &[(BorrowedFd<'a>, RawFd)]) -> Result<Self, Errno> {
        let mut targets: Vec<RawFd> = inherit.iter().map(|(_, number)| *number).collect();
        targets.sort_unstable();
        if targets.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            held: Vec::new(),
            given: inherit
                .iter()
                .map(|(fd, number)| (fd.as_raw_fd(), *number))
                .collect(),
            kept: targets.clone(),
            targets,
            borrowed: PhantomData,
        })
    }

    /// Adds a descriptor that a step uses.
    pub(super) fn hold(&mut self, fd: BorrowedFd<'a>) -> Slot {
        self.held.push(fd.as_raw_fd());
        self.kept.push(fd.as_raw_fd());
        Slot(self.held.len() - 1)
    }

    /// The present number of a slot.
    pub(super) fn number(&self, Slot(at): Slot) -> RawFd {
        self.held.get(at).copied().unwrap_or(-1)
    }

    /// Gives the program's descriptors their numbers. Errors: `EBADF`, `EINVAL` or `EMFILE` beyond
    /// `RLIMIT_NOFILE`.
    pub(super) fn place(&mut self) -> Result<(), Errno> {
        let Self {
            held,
            given,
            targets,
            kept,
            ..
        } = self;
        // A target number may belong to a descriptor that is still needed; such descriptors are
        // copied to other numbers first.
        for fd in held.iter_mut() {
            if targets.binary_search(fd).is_ok() {
                *fd = copy_beside(*fd, targets)?;
            } else {
                close_at_exec(*fd)?;
            }
        }
        for (source, target) in given.iter_mut() {
            // One that keeps its number does not collide.
            if source != target && targets.binary_search(source).is_ok() {
                *source = copy_beside(*source, targets)?;
            }
        }
        for (source, target) in given.iter() {
            if source == target {
                keep_at_exec(*source)?;
                continue;
            }
            // SAFETY: integers; whatever had this number belongs to this process alone and is not
            // used any more.
            check(libc::c_long::from(unsafe { libc::dup2(*source, *target) }))?;
        }
        let numbers = held
            .iter()
            .copied()
            .chain(given.iter().map(|(_, target)| *target));
        for (room, number) in kept.iter_mut().zip(numbers) {
            *room = number;
        }
        kept.sort_unstable();
        Ok(())
    }

    /// Closes everything that is not in the table; after [`Table::place`]. At once, not at exec: a
    /// child at a gate would otherwise hold the other ends of unrelated pipes. Errors: those of
    /// `close_range`, if /proc cannot be read either.
    pub(super) fn close_others(&self) -> Result<(), Errno> {
        close_all_but(&self.kept)
    }
}

/// Closes all numbers but those in `kept`, which is sorted. Only in a child: it owns all its
/// descriptors.
pub(crate) fn close_all_but(kept: &[RawFd]) -> Result<(), Errno> {
    // Refused by a kernel before 5.9, or by a seccomp policy that does not know the call.
    close_between(kept).or_else(|refused| close_listed(kept).map_err(|_| refused))
}

/// A copy of `fd`, closed at exec, with a number that is not in `taken`, which is sorted.
fn copy_beside(fd: RawFd, taken: &[RawFd]) -> Result<RawFd, Errno> {
    let mut at_least = 0;
    loop {
        let copy = duplicate(fd, at_least)?;
        if taken.binary_search(&copy).is_err() {
            return Ok(copy);
        }
        close(copy);
        at_least = copy + 1;
    }
}

fn duplicate(fd: RawFd, at_least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: fcntl with integers.
    let copy = check(libc::c_long::from(unsafe {
        libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, at_least)
    }))?;
    RawFd::try_from(copy).map_err(|_| Errno::EBADF)
}

fn close_at_exec(fd: RawFd) -> Result<(), Errno> {
    set_flags(fd, libc::FD_CLOEXEC)
}

fn keep_at_exec(fd: RawFd) -> Result<(), Errno> {
    set_flags(fd, 0)
}

fn set_flags(fd: RawFd, flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: fcntl with integers.
    check(libc::c_long::from(unsafe {
        libc::fcntl(fd, libc::F_SETFD, flags)
    }))
    .map(|_| ())
}

/// close(2). Whatever it returns, Linux has freed the number.
fn close(fd: RawFd) {
    // SAFETY: the number belongs to this process, and nothing here uses it again.
    unsafe { libc::close(fd) };
}

/// Closes all numbers but those in `kept`, which is sorted.
fn close_between(kept: &[RawFd]) -> Result<(), Errno> {
    let mut first: libc::c_uint = 0;
    for number in kept
        .iter()
        .filter_map(|number| libc::c_uint::try_from(*number).ok())
    {
        if first < number {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, libc::c_uint::MAX)
}

/// close_range(2), both ends included.
fn close_range(first: libc::c_uint, last: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: integers; the caller is a child that owns all its descriptors and uses none of these
    // again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) }).map(|_| ())
}

/// Room for some directory entries, aligned as they are.
#[repr(align(8))]
struct Entries([u8; 1024]);

/// Closes all numbers that /proc lists but those in `kept`, which is sorted.
fn close_listed(kept: &[RawFd]) -> Result<(), Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a literal and integers.
    let dir = check(libc::c_long::from(unsafe {
        libc::open(c"/proc/self/fd".as_ptr(), flags)
    }))?;
    let dir = RawFd::try_from(dir).map_err(|_| Errno::EBADF)?;
    let mut entries = Entries([0; 1024]);
    loop {
        let room = entries.0.len();
        // SAFETY: the buffer is writable and as long as it says.
        let filled = check(unsafe {
            libc::syscall(libc::SYS_getdents64, dir, entries.0.as_mut_ptr(), room)
        })?;
        let filled = usize::try_from(filled).map_err(|_| Errno::EIO)?;
        if filled == 0 {
            close(dir);
            return Ok(());
        }
        let mut rest = entries.0.get(..filled).ok_or(Errno::EIO)?;
        while let Some((number, next)) = first_entry(rest) {
            if let Some(number) =
                number.filter(|number| *number != dir && kept.binary_search(number).is_err())
            {
                close(number);
            }
            rest = next;
        }
    }
}

/// The name of the first `struct linux_dirent64` as a number, if it is one, and the entries behind
/// it.
fn first_entry(entries: &[u8]) -> Option<(Option<RawFd>, &[u8])> {
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let length = usize::from(u16::from_ne_bytes([
        *entries.get(LENGTH)?,
        *entries.get(LENGTH + 1)?,
    ]));
    let name = CStr::from_bytes_until_nul(entries.get(NAME..length)?).ok()?;
    let digits = |number: RawFd, digit: &u8| {
        let digit = char::from(*digit).to_digit(10)?;
        number
            .checked_mul(10)?
            .checked_add(RawFd::try_from(digit).ok()?)
    };
    let number = name.to_bytes().iter().try_fold(0, digits);
    Some((number, entries.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_entry_is_read() {
        let mut entry = [0u8; 24];
        entry[16] = 24;
        entry[19..22].copy_from_slice(b"407");
        let two = [entry, entry].concat();
        let (number, rest) = first_entry(&two).unwrap();
        assert_eq!((number, rest.len()), (Some(407), 24));
        entry[19..22].copy_from_slice(b"..\0");
        assert_eq!(first_entry(&entry).unwrap().0, None);
        assert_eq!(first_entry(&[]), None);
    }
}
