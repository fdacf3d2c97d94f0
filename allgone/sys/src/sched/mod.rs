//! How soon a process runs again, without a larger share of the processor.
//!
//! Sources: sched(7) "The autogroup feature", setsid(2), sched_setattr(2).

use nix::errno::Errno;

use crate::check;

pub(crate) mod attr;

use attr::Attr;
pub use attr::SHORTEST_SLICE_NS;

/// The slice of the calling thread, in nanoseconds: for so long it runs at a time while others want
/// the processor. 0 before Linux 6.12, and under a policy that has none. Async-signal-safe. Errors:
/// `ENOSYS`; `EPERM` by a seccomp filter.
pub fn slice_ns() -> Result<u64, Errno> {
    get().map(|attr| attr.slice_ns().unwrap_or(0))
}

/// Sets it: the same share of the processor in smaller pieces, and therefore sooner; 0 is the
/// kernel's own. Children inherit it.
///
/// Changes nothing before Linux 6.12, nor under a real-time, deadline or idle policy. Needs no
/// privilege. Async-signal-safe. Errors: `ENOSYS`; `EPERM` by a seccomp filter.
pub fn set_slice_ns(slice_ns: u64) -> Result<(), Errno> {
    let own = get()?;
    if own.slice_ns().is_none() {
        return Ok(());
    }
    let attr = own.with_slice(slice_ns);
    // SAFETY: the structure is live and as long as it says; 0 is the calling thread.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(|_| ())
}

fn get() -> Result<Attr, Errno> {
    let mut attr = Attr::room();
    let room = &raw mut attr;
    // SAFETY: room of that size; 0 is the calling thread.
    check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, room, Attr::SIZE, 0) })?;
    Ok(attr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_what_was_set() {
        // In a thread of its own: it is a thread's.
        let thread = std::thread::spawn(|| {
            let (before, nice) = (slice_ns().unwrap(), get().unwrap().nice);
            set_slice_ns(SHORTEST_SLICE_NS).unwrap();
            let after = slice_ns().unwrap();
            // Before Linux 6.12 there is none.
            assert_eq!(after, if before == 0 { 0 } else { SHORTEST_SLICE_NS });
            let inherited = std::thread::spawn(|| slice_ns().unwrap());
            assert_eq!(inherited.join().unwrap(), after);
            set_slice_ns(before).unwrap();
            assert_eq!(slice_ns().unwrap(), before);
            assert_eq!(get().unwrap().nice, nice);
        });
        thread.join().unwrap();
    }
    #[cfg(feature = "instrument")]
    #[test]
    fn a_real_time_policy_is_left_as_it_is() {
        let thread = std::thread::spawn(|| {
            // Not everybody may have one, and then there is nothing to leave.
            if crate::actor::set_realtime(nix::unistd::Pid::from_raw(0)).is_err() {
                return;
            }
            let before = get().unwrap();
            assert_eq!(slice_ns(), Ok(0));
            assert_eq!(set_slice_ns(SHORTEST_SLICE_NS), Ok(()));
            let after = get().unwrap();
            assert_eq!(
                (after.policy, after.priority),
                (before.policy, before.priority)
            );
        });
        thread.join().unwrap();
    }
}
