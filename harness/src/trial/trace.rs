//! The stages from exit to verdict, from the kernel's tracepoints. Only in trials that ask for it,
//! because tracing changes what it measures.
//!
//! perf events on every processor, filtered in the kernel, read by the harness: after the verdict,
//! and before that only where a buffer is half full. The exits of the whole machine are among them,
//! because the pids of the actors are not known before. The observer does nothing for it, and when
//! the descriptors are closed nothing is left. Sources: perf_event_open(2),
//! include/trace/events/{sched,signal,cgroup}.h.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Site, TrialSpec};
use crate::error::SysError;
use crate::expect::Scope;
use crate::record::Stages;
use crate::sys::perf::Tracepoint;
use crate::tracepoint::{Tracefs, online_cpus};

/// Pages of events kept for each processor. Those of one process are few; those of all exits are
/// not: where thousands of processes end in a second, the second half lasts for about one, and so
/// long may the harness wait for a processor on a machine that is that busy.
const PAGES: usize = 8;
const EXIT_PAGES: usize = 64;

/// Listens to one trial.
#[derive(Debug)]
pub(super) struct Tracer {
    exits: Heard,
    flips: Heard,
    wakings: Heard,
    switches: Heard,
}

/// Events of one kind on all processors, and what has been read of them.
#[derive(Debug)]
struct Heard {
    points: Vec<Tracepoint>,
    /// Process and time.
    events: Vec<(i32, u64)>,
    lost: u64,
}

impl Heard {
    fn read(&mut self) {
        for point in &mut self.points {
            self.lost += point.drain_stamped(|pid, ns| self.events.push((pid, ns)));
        }
    }
}

impl Tracer {
    /// Begins to listen. `observer` must not have armed yet. Errors: `EPERM`, `EACCES`, `ENOENT` a
    /// tracepoint is missing, `EMFILE`.
    pub(super) fn attach(
        observer: Pid,
        site: &Site,
        spec: &TrialSpec<'_>,
    ) -> Result<Self, SysError> {
        let tracefs = Tracefs::mount()?;
        let cpus = online_cpus()?;
        let listen = |name: &str, filter: Option<String>, pages| -> Result<Heard, SysError> {
            let number = tracefs.number(name)?;
            let filter = filter.map(CString::new).transpose();
            let filter = filter.map_err(|_| SysError::plain("write a filter", Errno::EINVAL))?;
            let mut all = Vec::new();
            for cpu in &cpus {
                match Tracepoint::stamped(number, *cpu, filter.as_deref(), pages) {
                    Ok(one) => all.push(one),
                    // The processor went offline: nothing happens there.
                    Err(Errno::ENODEV) => {}
                    Err(e) => {
                        return Err(SysError::path("perf_event_open on the tracepoint", name, e));
                    }
                }
            }
            Ok(Heard {
                points: all,
                events: Vec::new(),
                lost: 0,
            })
        };
        let populated = |id: u64| format!("id == {id} && val == 0");
        Ok(Self {
            exits: listen("sched/sched_process_exit", None, EXIT_PAGES)?,
            flips: match flip_of(spec) {
                None => Heard {
                    points: Vec::new(),
                    events: Vec::new(),
                    lost: 0,
                },
                Some(Flip::Populated) => {
                    let id = site.cgroup.id().map_err(|e| {
                        SysError::path("fstat", site.cgroup.path(), e.errno().unwrap_or(Errno::EIO))
                    })?;
                    listen("cgroup/cgroup_notify_populated", Some(populated(id)), PAGES)?
                }
                Some(Flip::Parent) => {
                    let signal = nix::libc::SIGCHLD;
                    listen(
                        "signal/signal_generate",
                        Some(format!("sig == {signal} && pid == {observer}")),
                        PAGES,
                    )?
                }
            },
            wakings: listen(
                "sched/sched_waking",
                Some(format!("pid == {observer}")),
                PAGES,
            )?,
            switches: listen(
                "sched/sched_switch",
                Some(format!("next_pid == {observer}")),
                PAGES,
            )?,
        })
    }

    /// Readable where a buffer is half full: then [`Tracer::read`] has to come soon.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let all = [&self.exits, &self.flips, &self.wakings, &self.switches];
        all.into_iter()
            .flat_map(|heard| heard.points.iter().map(AsFd::as_fd))
    }

    /// Reads what has come so far.
    pub(super) fn read(&mut self) {
        self.all().for_each(Heard::read);
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Heard> {
        [
            &mut self.exits,
            &mut self.flips,
            &mut self.wakings,
            &mut self.switches,
        ]
        .into_iter()
    }

    /// The stages until `decided_ns`. Errors: `ENOBUFS` the kernel had to drop events, so there is
    /// no result.
    pub(super) fn stages(mut self, site: &Site, decided_ns: u64) -> Result<Stages, SysError> {
        self.read();
        if self.all().any(|heard| heard.lost > 0) {
            return Err(SysError::plain(
                "keep all events of the tracepoints",
                Errno::ENOBUFS,
            ));
        }
        let actors: HashSet<i32> = site.ledger.entries().map(|entry| entry.pid).collect();
        let times = |heard: Heard| heard.events.into_iter().map(|(_, ns)| ns).collect();
        let mut exits = self.exits;
        exits.events.retain(|(pid, _)| actors.contains(pid));
        let seen = Seen {
            exits: times(exits),
            flips: times(self.flips),
            wakings: times(self.wakings),
            switches: times(self.switches),
        };
        Ok(seen.until(decided_ns))
    }
}

/// Where a mechanism's own state flips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flip {
    /// `populated` of the site, told by `cgroup_notify_populated`.
    Populated,
    /// The parent is signalled and woken. A pidfd's waiters are woken before that, so this is only
    /// for detectors that wait and reap.
    Parent,
}

fn flip_of(spec: &TrialSpec<'_>) -> Option<Flip> {
    match (spec.detector.spec().scope, spec.detector.spec().reaps()) {
        (Scope::Cgroup, _) => Some(Flip::Populated),
        (_, true) => Some(Flip::Parent),
        _ => None,
    }
}

/// Times of the events that concern a trial, in any order.
#[derive(Clone, Debug, Default)]
struct Seen {
    exits: Vec<u64>,
    flips: Vec<u64>,
    wakings: Vec<u64>,
    switches: Vec<u64>,
}

impl Seen {
    /// The stages of a decision. An event that does not follow from the stage before is left out:
    /// an observer that ran for another reason (or never slept) has neither been woken by the flip
    /// nor switched to because of it.
    fn until(&self, decided_ns: u64) -> Stages {
        let last = |times: &[u64], from: u64| {
            let within = times.iter().filter(|t| (from..=decided_ns).contains(*t));
            within.max().copied()
        };
        let exit_ns = last(&self.exits, 0);
        let flip_ns = exit_ns.and_then(|exit| last(&self.flips, exit));
        let waking_ns = flip_ns
            .or(exit_ns)
            .and_then(|flip| last(&self.wakings, flip));
        let running_ns = waking_ns.and_then(|waking| {
            let after = self
                .switches
                .iter()
                .filter(|t| (waking..=decided_ns).contains(*t));
            after.min().copied()
        });
        Stages {
            exit_ns,
            flip_ns,
            waking_ns,
            running_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_the_last_one_before_the_decision() {
        let seen = Seen {
            exits: vec![5, 10, 99],
            flips: vec![3, 12],
            wakings: vec![2, 13, 60],
            switches: vec![4, 15, 70],
        };
        assert_eq!(
            seen.until(20),
            Stages {
                exit_ns: Some(10),
                flip_ns: Some(12),
                waking_ns: Some(13),
                running_ns: Some(15),
            }
        );
    }

    #[test]
    fn who_was_woken_before_the_flip_was_not_woken_by_it() {
        let seen = Seen {
            exits: vec![10],
            flips: vec![12],
            wakings: vec![9, 11],
            switches: vec![14],
        };
        let stages = seen.until(20);
        assert_eq!((stages.exit_ns, stages.flip_ns), (Some(10), Some(12)));
        assert_eq!((stages.waking_ns, stages.running_ns), (None, None));
        // Without a flip of its own a mechanism wakes after the exit.
        let other = Seen {
            flips: vec![],
            ..seen
        };
        assert_eq!(
            (other.until(20).flip_ns, other.until(20).waking_ns),
            (None, Some(11))
        );
        assert_eq!(Seen::default().until(20), Stages::default());
    }
}
