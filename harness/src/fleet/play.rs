//! One loop over many sites, measured: jobs end one after another in sites drawn at random, and the
//! loop has to say which.
//!
//! The loop is a process of its own, forked from the harness, so that its CPU time and its
//! descriptors are its own. Every populated site holds a process that sleeps; a job is over when
//! the one in its site is told to end, and then another one is started there.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Completion, Fleet, Mechanism, SleeperSet};
use crate::cgroup::Cgroup;
use crate::detect::{Counters, Verdict};
use crate::error::SysError;
use crate::record::{Outcome, SCHEMA, ScaleNote, ScaleRecord};
use crate::sys::{fork, pidfd, time};
use crate::trial::{Limits, Run, TrialError, cpu_time};

/// How long to wait for the events of setting up: longer than the kernel delays an event.
const SETTLE: Duration = Duration::from_millis(300);
/// The machine is quiet if its processors were busy for less than this share of an interval. Before
/// that, ten thousand processes that were just started have not fallen asleep yet, and cgroups of
/// the previous loop are still being freed: both would be measured.
pub const QUIET_PERMILLE: u32 = 50;
/// The length of an interval: many of the ticks in which the kernel counts.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait for a quiet machine, in all and more for each site. After that it is measured
/// anyway, and the record says how busy the machine was.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_PER_SITE: Duration = Duration::from_millis(2);
/// The memory of a sleeper: its stack, its page tables and the kernel's structures.
const SLEEPER_BYTES: u64 = 512 << 10;
/// How long setting up may take for each site, and in all.
const SET_UP_PER_SITE: Duration = Duration::from_millis(20);
const SET_UP: Duration = Duration::from_secs(20);

/// One loop to be measured.
#[derive(Clone, Copy, Debug)]
pub struct FleetSpec<'a> {
    /// Its place in the run; also names its cgroup.
    pub seq: u32,
    /// How it watches.
    pub mechanism: &'a dyn Mechanism,
    /// Sites to be watched, at least one.
    pub sites: usize,
    /// Sites in which a process sleeps, at least one and at most `sites`. Jobs end only there.
    pub populated: usize,
    /// Jobs that end one after another.
    pub jobs: u32,
    /// How long a process has lived at least when it ends: longer than the kernel's notification
    /// window, if that is not to be measured.
    pub rest: Duration,
    /// How long the loop may take to say so.
    pub deadline: Duration,
    /// Seed of the order of the sites.
    pub seed: u64,
}

/// Raises this process's soft limit on descriptors to the hard one; returns it.
///
/// Source: getrlimit(2), `RLIMIT_NOFILE`.
pub fn raise_descriptor_limit() -> Result<u64, SysError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|e| SysError::plain("getrlimit(RLIMIT_NOFILE)", e))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|e| SysError::plain("setrlimit(RLIMIT_NOFILE)", e))?;
    Ok(hard)
}

/// Measures one loop. What could not be set up or went wrong is the last record, with
/// [`Outcome::Broken`]; an error means that the run cannot go on.
pub fn measure(run: &mut Run<'_>, spec: &FleetSpec<'_>) -> Result<Vec<ScaleRecord>, TrialError> {
    let populated = spec.populated.clamp(1, spec.sites.max(1));
    let count = u64::try_from(populated).unwrap_or(u64::MAX);
    let limits = Limits {
        tasks: count.saturating_add(8),
        memory_bytes: (128 << 20) + count.saturating_mul(SLEEPER_BYTES),
    };
    let part = format!("fleet-{}", spec.seq);
    let (parent, v1) = run.belted(&part, limits)?;
    let (hear, tell) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| SysError::plain("pipe2", e))?;
    // One end alone: the loop waits for a harness that is slow to read.
    fcntl(&hear, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map_err(|e| SysError::plain("fcntl(F_SETFL)", e))?;
    let tell = std::cell::Cell::new(Some(tell));
    let name = run.name().to_owned();
    let looped = fork::worker(0, Some(run.control().as_fd()), || {
        let Some(tell) = tell.take() else { return 104 };
        let told = v1
            .as_ref()
            .map_or(Ok(()), |limits| limits.enter().map_err(|e| e.to_string()));
        let loop_of = Loop {
            spec,
            populated,
            run: &name,
        };
        loop_of.run(told, &parent, tell)
    })
    .map_err(|e| SysError::plain("fork the loop", e))?;
    drop(tell);
    let per_job = spec.deadline + spec.rest + Duration::from_secs(1);
    let sites = u32::try_from(spec.sites).unwrap_or(u32::MAX);
    let hung = time::now() + SET_UP + SET_UP_PER_SITE * sites + per_job * spec.jobs;
    let mut text = Vec::new();
    let mut ended = false;
    while !ended && !hung.has_passed() && !run.interrupted() {
        run.rest(
            &[hear.as_fd(), looped.pidfd.as_fd()],
            Duration::from_secs(1),
        )?;
        // Checked before reading, so that the last message is read after the process is known to
        // have ended.
        ended = pidfd::has_exited(looped.pidfd.as_fd())
            .map_err(|e| SysError::plain("poll pidfd", e))?;
        drain(&hear, &mut text)?;
    }
    run.reap(&looped.pidfd, Duration::ZERO)?;
    run.clean(Some(&part))?;
    let mut records: Vec<ScaleRecord> = text
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    if records
        .last()
        .is_none_or(|last| last.outcome != Outcome::Broken)
        && records.len() < spec.jobs as usize
    {
        let outcome = if run.interrupted() {
            Outcome::Interrupted
        } else {
            Outcome::Broken
        };
        records.push(ScaleRecord {
            outcome,
            note: Some(ScaleNote::Unfinished),
            ..blank(spec, populated, &name)
        });
    }
    Ok(records)
}

fn drain(hear: &OwnedFd, text: &mut Vec<u8>) -> Result<(), SysError> {
    let mut buf = [0u8; 16_384];
    loop {
        match nix::unistd::read(hear, &mut buf) {
            Ok(0) | Err(nix::errno::Errno::EAGAIN) => return Ok(()),
            Ok(n) => text.extend_from_slice(&buf[..n]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(SysError::plain("read from the loop", e)),
        }
    }
}

fn blank(spec: &FleetSpec<'_>, populated: usize, run: &str) -> ScaleRecord {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ScaleRecord {
        schema: SCHEMA,
        run: run.to_owned(),
        mechanism: spec.mechanism.spec().id.to_owned(),
        sites: number(spec.sites),
        populated: number(populated),
        job: 0,
        site: 0,
        watch_ns_per_site: 0,
        busy_permille: None,
        descriptors: 0,
        asked_ns: None,
        exit_ns: None,
        decided_ns: None,
        cpu_ns: 0,
        wakeups: 0,
        reads: 0,
        overflows: 0,
        outcome: Outcome::Broken,
        note: None,
    }
}

/// The main function of the loop's process.
struct Loop<'a> {
    spec: &'a FleetSpec<'a>,
    populated: usize,
    run: &'a str,
}

impl Loop<'_> {
    fn run(&self, begun: Result<(), String>, parent: &Cgroup, tell: OwnedFd) -> i32 {
        let mut tell = std::fs::File::from(tell);
        match begun.and_then(|()| self.jobs(parent, &mut tell)) {
            Ok(()) => 0,
            Err(why) => {
                let record = ScaleRecord {
                    note: Some(ScaleNote::Failed { what: why }),
                    ..blank(self.spec, self.populated, self.run)
                };
                i32::from(say(&mut tell, &record).is_err()) + 1
            }
        }
    }

    fn jobs(&self, parent: &Cgroup, tell: &mut std::fs::File) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let spec = self.spec;
        nix::unistd::setsid().map_err(|e| SysError::plain("setsid", e).to_string())?;
        raise_descriptor_limit().map_err(|e| text(&e))?;
        let mut fleet = spec.mechanism.open(spec.sites).map_err(|e| text(&e))?;
        let mut stand = SleeperSet::build(parent.try_clone().map_err(|e| text(&e))?, spec.sites)
            .map_err(|e| text(&e))?;
        let begun = time::now();
        for site in 0..spec.sites {
            let cgroup = stand.site(site).map_err(|e| text(&e))?;
            let failed = |e| format!("could not watch site {site} of {}: {e}", spec.sites);
            fleet.watch(site, &cgroup).map_err(failed)?;
        }
        let watching = time::now().since(begun).as_nanos() / spec.sites.max(1) as u128;
        for site in 0..self.populated {
            let failed = |e| format!("could not populate site {site} of {}: {e}", self.populated);
            let job = stand.start(site).map_err(failed)?;
            fleet.started(site, &job).map_err(failed)?;
        }
        self.quiet(fleet.as_mut(), time::now() + SETTLE)?;
        let busy_permille = self.settle(fleet.as_mut())?;
        let frame = ScaleRecord {
            watch_ns_per_site: u64::try_from(watching).unwrap_or(u64::MAX),
            busy_permille,
            descriptors: descriptors()?,
            ..blank(spec, self.populated, self.run)
        };
        let mut random = ChaCha8Rng::seed_from_u64(spec.seed);
        for job in 0..spec.jobs {
            let site = random.random_range(0..self.populated);
            if let Some(since) = stand.since(site) {
                self.quiet(fleet.as_mut(), since + spec.rest)?;
            }
            let record = self.job(
                fleet.as_mut(),
                &stand,
                site,
                &ScaleRecord {
                    job,
                    ..frame.clone()
                },
            )?;
            say(tell, &record)?;
            if record.decided_ns.is_none() {
                return Err("it stopped here: which sites are empty is no longer known".to_owned());
            }
            stand.reap(site).map_err(|e| text(&e))?;
            let next = stand.start(site).map_err(|e| text(&e))?;
            fleet.started(site, &next).map_err(|e| text(&e))?;
        }
        Ok(())
    }

    /// Waits until the machine is quiet; returns how busy it was in the last interval, or `None` if
    /// the kernel does not say.
    fn settle(&self, fleet: &mut dyn Fleet) -> Result<Option<u32>, String> {
        let sites = u32::try_from(self.spec.sites).unwrap_or(u32::MAX);
        let end = time::now() + QUIET + QUIET_PER_SITE * sites;
        loop {
            let before = Load::now();
            self.quiet(fleet, time::now() + LOOK)?;
            let busy = before
                .zip(Load::now())
                .and_then(|(from, to)| from.busy_permille(to));
            if end.has_passed() || busy.is_none_or(|busy| busy < QUIET_PERMILLE) {
                return Ok(busy);
            }
        }
    }

    /// Waits while nothing ends. A verdict in this time is early.
    fn quiet(&self, fleet: &mut dyn Fleet, until: crate::MonoNs) -> Result<(), String> {
        let mut over = Vec::new();
        if !until.has_passed() {
            fleet.wait(until, &mut over).map_err(|e| e.to_string())?;
        }
        match over.first() {
            None => Ok(()),
            Some(early) => Err(format!("nothing had ended, and it said: {early:?}")),
        }
    }

    /// One job: it ends, and the loop reports it.
    fn job(
        &self,
        fleet: &mut dyn Fleet,
        stand: &SleeperSet,
        site: usize,
        frame: &ScaleRecord,
    ) -> Result<ScaleRecord, String> {
        let mut over = Vec::new();
        let before = fleet.counters();
        let asked = time::now();
        let cpu = cpu_time();
        stand.end(site);
        fleet
            .wait(asked + self.spec.deadline, &mut over)
            .map_err(|e| e.to_string())?;
        let cpu_ns = cpu_time().saturating_sub(cpu);
        let Counters {
            wakeups,
            reads,
            overflows,
            ..
        } = fleet.counters();
        let exit = stand.exit(site).map(|at| at.0);
        let (outcome, decided_ns, note) = judge(site, exit, &over);
        Ok(ScaleRecord {
            site: u32::try_from(site).unwrap_or(u32::MAX),
            asked_ns: Some(asked.0),
            exit_ns: exit,
            decided_ns,
            cpu_ns,
            wakeups: wakeups - before.wakeups,
            reads: reads - before.reads,
            overflows: overflows - before.overflows,
            outcome,
            note,
            ..frame.clone()
        })
    }
}

/// The outcome of the loop's answer, when it was decided, and why it is wrong. Pure.
fn judge(
    site: usize,
    exit: Option<u64>,
    over: &[Completion],
) -> (Outcome, Option<u64>, Option<ScaleNote>) {
    match over {
        [] => (Outcome::Missed, None, Some(ScaleNote::NothingSaid)),
        [
            Completion {
                site: said,
                verdict: Verdict::Empty { decided_ns, .. },
            },
        ] if *said == site => match exit.is_some_and(|exit| *decided_ns >= exit) {
            true => (Outcome::Right, Some(*decided_ns), None),
            false => (Outcome::Early, Some(*decided_ns), None),
        },
        [
            Completion {
                site: said,
                verdict: Verdict::SiteRemoved { .. } | Verdict::Unknown { .. },
            },
        ] if *said == site => (
            Outcome::Unknown,
            None,
            Some(ScaleNote::SaidOtherwise {
                said: format!("{:?}", over[0].verdict),
            }),
        ),
        _ => (
            Outcome::Early,
            None,
            Some(ScaleNote::SaidOtherwise {
                said: format!("site {site} ended, and it said: {over:?}"),
            }),
        ),
    }
}

fn say(tell: &mut std::fs::File, record: &ScaleRecord) -> Result<(), String> {
    let mut line = serde_json::to_vec(record).map_err(|e| e.to_string())?;
    line.push(b'\n');
    tell.write_all(&line)
        .map_err(|e| format!("could not report to the harness: {e}"))
}

/// What the machine's processors have done since it came up, in ticks.
#[derive(Clone, Copy, Debug)]
struct Load {
    all: u64,
    idle: u64,
}

impl Load {
    /// Source: proc_stat(5), the line `cpu`. The time of guests is part of `user` and `nice`.
    fn now() -> Option<Self> {
        use procfs::CurrentSI;
        let cpu = procfs::KernelStats::current().ok()?.total;
        let idle = cpu.idle + cpu.iowait.unwrap_or(0);
        let busy = cpu.user
            + cpu.nice
            + cpu.system
            + cpu.irq.unwrap_or(0)
            + cpu.softirq.unwrap_or(0)
            + cpu.steal.unwrap_or(0);
        Some(Self {
            all: busy + idle,
            idle,
        })
    }

    /// Which share of the time until `later` they were busy. `None`: no tick has passed.
    fn busy_permille(self, later: Self) -> Option<u32> {
        let all = later.all.checked_sub(self.all).filter(|ticks| *ticks > 0)?;
        let idle = later.idle.saturating_sub(self.idle).min(all);
        u32::try_from((all - idle) * 1000 / all).ok()
    }
}

/// How many descriptors this process has, without the one that is used for counting.
fn descriptors() -> Result<u32, String> {
    let path = "/proc/self/fd";
    let list = std::fs::read_dir(path).map_err(|e| format!("could not read {path}: {e}"))?;
    Ok(u32::try_from(list.count().saturating_sub(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_the_share_of_ticks_that_were_not_idle() {
        let load = |all, idle| Load { all, idle };
        assert_eq!(load(1000, 900).busy_permille(load(1100, 1000)), Some(0));
        assert_eq!(load(1000, 900).busy_permille(load(1100, 975)), Some(250));
        assert_eq!(load(1000, 900).busy_permille(load(1100, 900)), Some(1000));
        assert_eq!(
            load(1000, 900).busy_permille(load(1000, 900)),
            None,
            "no tick"
        );
        assert_eq!(
            load(1000, 900).busy_permille(load(1100, 1200)),
            Some(0),
            "idle time is counted apart, and can run ahead"
        );
        assert!(Load::now().is_some());
    }

    #[test]
    fn right_is_this_site_no_other_and_not_before_its_end() {
        let empty = |site, decided_ns| Completion {
            site,
            verdict: Verdict::Empty {
                woke_ns: 0,
                decided_ns,
            },
        };
        assert_eq!(
            judge(3, Some(10), &[empty(3, 11)]),
            (Outcome::Right, Some(11), None)
        );
        assert_eq!(judge(3, Some(10), &[empty(3, 9)]).0, Outcome::Early);
        assert_eq!(
            judge(3, None, &[empty(3, 9)]).0,
            Outcome::Early,
            "it never stamped"
        );
        assert_eq!(
            judge(3, Some(10), &[empty(4, 11)]).0,
            Outcome::Early,
            "another site"
        );
        assert_eq!(
            judge(3, Some(10), &[empty(3, 11), empty(4, 11)]).0,
            Outcome::Early
        );
        assert_eq!(judge(3, Some(10), &[]).0, Outcome::Missed);
        let unknown = Completion {
            site: 3,
            verdict: Verdict::unknown("EIO"),
        };
        assert_eq!(judge(3, Some(10), &[unknown]).0, Outcome::Unknown);
    }
}
