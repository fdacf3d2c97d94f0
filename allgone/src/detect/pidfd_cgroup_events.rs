//! The descriptor of the first process, then the state, then the events of the cgroup.
//!
//! Most programs leave no process behind. The pidfd reports their end in one wake-up, without the
//! rate limit of `cgroup.events`, and a read of `populated` right after it shows whether anything
//! is left. On kernels up to 6.18 a process leaves its cgroup before its parent is notified, so the
//! first read is right; from 6.19 on it leaves later, so a few more reads follow at growing
//! intervals. What is left after that is waited for with `cgroup.events`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::PollFlags;

use super::level::{Level, entered};
use super::{
    Backoff, Counters, DetectError, Detector, DetectorSpec, Progress, Signal, Sources, Tally, Wake,
    Watch, sleep,
};
use crate::MonoNs;
use crate::effects::Effects;
use crate::error::SysError;
use crate::host::{Host, KernelVersion, ProbeError, Support, probe};
use crate::scope::Scope;
use crate::set::ProcessSet;
use crate::spawn::{Child, SpawnOptions};

/// The pidfd, a level read with bounded re-reads, and `POLLPRI` on `cgroup.events`.
#[derive(Debug)]
pub struct PidfdCgroupEvents;

/// How long it may take to notice that another process has removed the cgroup while the event of
/// its emptiness was held back: the kernel drops that event together with the file, and does not
/// wake the reader.
const REMOVAL: Duration = Duration::from_secs(1);

static SPEC: DetectorSpec = DetectorSpec {
    id: "pidfd+cgroup-events",
    summary: "Polls the pidfd of the process that was started, then reads populated; polls \
        cgroup.events for what that one leaves behind.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: Signal::Emptiness,
    effects: Effects::descriptors(2),
    since: KernelVersion(5, 3),
    privilege: "",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "one wake-up if the first process is the last one; else as cgroup-events-poll. By up to \
        a second if another process removes the cgroup within the kernel's notification window",
    idle_cost: "a read a second once the first process has ended",
    overflow: "cannot: the pidfd stays readable, events merge, and the state is read again",
    loses_on_removal: false,
    sources: &[
        "pidfd_open(2)",
        "cgroups(7)",
        "kernel/exit.c: exit_notify(), cgroup_task_dead() (d245698d727a, Linux 6.19)",
        "kernel/cgroup/cgroup.c: cgroup_file_notify(), CGROUP_FILE_NOTIFY_MIN_INTV",
    ],
    axes: &[],
};

impl Detector for PidfdCgroupEvents {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match probe::pidfd()? {
            Support::Available => probe::events(host),
            missing => Ok(missing),
        }
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Watching {
            level: Level::open(set.cgroup())?,
            main: None,
            backoff: Backoff::default(),
            tally: Tally::default(),
        }))
    }
}

#[derive(Debug)]
struct Watching {
    level: Level,
    /// Until it is readable, which it then stays.
    main: Option<OwnedFd>,
    backoff: Backoff,
    tally: Tally,
}

impl Watch for Watching {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        let own = child.pidfd.try_clone();
        self.main =
            Some(own.map_err(|e| SysError::io("dup", crate::Target::Pid(child.pid.as_raw()), &e))?);
        entered(child)
    }

    fn sources(&self) -> Sources<'_> {
        match &self.main {
            // While the first process is alive the cgroup is populated, whatever its events say.
            Some(main) => Sources::none().readable(main),
            None => Sources::none().priority(&self.level.events),
        }
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        let counters = self.tally.check();
        let ended = match &self.main {
            Some(main) => sleep::is_ready(main.as_fd(), PollFlags::POLLIN)?,
            None => false,
        };
        if ended {
            self.main = None;
            self.backoff.hint(now);
        }
        // Read after the pidfd, so that it sees every process that left the cgroup before its end
        // was reported.
        if let Some(verdict) = self.level.look(now, counters) {
            return Ok(Progress::done(verdict));
        }
        if self.main.is_some() {
            return Ok(Progress::pending());
        }
        self.backoff.looked(now);
        let next = self.backoff.until(now + REMOVAL);
        Ok(Progress::pending().look_at(next).with_new_sources(ended))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.with_spurious()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroup;
    use crate::detect::{Interest, Verdict};

    /// A directory in place of the cgroup, and a pipe whose end is the end of the first process.
    struct Fake {
        dir: tempfile::TempDir,
        first: Option<OwnedFd>,
        watch: Watching,
    }

    impl Fake {
        fn populated() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (read, write) = nix::unistd::pipe().unwrap();
            std::fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
            let watch = Watching {
                level: Level::open(&Cgroup::open(dir.path()).unwrap()).unwrap(),
                main: Some(read),
                backoff: Backoff::default(),
                tally: Tally::default(),
            };
            Self {
                dir,
                first: Some(write),
                watch,
            }
        }

        fn empties(&self) {
            let events = self.dir.path().join("cgroup.events");
            std::fs::write(events, "populated 0\nfrozen 0\n").unwrap();
        }

        fn interests(&self) -> Vec<Interest> {
            let sources = self.watch.sources();
            sources.iter().map(|(_, interest)| interest).collect()
        }
    }

    #[test]
    fn a_state_that_lags_behind_the_first_end_is_read_again_a_bounded_number_of_times() {
        let mut fake = Fake::populated();
        let mut now = MonoNs(1_000_000_000);
        assert_eq!(fake.watch.check(now).unwrap(), Progress::pending());
        assert_eq!(fake.interests(), [Interest::Readable]);
        drop(fake.first.take());
        let ended = fake.watch.check(now).unwrap();
        assert!(
            ended.verdict.is_none() && ended.sources_changed,
            "{ended:?}"
        );
        // From here on only the events of the cgroup are slept on: the pidfd would be ready for
        // ever.
        assert_eq!(fake.interests(), [Interest::Priority]);
        let begun = now;
        let (mut next, mut looks) = (ended.next_look.unwrap(), 0);
        while next.since(now) < REMOVAL {
            now = next;
            looks += 1;
            let again = fake.watch.check(now).unwrap();
            assert!(
                again.verdict.is_none() && !again.sources_changed,
                "{again:?}"
            );
            next = again.next_look.unwrap();
        }
        assert_eq!(looks, 9, "20 us, doubled each time");
        assert!(now.since(begun) < Duration::from_millis(20));
        // And then one look a second, in case the cgroup is removed without an event.
        fake.empties();
        let empty = fake.watch.check(next).unwrap();
        assert!(
            matches!(empty.verdict, Some(Verdict::Empty { .. })),
            "{empty:?}"
        );
    }

    #[test]
    fn a_look_that_was_too_early_is_made_good_by_the_next_one() {
        let mut fake = Fake::populated();
        drop(fake.first.take());
        let now = MonoNs(1_000_000_000);
        let early = fake.watch.check(now).unwrap();
        assert_eq!(early.next_look, Some(now + Duration::from_micros(20)));
        fake.empties();
        let empty = fake.watch.check(now + Duration::from_micros(20)).unwrap();
        assert!(
            matches!(empty.verdict, Some(Verdict::Empty { .. })),
            "{empty:?}"
        );
    }

    #[test]
    fn a_state_that_cannot_be_read_is_unknown() {
        let mut fake = Fake::populated();
        drop(fake.first.take());
        std::fs::write(fake.dir.path().join("cgroup.events"), "nonsense\n").unwrap();
        let progress = fake.watch.check(MonoNs(0)).unwrap();
        let verdict = progress.verdict;
        assert!(
            matches!(verdict, Some(Verdict::Unknown { .. })),
            "{verdict:?}"
        );
    }
}
