//! A deadline for calls that have no time-out of their own: `waitid(2)`, a blocking `read(2)`.
//!
//! The call stays what it is (one sleep in the kernel, woken by what it waits for); only at the
//! deadline a signal interrupts it.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction,
};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::gettid;

use crate::MonoNs;

/// How often the signal is repeated after the deadline: the first one may arrive just before the
/// call sleeps.
const REPEAT: Duration = Duration::from_millis(10);

/// While it lives, blocking calls of the thread that made it end with `EINTR` soon after the
/// deadline.
///
/// Uses `SIGALRM`: installs a handler that does nothing, and leaves it installed. Sources:
/// timer_create(2), signal(7).
#[derive(Debug)]
pub struct Alarm {
    _timer: Timer,
}

extern "C" fn interrupt(_: libc::c_int) {}

impl Alarm {
    /// Sets the alarm. Errors: `EAGAIN` when no timer can be had.
    pub fn at(deadline: MonoNs) -> Result<Self, Errno> {
        // No SA_RESTART: being interrupted is the purpose.
        let action = SigAction::new(
            SigHandler::Handler(interrupt),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing, so it is async-signal-safe; nothing else in the
        // workspace uses SIGALRM.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        let notify = SigevNotify::SigevThreadId {
            signal: Signal::SIGALRM,
            thread_id: gettid().as_raw(),
            si_value: 0,
        };
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify))?;
        // A value of zero would disarm the timer; a deadline in the past fires at once.
        let first = TimeSpec::from_duration(Duration::from_nanos(
            deadline.0.clamp(1, i64::MAX.unsigned_abs()),
        ));
        let expiration = Expiration::IntervalDelayed(first, TimeSpec::from_duration(REPEAT));
        timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(Self { _timer: timer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::now;

    #[test]
    fn a_read_that_would_sleep_for_ever_is_interrupted() {
        let (read, _write) = nix::unistd::pipe().unwrap();
        for deadline in [MonoNs(0), now() + Duration::from_millis(2)] {
            let alarm = Alarm::at(deadline).unwrap();
            assert_eq!(nix::unistd::read(&read, &mut [0u8]), Err(Errno::EINTR));
            drop(alarm);
            assert!(deadline.has_passed());
        }
    }
}
