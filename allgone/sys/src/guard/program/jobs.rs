//! The table of jobs: which processes are whose, and which cgroups are watched.

use super::call::{self, Fd};
use super::channel::tell;
use super::poll::{self, Poll};
use super::process::Ended;
use super::raw::Errno;
use super::wire::{self, Notice};

/// The most jobs at a time. A slot that was never used takes no memory.
pub(crate) const JOBS: usize = 16_384;

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// The slot is free.
    Free = 0,
    /// The first process has not ended.
    Running,
    /// It has, and others live.
    Left,
}

/// Column by column, so that the search for a process reads nothing else. All zero is empty.
pub(crate) struct Jobs {
    states: [State; JOBS],
    pids: [i32; JOBS],
    channels: [Fd; JOBS],
    /// `cgroup.events`, open.
    events: [Fd; JOBS],
    /// No slot from here on is in use.
    end: usize,
    /// How many have ended but for others.
    left: usize,
}

impl Jobs {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.free().is_some()
    }

    fn free(&self) -> Option<usize> {
        let used = self.states.iter().take(self.end);
        let free = used.clone().position(|state| *state == State::Free);
        free.or_else(|| (self.end < JOBS).then_some(self.end))
    }

    /// Takes one in, with its descriptors.
    pub(crate) fn add(&mut self, pid: i32, channel: Fd, events: Fd) {
        let Some(slot) = self.free() else {
            return;
        };
        if let (Some(state), Some(p), Some(c), Some(e)) = (
            self.states.get_mut(slot),
            self.pids.get_mut(slot),
            self.channels.get_mut(slot),
            self.events.get_mut(slot),
        ) {
            (*state, *p, *c, *e) = (State::Running, pid, channel, events);
            self.end = self.end.max(slot + 1);
        }
    }

    /// A process has been reaped: if it is a job's first one, its host is told.
    pub(crate) fn ended(&mut self, ended: &Ended, poll: Poll) {
        let mut pids = self.pids.iter().zip(&self.states).take(self.end);
        let slot = pids.position(|(pid, state)| *pid == ended.pid && *state == State::Running);
        let Some(slot) = slot else {
            return;
        };
        // At once: the host reads `populated` itself, and need not wait until it has been read
        // here.
        tell(
            self.channels[slot],
            &Notice {
                kind: wire::ENDED,
                pid: ended.pid,
                code: ended.code,
                status: ended.status,
                at_ns: call::now_ns(),
                user_us: ended.user_us,
                system_us: ended.system_us,
                peak_kib: ended.peak_kib,
            },
            None,
        );
        self.states[slot] = State::Left;
        self.left += 1;
        if !self.look(slot, poll) {
            // Somebody is left. The last of them is this process's child by then, unless it was
            // started by nobody of the job; then only the file tells, with up to 20 ms of delay.
            let watched = poll.add(self.events[slot], poll::PRI, token(slot));
            if let Err(errno) = watched {
                self.over(slot, wire::UNKNOWN, errno, poll);
            }
        }
    }

    /// Whether a job's first process has ended, and others live.
    pub(crate) fn any_left(&self) -> bool {
        self.left > 0
    }

    /// Looks whether one of these is empty by now.
    pub(crate) fn look_at_all(&mut self, poll: Poll) {
        let mut rest = self.left;
        for slot in 0..self.end {
            if rest == 0 {
                break;
            }
            if self.states[slot] == State::Left {
                rest -= 1;
                self.look(slot, poll);
            }
        }
    }

    /// As [`Self::look_at_all`], at the one that a token of the poll names.
    pub(crate) fn look_at(&mut self, token: u64, poll: Poll) {
        let slot = usize::try_from(token)
            .ok()
            .and_then(|t| t.checked_sub(TOKENS));
        if let Some(slot) = slot.filter(|slot| self.states.get(*slot) == Some(&State::Left)) {
            self.look(slot, poll);
        }
    }

    /// Reads `populated`; if it is 0 the job is over. Only of a job whose first process has ended.
    fn look(&mut self, slot: usize, poll: Poll) -> bool {
        match populated(self.events[slot]) {
            Ok(true) => return false,
            Ok(false) => self.over(slot, wire::EMPTY, Errno(0), poll),
            Err(errno) => self.over(slot, wire::UNKNOWN, errno, poll),
        }
        true
    }

    fn over(&mut self, slot: usize, kind: u32, errno: Errno, poll: Poll) {
        let notice = Notice {
            kind,
            code: errno.0,
            at_ns: call::now_ns(),
            ..Notice::default()
        };
        tell(self.channels[slot], &notice, None);
        call::close(self.channels[slot]);
        // Not by closing alone: a child on its way to exec may have a copy.
        poll.remove(self.events[slot]);
        call::close(self.events[slot]);
        self.states[slot] = State::Free;
        self.left -= 1;
        while self.end > 0 && self.states[self.end - 1] == State::Free {
            self.end -= 1;
        }
    }
}

/// Tokens of a poll below this are not jobs'.
const TOKENS: usize = 16;

fn token(slot: usize) -> u64 {
    (slot + TOKENS) as u64
}

/// What `cgroup.events` says. Errors: it cannot be read, or does not say it (`EBADMSG`).
fn populated(events: Fd) -> Result<bool, Errno> {
    const KEY: &[u8] = b"populated ";
    let mut room = [0u8; 128];
    let filled = call::read_again(events, &mut room)?;
    let text = room.get(..filled).unwrap_or(&[]);
    let at = text.windows(KEY.len()).position(|window| window == KEY);
    match at.and_then(|at| text.get(at + KEY.len())) {
        Some(b'0') => Ok(false),
        Some(b'1') => Ok(true),
        _ => Err(Errno::BADMSG),
    }
}
