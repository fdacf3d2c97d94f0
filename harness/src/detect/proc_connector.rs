//! Listen to the kernel's fork and exit events (proc connector), and keep a list of the tree's
//! threads.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::common::probe;
use super::common::proc_stat;
use super::{Counters, DetectError, Detector, DetectorSpec, Verdict, Wake, Watch};
use crate::MonoNs;
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::netlink::{self, Socket};
use crate::sys::time::now;
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::detect::sleep::{self, Slept};
use allgone::detect::{Progress, Sources, Tally};
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::{Child, SpawnOptions};

/// Every fork adds a thread to the list if its parent is in it, and every exit removes one. When
/// the list is empty the tree is over.
///
/// The list is only as good as the stream of events: a loss is noticed (a gap in a CPU's numbers,
/// or `ENOBUFS`), /proc is scanned to go on, and from then on the end is reported as *unknown*,
/// never as empty.
#[derive(Debug)]
pub(super) struct ProcConnector;

static SPEC: DetectorSpec = DetectorSpec {
    id: "proc-connector",
    summary: "Keeps a list of the tree's threads from the fork and exit events of the whole \
        machine (netlink).",
    scope: Scope::SystemWide,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(1),
    since: KernelVersion(2, 6),
    privilege: "CAP_NET_ADMIN, in the initial network, PID and user namespace",
    escapes: "a child made with CLONE_PARENT (its parent is not in the list), and a process that \
        joined the cgroup from outside",
    early: "when a process has escaped",
    late: "one wake-up, after the exit has been reported to the parent; more while the machine \
        forks a lot, as every event on it is read",
    idle_cost: "nothing on an idle machine; else a wake-up for every fork, exec and exit of any \
        thread on it. Not filtered in the kernel: only the reader's list knows to which tree a \
        fork belongs, and the numbers of a filtered stream would have gaps",
    overflow: "noticed by ENOBUFS and by per-CPU numbers: /proc is scanned to go on, and the \
        verdict is then unknown",
    loses_on_removal: false,
    sources: &[
        "include/uapi/linux/cn_proc.h",
        "drivers/connector/cn_proc.c: proc_exit_connector(), send_msg()",
    ],
    axes: &[],
};

impl Detector for ProcConnector {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        let heard = listen().and_then(|(socket, request)| {
            let passed = probe::in_cgroup(host, |site| {
                probe::passer_by(site, 0)
                    .map_err(|e| SysError::path("start a process in", site.path(), e))?;
                Ok(Support::Available)
            });
            passed.map_err(|e| SysError::path("probe", e.to_string(), Errno::EIO))?;
            hear(&socket, request)
        });
        match heard {
            Err(DetectError::Sys(e)) => match e.errno {
                Errno::EPERM => Ok(Support::missing(e, "CAP_NET_ADMIN")),
                Errno::EPROTONOSUPPORT => {
                    Ok(Support::missing(e, "a kernel with CONFIG_PROC_EVENTS"))
                }
                Errno::ENOMSG => Ok(Support::missing(
                    e,
                    "the initial PID, user and network namespace",
                )),
                _ => Err(e.into()),
            },
            other => probe::armed(other),
        }
    }

    fn arm(&self, _: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Listening {
            socket: listen()?.0,
            books: Books::default(),
            tally: Tally::default(),
        }))
    }
}

/// How long a probe waits for an event that takes microseconds.
const HEARING: Duration = Duration::from_millis(500);
/// `CN_IDX_PROC` and `CN_VAL_PROC`, and the multicast group of that index.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const NLMSG_DONE: u16 = 3;
/// Room for a burst: 4 MiB, if it is allowed.
const BUFFER_BYTES: i32 = 4 << 20;

/// Asks for events. Returns the number of the request with the socket.
fn listen() -> Result<(Socket, u32), DetectError> {
    let socket = Socket::open(netlink::CONNECTOR, CN_IDX_PROC)
        .map_err(|e| limit::descriptor(SysError::plain("open a connector socket", e)))?;
    match socket.force_buffer(BUFFER_BYTES) {
        // The usual size will do; a loss is noticed.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(e) => return Err(SysError::plain("setsockopt(SO_RCVBUFFORCE)", e).into()),
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "any number will do that others have not taken"
    )]
    let number = now().0 as u32 ^ std::process::id();
    // struct cn_msg: idx, val, seq, ack, len, flags; then the operation.
    let mut request = Vec::new();
    for word in [CN_IDX_PROC, CN_VAL_PROC, 0, number] {
        request.extend(word.to_ne_bytes());
    }
    request.extend(4u16.to_ne_bytes());
    request.extend(0u16.to_ne_bytes());
    request.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    socket
        .send(&netlink::message(NLMSG_DONE, 0, &request))
        .map_err(|e| SysError::plain("ask for process events", e))?;
    Ok((socket, number))
}

/// Waits until the kernel has answered request `number`, and has reported a process after that.
/// Outside of the initial PID and user namespace it does neither; but events that another process
/// asked for arrive there too, with the numbers of the initial namespace, for as long as that
/// process listens.
fn hear(socket: &Socket, number: u32) -> Result<(), DetectError> {
    let deadline = now() + HEARING;
    let (mut answered, mut told) = (false, false);
    let mut buffer = [0u8; 1024];
    loop {
        match socket.receive(&mut buffer) {
            Ok(datagram) => {
                for message in netlink::messages(datagram) {
                    match parse(message.payload) {
                        Some((_, _, Event::Answer { ack })) => {
                            answered |= ack == number.wrapping_add(1)
                        }
                        Some(_) => told = true,
                        None => {}
                    }
                }
            }
            Err(Errno::ENOBUFS | Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                if let Slept::Deadline = sleep::on(&mut fds, deadline)? {
                    return Err(SysError::plain("hear the kernel answer", Errno::ENOMSG).into());
                }
            }
            Err(e) => return Err(SysError::plain("receive process events", e).into()),
        }
        if answered && told {
            return Ok(());
        }
        if deadline.has_passed() {
            return Err(SysError::plain("hear the kernel answer", Errno::ENOMSG).into());
        }
    }
}

/// One event that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A thread or a process was made: `child`, of process `group`, whose parent is `parent`.
    Fork { parent: i32, child: i32, group: i32 },
    /// A thread has ended.
    Exit { thread: i32 },
    /// The kernel's answer to any process's request, with the number of the request plus one.
    Answer { ack: u32 },
    /// Anything else; only its number counts.
    Other,
}

/// Reads `struct cn_msg` and the `struct proc_event` behind it: CPU, number, event.
fn parse(payload: &[u8]) -> Option<(u32, u32, Event)> {
    let word = |at: usize| {
        Some(u32::from_ne_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let pid = |at: usize| {
        Some(i32::from_ne_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let seq = word(8)?;
    let (what, cpu) = (word(20)?, word(24)?);
    // what, cpu, timestamp: 16 bytes; then the data.
    let event = match what {
        0x0 => Event::Answer { ack: word(12)? },
        0x1 => Event::Fork {
            parent: pid(40)?,
            child: pid(44)?,
            group: pid(48)?,
        },
        0x8000_0000 => Event::Exit { thread: pid(36)? },
        _ => Event::Other,
    };
    Some((cpu, seq, event))
}

/// The threads of the tree that are alive, by the events so far.
#[derive(Debug, Default)]
struct Books {
    /// Threads, with the process that each belongs to.
    threads: BTreeMap<i32, i32>,
    /// The number that each CPU's next event should have.
    next: BTreeMap<u32, u32>,
    /// Whether something has been lost since the beginning.
    lost: bool,
}

impl Books {
    /// Enters one event. Returns false if one before it is missing.
    fn enter(&mut self, cpu: u32, seq: u32, event: Event) -> bool {
        // An answer that no CPU has numbered (older kernels) bears the number of its request.
        if cpu == u32::MAX {
            return true;
        }
        let in_order = self
            .next
            .insert(cpu, seq.wrapping_add(1))
            .is_none_or(|expected| expected == seq);
        match event {
            Event::Fork {
                parent,
                child,
                group,
            } => {
                // The parent of a new thread is that of its process, not the process that made it
                // (`real_parent`: CLONE_THREAD implies CLONE_PARENT).
                let ours = |process: &i32| *process == parent || *process == group;
                if self.threads.values().any(ours) {
                    self.threads.insert(child, group);
                }
            }
            Event::Exit { thread } => {
                self.threads.remove(&thread);
            }
            Event::Answer { .. } | Event::Other => {}
        }
        in_order
    }

    /// Goes on after a loss: removes threads that are not there any more, and enters descendants
    /// that are.
    fn rescan(&mut self) -> Result<(), SysError> {
        self.lost = true;
        let all = proc_stat::scan()?;
        let living: BTreeSet<i32> = all.iter().filter(|s| !s.over()).map(|s| s.pid).collect();
        self.threads.retain(|_, process| living.contains(process));
        loop {
            let before = self.threads.len();
            for stat in all.iter().filter(|s| !s.over()) {
                if self.threads.values().any(|process| *process == stat.ppid) {
                    self.threads.insert(stat.pid, stat.pid);
                }
            }
            if self.threads.len() == before {
                return Ok(());
            }
        }
    }
}

#[derive(Debug)]
struct Listening {
    socket: Socket,
    books: Books,
    tally: Tally,
}

impl Listening {
    /// Enters everything that has come. True: something was lost.
    fn drain(&mut self) -> Result<bool, SysError> {
        let mut lost = false;
        let mut buffer = [0u8; 1024];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(datagram) => {
                    for message in netlink::messages(datagram) {
                        if let Some((cpu, seq, event)) = parse(message.payload) {
                            lost |= !self.books.enter(cpu, seq, event);
                        }
                    }
                }
                Err(Errno::ENOBUFS) => lost = true,
                Err(Errno::EAGAIN) => return Ok(lost),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(SysError::plain("receive process events", e)),
            }
        }
    }
}

impl Watch for Listening {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        // The parent of its own fork event is not in the list, so it is entered by hand; what it
        // has forked since then is in the queue.
        self.books
            .threads
            .insert(child.pid.as_raw(), child.pid.as_raw());
        Ok(())
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.socket)
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check().reads += 1;
        if self.drain()? {
            self.tally.counters.overflows += 1;
            self.books.rescan()?;
        }
        if !self.books.threads.is_empty() {
            return Ok(Progress::pending());
        }
        Ok(Progress::done(if self.books.lost {
            Verdict::unknown(
                "events were lost; a scan of /proc finds none, but an orphan may have been missed",
            )
        } else {
            Verdict::empty(now)
        }))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(parent: i32, child: i32) -> Event {
        Event::Fork {
            parent,
            child,
            group: child,
        }
    }

    #[test]
    fn orphans_stay_in_the_books_and_strangers_do_not_come_in() {
        let mut books = Books::default();
        books.threads.insert(10, 10);
        assert!(books.enter(0, 7, fork(10, 20)));
        assert!(books.enter(0, 8, Event::Exit { thread: 10 }));
        assert!(
            books.enter(1, 3, fork(20, 30)),
            "the first number of a CPU is any"
        );
        assert!(books.enter(1, 4, fork(99, 98)));
        assert!(books.enter(0, 9, Event::Exit { thread: 20 }));
        assert_eq!(books.threads.keys().copied().collect::<Vec<_>>(), [30]);
        assert!(
            !books.enter(0, 11, Event::Exit { thread: 30 }),
            "number 10 is missing"
        );
        assert!(books.threads.is_empty());
    }

    #[test]
    fn answers_to_other_listeners_are_no_loss() {
        let mut books = Books::default();
        for seq in [7, 7, 0, 4_000_000_000] {
            assert!(books.enter(u32::MAX, seq, Event::Answer { ack: 1 }));
        }
        assert!(books.next.is_empty());
        assert!(books.enter(0, 7, Event::Answer { ack: 1 }));
        assert!(
            books.enter(0, 8, Event::Other),
            "a CPU numbers its answers, too"
        );
    }

    #[test]
    fn a_process_whose_leader_ended_lives_through_its_threads() {
        let mut books = Books::default();
        books.threads.insert(10, 10);
        books.enter(
            0,
            0,
            Event::Fork {
                parent: 1,
                child: 11,
                group: 10,
            },
        );
        books.enter(0, 1, Event::Exit { thread: 10 });
        books.enter(0, 2, fork(10, 12));
        assert_eq!(books.threads.len(), 2);
    }

    #[test]
    fn events_are_read_at_the_offsets_of_the_kernel() {
        let mut payload = Vec::new();
        for word in [1u32, 1, 42, 0] {
            payload.extend(word.to_ne_bytes());
        }
        payload.extend([40, 0, 0, 0]);
        payload.extend(1u32.to_ne_bytes()); // what: fork
        payload.extend(3u32.to_ne_bytes()); // cpu
        payload.extend(0u64.to_ne_bytes()); // timestamp
        for pid in [5i32, 6, 7, 8] {
            payload.extend(pid.to_ne_bytes());
        }
        let expected = Event::Fork {
            parent: 6,
            child: 7,
            group: 8,
        };
        assert_eq!(parse(&payload), Some((3, 42, expected)));
        assert_eq!(parse(&payload[..30]), None);
    }
}
