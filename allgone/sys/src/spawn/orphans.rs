//! Ending the children of this process one by one, for what a cgroup does not reach: a process that
//! has moved out of it, and one without its first thread, which `cgroup.kill` spares on many
//! kernels.
//!
//! Nothing in here allocates. Sources: proc_pid_task(5) `children` (Linux 4.2,
//! `CONFIG_PROC_CHILDREN`), kernel/cgroup/cgroup.c `css_task_iter_advance()`.

use nix::errno::Errno;

use super::changes::{Next, change};
use super::finish::pause;
use super::init::send;
use crate::check;
use crate::time::{MonoNs, now};

/// SIGKILL to every child, and to those that become children by that, until there is none or the
/// time is up. Where there is no `/proc` they are reaped only.
///
/// For a subreaper, so that the children of what it has killed become its own.
pub(super) fn end_children(deadline: MonoNs) {
    loop {
        while let Next::Change(..) = change(libc::P_ALL, 0, libc::WNOHANG) {}
        let mut room = [0u8; 4096];
        let Ok(length) = children(&mut room) else {
            return;
        };
        let list = room.get(..length).unwrap_or_default();
        if list.is_empty() || now() >= deadline {
            return;
        }
        // A child keeps its number until it is reaped here.
        each(list, |pid| send(pid, libc::SIGKILL));
        pause(1_000);
    }
}

/// Calls `with` for each number that is followed by a blank, as all are that are whole.
fn each(list: &[u8], mut with: impl FnMut(libc::pid_t)) {
    let mut number: libc::pid_t = 0;
    for byte in list {
        if byte.is_ascii_digit() {
            number = number
                .saturating_mul(10)
                .saturating_add((byte - b'0').into());
        } else if number > 0 {
            with(number);
            number = 0;
        }
    }
}

/// The beginning of the list of children. Errors: `ENOENT`.
fn children(room: &mut [u8]) -> Result<usize, Errno> {
    let path = c"/proc/thread-self/children".as_ptr();
    // SAFETY: the path is a string that ends with a zero byte.
    let file = check(unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) }.into())?;
    let file = libc::c_int::try_from(file).map_err(|_| Errno::EBADF)?;
    // SAFETY: the buffer is writable and as long as it says.
    let read = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
    // SAFETY: opened above, and used by nothing else.
    unsafe { libc::close(file) };
    usize::try_from(check(read as libc::c_long)?).map_err(|_| Errno::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_are_taken() {
        let of = |list: &[u8]| {
            let mut numbers = Vec::new();
            each(list, |pid| numbers.push(pid));
            numbers
        };
        assert_eq!(of(b"12 345 6"), [12, 345]);
        assert_eq!(of(b""), []);
    }
}
