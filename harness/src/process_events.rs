//! The kernel's fork, exec and exit events (proc connector), and the threads of a tree that they
//! tell of.
//!
//! Numbers are those of the initial PID namespace, stamps those of `CLOCK_MONOTONIC`. Every event
//! of the machine is received. Privilege: `CAP_NET_ADMIN`, in the initial network, PID and user
//! namespace. Sources: include/uapi/linux/cn_proc.h; drivers/connector/cn_proc.c.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use allgone::detect::DetectError;
use allgone::detect::limit;
use allgone::detect::sleep::{self, Slept};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::error::SysError;
use crate::sys::netlink::{self, Socket};
use crate::sys::time::now;

/// How long a probe waits for an event that takes microseconds.
const HEARING: Duration = Duration::from_millis(500);
/// `CN_IDX_PROC` and `CN_VAL_PROC`, and the multicast group of that index.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const NLMSG_DONE: u16 = 3;
/// Room for a burst: 4 MiB, if it is allowed.
const BUFFER_BYTES: i32 = 4 << 20;

/// A stream of events, from the moment at which it was asked for.
#[derive(Debug)]
pub(crate) struct ProcessEvents {
    socket: Socket,
    /// Number of the request.
    request: u32,
    order: Order,
}

impl ProcessEvents {
    /// Asks for events.
    pub(crate) fn listen() -> Result<Self, DetectError> {
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
        Ok(Self {
            socket,
            request: number,
            order: Order::default(),
        })
    }

    /// Waits until the kernel has answered the request, and has reported a process after that.
    /// Outside of the initial PID and user namespace it does neither; but events that another
    /// process asked for arrive there too, with the numbers of the initial namespace, for as long
    /// as that process listens.
    pub(crate) fn hear(&mut self) -> Result<(), DetectError> {
        let deadline = now() + HEARING;
        let answer = self.request.wrapping_add(1);
        let (mut answered, mut told) = (false, false);
        loop {
            self.drain(|_, event| match event {
                Event::Answer { ack } => answered |= ack == answer,
                _ => told = true,
            })?;
            if answered && told {
                return Ok(());
            }
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            if deadline.has_passed() || matches!(sleep::on(&mut fds, deadline)?, Slept::Deadline) {
                return Err(SysError::plain("hear the kernel answer", Errno::ENOMSG).into());
            }
        }
    }

    /// Hands every event that has come to `enter`, with its stamp. True: something before one of
    /// them was lost.
    pub(crate) fn drain(&mut self, mut enter: impl FnMut(u64, Event)) -> Result<bool, SysError> {
        let mut lost = false;
        let mut buffer = [0u8; 1024];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(datagram) => {
                    for message in netlink::messages(datagram) {
                        if let Some(told) = parse(message.payload) {
                            lost |= !self.order.admits(told.cpu, told.seq);
                            enter(told.stamp_ns, told.event);
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

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The number that each CPU's next event should have.
#[derive(Debug, Default)]
struct Order(BTreeMap<u32, u32>);

impl Order {
    /// False if an event before this one is missing.
    fn admits(&mut self, cpu: u32, seq: u32) -> bool {
        // An answer that no CPU has numbered (older kernels) bears the number of its request.
        cpu == u32::MAX
            || self
                .0
                .insert(cpu, seq.wrapping_add(1))
                .is_none_or(|expected| expected == seq)
    }
}

/// One event that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A thread or a process was made: `child`, of process `group`, whose parent is `parent`.
    Fork { parent: i32, child: i32, group: i32 },
    /// A thread executes a program.
    Exec { thread: i32 },
    /// A thread has ended.
    Exit { thread: i32 },
    /// The kernel's answer to any process's request, with the number of the request plus one.
    Answer { ack: u32 },
    /// Anything else; only its number counts.
    Other,
}

/// An event, where it was numbered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    cpu: u32,
    seq: u32,
    stamp_ns: u64,
    event: Event,
}

/// Reads `struct cn_msg` and the `struct proc_event` behind it.
fn parse(payload: &[u8]) -> Option<Told> {
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
    let stamp = payload.get(28..36)?.try_into().ok()?;
    // what, cpu, timestamp: 16 bytes; then the data.
    let event = match word(20)? {
        0x0 => Event::Answer { ack: word(12)? },
        0x1 => Event::Fork {
            parent: pid(40)?,
            child: pid(44)?,
            group: pid(48)?,
        },
        0x2 => Event::Exec { thread: pid(36)? },
        0x8000_0000 => Event::Exit { thread: pid(36)? },
        _ => Event::Other,
    };
    Some(Told {
        cpu: word(24)?,
        seq: word(8)?,
        stamp_ns: u64::from_ne_bytes(stamp),
        event,
    })
}

/// The threads of one tree that are alive, by the events so far: every fork adds a thread if its
/// parent is among them, and every exit removes one.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Threads, with the process that each belongs to.
    pub(crate) threads: BTreeMap<i32, i32>,
}

impl Books {
    /// Enters one event. True: a thread of the tree was alive when it happened.
    pub(crate) fn enter(&mut self, event: Event) -> bool {
        match event {
            Event::Fork {
                parent,
                child,
                group,
            } => {
                // The parent of a new thread is that of its process, not the process that made it
                // (`real_parent`: CLONE_THREAD implies CLONE_PARENT).
                let of_tree = |process: &i32| *process == parent || *process == group;
                let ours = self.threads.values().any(of_tree);
                if ours {
                    self.threads.insert(child, group);
                }
                ours
            }
            // A thread that executes ends the others of its process, and takes over the number of
            // the first: under its own it never ends.
            Event::Exec { thread } => {
                let ours = self.threads.values().any(|process| *process == thread);
                if ours {
                    self.threads.retain(|_, process| *process != thread);
                    self.threads.insert(thread, thread);
                }
                ours
            }
            Event::Exit { thread } => {
                self.threads.remove(&thread);
                false
            }
            Event::Answer { .. } | Event::Other => false,
        }
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
        assert!(books.enter(fork(10, 20)));
        books.enter(Event::Exit { thread: 10 });
        assert!(books.enter(fork(20, 30)));
        assert!(!books.enter(fork(99, 98)));
        books.enter(Event::Exit { thread: 20 });
        assert_eq!(books.threads.keys().copied().collect::<Vec<_>>(), [30]);
        assert!(
            books.enter(Event::Exec { thread: 30 }) && !books.enter(Event::Exec { thread: 98 })
        );
        books.enter(Event::Exit { thread: 30 });
        assert!(books.threads.is_empty());
    }

    #[test]
    fn a_missing_number_is_a_loss_and_the_first_of_a_cpu_is_any() {
        let mut order = Order::default();
        assert!(order.admits(0, 7) && order.admits(1, 3) && order.admits(0, 8));
        assert!(!order.admits(0, 10), "number 9 is missing");
        assert!(order.admits(0, 11));
    }

    #[test]
    fn answers_to_other_listeners_are_no_loss() {
        let mut order = Order::default();
        for seq in [7, 7, 0, 4_000_000_000] {
            assert!(order.admits(u32::MAX, seq));
        }
        assert!(order.0.is_empty());
        assert!(order.admits(0, 7), "a CPU numbers its answers, too");
        assert!(order.admits(0, 8));
    }

    #[test]
    fn a_process_whose_leader_ended_lives_through_its_threads() {
        let mut books = Books::default();
        books.threads.insert(10, 10);
        books.enter(Event::Fork {
            parent: 1,
            child: 11,
            group: 10,
        });
        books.enter(Event::Exit { thread: 10 });
        books.enter(fork(10, 12));
        assert_eq!(books.threads.len(), 2);
    }

    #[test]
    fn a_thread_that_executes_goes_on_under_the_number_of_the_first() {
        let mut books = Books::default();
        books.threads.insert(10, 10);
        for child in [11, 12] {
            books.enter(Event::Fork {
                parent: 1,
                child,
                group: 10,
            });
        }
        books.enter(Event::Exit { thread: 12 });
        // Thread 11 executes. The first one ends, before or after that is told.
        books.enter(Event::Exit { thread: 10 });
        assert!(books.enter(Event::Exec { thread: 10 }));
        assert_eq!(books.threads.keys().copied().collect::<Vec<_>>(), [10]);
        books.enter(Event::Exit { thread: 10 });
        assert!(books.threads.is_empty());
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
        payload.extend(9u64.to_ne_bytes()); // timestamp
        for pid in [5i32, 6, 7, 8] {
            payload.extend(pid.to_ne_bytes());
        }
        let told = Told {
            cpu: 3,
            seq: 42,
            stamp_ns: 9,
            event: Event::Fork {
                parent: 6,
                child: 7,
                group: 8,
            },
        };
        assert_eq!(parse(&payload), Some(told));
        assert_eq!(parse(&payload[..30]), None);
    }
}
