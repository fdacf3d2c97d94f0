//! The guard's life: it starts what it is asked to, reaps, tells, and clears the ground when the
//! host is gone.

use super::call::{self, Fd};
use super::channel::{self, CONTROL_WORDS, Came, tell};
use super::child::{CGROUP, CHANNEL, Request};
use super::ground::Ground;
use super::jobs::Jobs;
use super::oom::Spared;
use super::poll::{self, Event, Poll};
use super::process::{self, Disposition};
use super::prompt::Prompt;
use super::raw::Errno;
use super::second::{self, Second};
use super::wire::{self, Header, Notice, born};

/// All that the guard remembers: made once, all zeros, in memory that takes no room until it is
/// used.
pub(crate) struct Memory {
    pub(crate) jobs: Jobs,
    pub(crate) bytes: [u8; wire::REQUEST_BYTES],
    pub(crate) control: [u64; CONTROL_WORDS],
    pub(crate) fds: [Fd; wire::DESCRIPTORS],
}

const SIGCHLD: i32 = 17;
const SIGPIPE: i32 = 13;

const SOCKET: u64 = 1;
const HOST: u64 = 2;
const SIGNALS: u64 = 3;

/// How long after the last death `populated` is read again, in milliseconds: from Linux 6.19 it
/// changes only after the process has been reaped.
const AGAIN_MS: [i32; 6] = [0, 1, 2, 4, 8, 16];

/// How long a dead host's processes are killed and its cgroups removed before the guard gives up.
const CLEARING_NS: u64 = 60_000_000_000;

pub(crate) struct Guard<'a> {
    memory: &'a mut Memory,
    ground: Ground,
    poll: Poll,
    signals: Fd,
    second: Second,
    /// Set if the OOM killer spares this process.
    spared: Option<Spared>,
    /// Set if this process has the shortest slices.
    prompt: Option<Prompt>,
    /// No descriptor of a job has a number from here on. So there is always room for the first that
    /// comes with a request, through which a refusal is told.
    files: Fd,
}

/// What has become of the host when the guard ends.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// It is done, and waits for the guard's end.
    Waits,
    /// It is dead, or has become another program.
    IsGone,
}

/// How many numbers stay free.
const SPARE: i32 = 8;

impl<'a> Guard<'a> {
    /// What has to stand before the first request. `spare`: the OOM killer is to spare this
    /// process.
    pub(crate) fn begin(
        memory: &'a mut Memory,
        ground: Ground,
        spare: bool,
    ) -> Result<Self, Errno> {
        const PR_SET_CHILD_SUBREAPER: usize = 36;
        // Only SIGKILL and SIGSTOP come through.
        process::signal_mask(u64::MAX)?;
        // What was ignored stays so through exec; these two may not: children would vanish, and
        // programs expect the other one.
        process::on_signal(SIGCHLD, &Disposition::Default)?;
        process::on_signal(SIGPIPE, &Disposition::Default)?;
        process::prctl(PR_SET_CHILD_SUBREAPER, 1)?;
        process::set_name(c"allgone-guard");
        // Before the second is forked, which is to be spared, too.
        let spared = if spare { Spared::from_now_on() } else { None };
        let prompt = Prompt::from_now_on();
        // Two descriptors a job. What a job may have is said with each request.
        let [_, hard] = process::limit(process::NOFILE, None)?;
        process::limit(process::NOFILE, Some([hard, hard]))?;
        let files = Fd::try_from(hard).unwrap_or(Fd::MAX) - SPARE;
        let signals = call::signals(1 << (SIGCHLD - 1) | 1 << (second::HOST_GONE - 1))?;
        let poll = Poll::new()?;
        poll.add(born::SOCKET, poll::IN, SOCKET)?;
        poll.add(born::HOST, poll::IN, HOST)?;
        poll.add(signals, poll::IN, SIGNALS)?;
        Ok(Self {
            memory,
            ground,
            poll,
            signals,
            second: Second::start(ground)?,
            spared,
            prompt,
            files,
        })
    }

    /// Serves until the host is done, is dead, or has become another program. Then it clears the
    /// ground: there is nothing on it if the host is done.
    pub(crate) fn serve(mut self) -> ! {
        let mut events = [Event::NONE; 64];
        let mut again = AGAIN_MS.len();
        let host = loop {
            let timeout = if self.memory.jobs.any_left() {
                AGAIN_MS.get(again).copied().unwrap_or(-1)
            } else {
                -1
            };
            let count = self.poll.wait(&mut events, timeout).unwrap_or(0);
            let happened = |token| events.iter().take(count).any(|e| e.token() == token);
            if happened(HOST) {
                break Host::IsGone;
            }
            if happened(SIGNALS) {
                again = 0;
                if self.reap() {
                    break Host::IsGone;
                }
            }
            if count == 0 {
                again += 1;
                self.memory.jobs.look_at_all(self.poll);
            }
            for event in events.iter().take(count) {
                self.memory.jobs.look_at(event.token(), self.poll);
            }
            if happened(SOCKET)
                && let Some(host) = self.requests()
            {
                break host;
            }
        };
        let guard = Some((self.second, self.signals));
        clear(self.ground, self.poll, guard, host)
    }

    /// Reaps all that have ended. True: the second has found that the host is gone, which is so.
    fn reap(&mut self) -> bool {
        let signal = next_signal(self.signals);
        while let Ok(Some(ended)) = process::reap() {
            if self.second.has_died(&ended) {
                // Without one the guard goes on; the next death tries again.
                self.second = Second::start(self.ground).unwrap_or_default();
            } else {
                self.memory.jobs.ended(&ended, self.poll);
            }
        }
        if self.memory.jobs.any_left() {
            self.memory.jobs.look_at_all(self.poll);
        }
        signal == Some(second::HOST_GONE) && call::is_locked(born::LOCK) == Ok(false)
    }

    /// Serves what has been asked for. Some at a time, so that the dead do not wait. `None`: there
    /// will be more.
    fn requests(&mut self) -> Option<Host> {
        for _ in 0..8 {
            let Memory {
                bytes,
                control,
                fds,
                ..
            } = &mut *self.memory;
            match channel::receive(born::SOCKET, bytes, control, fds) {
                Came::Nothing => break,
                Came::End => return Some(Host::IsGone),
                Came::Cut(errno, count) => self.refuse(errno, count),
                Came::Request(length, count) => {
                    let bytes = bytes.get(..length).unwrap_or(&[]);
                    match wire::take::<Header>(bytes) {
                        Some((header, _))
                            if header.version != wire::VERSION
                                || header.bytes as usize != length =>
                        {
                            self.refuse(Errno::BADMSG, count);
                        }
                        Some((header, _)) if header.kind == wire::FINISH => {
                            return Some(Host::Waits);
                        }
                        Some((header, _)) if header.kind == wire::SPAWN => {
                            self.spawn(length, count);
                        }
                        _ => self.refuse(Errno::BADMSG, count),
                    }
                }
            }
        }
        None
    }

    /// Says that there is no process, and closes what came.
    fn refuse(&mut self, errno: Errno, count: usize) {
        let notice = Notice {
            kind: wire::REFUSED,
            code: errno.0,
            ..Notice::default()
        };
        let fds = self.memory.fds.iter().take(count);
        if let Some(channel) = fds.clone().next() {
            tell(*channel, &notice, None);
        }
        fds.for_each(|fd| call::close(*fd));
    }

    fn spawn(&mut self, length: usize, count: usize) {
        let Memory {
            jobs, bytes, fds, ..
        } = &mut *self.memory;
        let came = fds.get_mut(..count).unwrap_or_default();
        let bytes = bytes.get(..length).unwrap_or(&[]);
        let Some(request) = Request::parse(bytes, came) else {
            return self.refuse(Errno::BADMSG, count);
        };
        if !jobs.has_room() {
            return self.refuse(Errno::AGAIN, count);
        }
        if request.highest() >= self.files {
            return self.refuse(Errno::MFILE, count);
        }
        let (channel, cgroup) = (request.fd(CHANNEL), request.fd(CGROUP));
        // Before there is a process, so that there is none that cannot be watched.
        let events = match call::open(cgroup, c"cgroup.events", call::READ_ONLY) {
            Ok(events) => events,
            Err(errno) => return self.refuse(errno, count),
        };
        let mut refused = Errno(0);
        let forked = match process::fork_into(cgroup) {
            // An old kernel, or a seccomp policy.
            Err(errno @ (Errno::NOSYS | Errno::PERM | Errno::TOO_BIG)) => {
                refused = errno;
                process::fork()
            }
            forked => forked,
        };
        match forked {
            Ok((0, _)) => {
                let (spared, prompt) = (self.spared.as_ref(), self.prompt.as_ref());
                request.run(refused != Errno(0), spared, prompt)
            }
            Ok((pid, pidfd)) => {
                let notice = Notice {
                    kind: wire::STARTED,
                    pid,
                    code: refused.0,
                    at_ns: call::now_ns(),
                    ..Notice::default()
                };
                tell(channel, &notice, Some(pidfd));
                jobs.add(pid, channel, events);
                call::close(pidfd);
                // The report too: its end is to be the child's alone.
                fds.iter()
                    .take(count)
                    .filter(|fd| **fd != channel)
                    .for_each(|fd| call::close(*fd));
            }
            Err(errno) => {
                call::close(events);
                self.refuse(errno, count);
            }
        }
    }
}

/// The number of the next signal.
fn next_signal(signals: Fd) -> Option<i32> {
    // `struct signalfd_siginfo` begins with it.
    let mut room = [0u8; 128];
    call::read(signals, &mut room).ok()?;
    wire::take::<i32>(&room).map(|(number, _)| number)
}

/// Kills, removes, leaves its own cgroup, and ends the process: the guard, with its second and its
/// signals, or the second.
///
/// The guard's second stays until there is nothing left but their cgroup, in which it is: if the
/// guard is killed meanwhile, it does the same.
pub(crate) fn clear(ground: Ground, poll: Poll, mut guard: Option<(Second, Fd)>, host: Host) -> ! {
    let begun = call::now_ns();
    // The socket and the host are readable for good, which is known by now.
    poll.remove(born::SOCKET);
    poll.remove(born::HOST);
    let mut pause_ms = 1;
    loop {
        if let Some((second, signals)) = &mut guard {
            next_signal(*signals);
            while let Ok(Some(ended)) = process::reap() {
                second.has_died(&ended);
            }
        }
        // Not while what was killed at first may still be on its way out.
        let left = ground.clear_once(pause_ms > 4);
        if left == Ok(0) || call::now_ns().wrapping_sub(begun) > CLEARING_NS {
            if let Some((second, _)) = &mut guard {
                second.dismiss();
            }
            let gone = left == Ok(0) && ground.leave(host);
            process::exit(i32::from(!gone));
        }
        // A death wakes it, and those that are no children of this process are looked for again.
        match poll.wait(&mut [Event::NONE; 4], pause_ms) {
            Ok(_) | Err(_) => {}
        }
        pause_ms = (pause_ms * 2).min(16);
    }
}
