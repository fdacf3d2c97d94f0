//! Reading again after a hint that may come before the state changes.
//!
//! Since Linux 6.19 a process leaves its cgroup after its parent has been woken, and some events
//! (sched_process_exit, taskstats) come before that on every kernel. The event that would follow
//! may be held back for 10 to 20 ms. So each hint leads to a few more reads, at growing intervals.
//! The number of reads is bounded by the number of hints.

use std::time::Duration;

use crate::MonoNs;

const FIRST: Duration = Duration::from_micros(20);
const LAST: Duration = Duration::from_millis(8);

/// When to look again.
#[derive(Debug, Default)]
pub struct Backoff {
    next: Option<(MonoNs, Duration)>,
}

impl Backoff {
    /// There was a hint at `at`: begin anew.
    pub fn hint(&mut self, at: MonoNs) {
        self.next = Some((at + FIRST, FIRST));
    }

    /// Until when to sleep at most: the next look, if one is due before `deadline`.
    pub fn until(&self, deadline: MonoNs) -> MonoNs {
        self.next.map_or(deadline, |(at, _)| at.min(deadline))
    }

    /// When the next look is due, if there is to be one.
    pub fn next(&self) -> Option<MonoNs> {
        self.next.map(|(at, _)| at)
    }

    /// Notes that the state was read at `at`. After the last of these reads only events count.
    pub fn looked(&mut self, at: MonoNs) {
        if let Some((due, step)) = self.next
            && at >= due
        {
            let step = step * 2;
            self.next = (step <= LAST).then_some((at + step, step));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_buys_a_bounded_number_of_looks() {
        let mut backoff = Backoff::default();
        let deadline = MonoNs(1_000_000_000);
        assert_eq!(backoff.until(deadline), deadline, "no hint, no look");
        backoff.hint(MonoNs(0));
        let mut looks = 0;
        while backoff.until(deadline) < deadline {
            backoff.looked(backoff.until(deadline));
            looks += 1;
        }
        assert_eq!(looks, 9, "20 us doubled until 5 ms");
        backoff.hint(MonoNs(0));
        backoff.looked(MonoNs(1));
        assert_eq!(
            backoff.until(deadline),
            MonoNs(20_000),
            "a look before it is due does not use one up"
        );
        assert_eq!(backoff.until(MonoNs(5)), MonoNs(5));
    }
}
