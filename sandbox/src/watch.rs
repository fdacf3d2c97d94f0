//! The launcher while the program runs: passes on signals, and keeps what init does not.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use allgone::MonoNs;
use allgone::SysError;
use allgone::error::retry_eintr;
use allgone::sys::spawn::launch::{File, Launched, MESSAGE_BYTES, Message};
use allgone::sys::spawn::results::{Cause, Results};
use allgone::sys::wait::{Change, Whose, waitid};
use allgone::sys::{pidfd, time};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SignalFd, siginfo};
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::closed::Public;
use crate::closed::explain::Tracer;
use crate::control::{Control, Heard, Request};
use crate::error::RunError;
use crate::events::Events;
use crate::plan::Plan;

/// How long the end of everything may take after SIGKILL before it counts as not proved.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(10);

/// How long what main left may take to end when the terminal is gone.
const AFTER_HANG_UP: Duration = Duration::from_millis(500);

/// The launcher while the program runs.
pub(crate) struct Watch<'a> {
    pub(crate) launched: &'a Launched,
    pub(crate) signals: &'a SignalFd,
    pub(crate) results: &'a Results,
    pub(crate) events: &'a mut Events,
    pub(crate) plan: &'a Plan,
    /// What looks at system calls, if that is asked for.
    pub(crate) tracer: Option<Tracer<'a>>,
    /// What a library's caller says; `None`: there is none, or it is gone.
    pub(crate) control: Option<&'a Control>,
    /// What is written before init is killed.
    pub(crate) lifts: &'a [File<'a>],
    /// How long after a signal to end that was passed on init is killed.
    pub(crate) kill_after: Option<Duration>,
    /// When init is killed if it has not ended by itself, and why.
    pub(crate) backstop: Option<(MonoNs, Cause)>,
    /// When to take away what others have left: not before a short run would have ended.
    pub(crate) sweep: Option<MonoNs>,
    pub(crate) main_ended: bool,
    pub(crate) main_stopped: bool,
    /// Whether the terminal is gone.
    pub(crate) hung_up: bool,
    /// Whether a signal to end has been passed on to what main left.
    pub(crate) asked: bool,
    /// When init was killed.
    pub(crate) killed: Option<MonoNs>,
}

impl Watch<'_> {
    /// Until init has been reaped. `None`: it was killed and does not end.
    pub(crate) fn until_the_end(&mut self) -> Result<Option<Change>, RunError> {
        loop {
            let due = match self.killed {
                Some(at) => Some(at + END_LIMIT),
                None => self.backstop.map(|(at, _)| at),
            };
            let more = self.tracer.as_mut().is_some_and(Tracer::take_in);
            let at_once = more.then(time::now);
            let next = [due, self.sweep, at_once].into_iter().flatten().min();
            let [ended, told, signal, asked, moved] = self.poll(next)?;
            if ended {
                let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
                let pidfd = Whose::Pidfd(self.launched.pidfd.as_fd());
                return retry_eintr(|| waitid(pidfd, flags))
                    .map_err(|e| SysError::pid("waitid", self.launched.pid.as_raw(), e).into());
            }
            if told {
                self.hear()?;
            }
            if signal {
                while let Ok(Some(info)) = self.signals.read_signal() {
                    self.pass_on(&info);
                }
            }
            if asked {
                self.obey();
            }
            // What is not known to be the local network is open.
            if moved && self.public().is_some_and(|public| public.follow().is_err()) {
                self.kill(Cause::Asked);
            }
            if self.sweep.is_some_and(MonoNs::has_passed) {
                self.sweep = None;
                self.plan.sweep();
            }
            if due.is_some_and(MonoNs::has_passed) {
                match self.backstop {
                    Some((_, cause)) if self.killed.is_none() => {
                        self.results.set_killed();
                        self.kill(cause);
                    }
                    _ => return Ok(None),
                }
            }
        }
    }

    /// What of its network changes while it runs.
    fn public(&self) -> Option<&Public> {
        self.plan.closed.as_ref()?.public()
    }

    /// Whether init has ended or said something, whether there is a signal, a caller's wish,
    /// and a change to its network.
    fn poll(&self, due: Option<MonoNs>) -> Result<[bool; 5], RunError> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let nothing = || PollFd::new(self.signals.as_fd(), PollFlags::empty());
        let asked = self.control.map(Control::as_fd);
        let moved = self.public().map(Public::changes);
        let mut fds = [
            readable(self.launched.pidfd.as_fd()),
            readable(self.launched.bell.as_fd()),
            readable(self.signals.as_fd()),
            asked.map_or_else(nothing, readable),
            moved.map_or_else(nothing, readable),
        ];
        let timeout = due.map_or(PollTimeout::NONE, |at| {
            // Rounded up, so that it is due when this returns.
            let left = at.remaining() + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(SysError::plain("poll", e).into()),
        }
        Ok(fds.map(|fd| fd.any().unwrap_or(false)))
    }

    /// What init has said since it was last heard.
    fn hear(&mut self) -> Result<(), RunError> {
        let failed = |e| SysError::plain("read from init", e);
        match nix::unistd::read(&self.launched.bell, &mut [0; 8]) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(e) => return Err(failed(e).into()),
        }
        let socket = self.launched.socket.as_raw_fd();
        loop {
            let mut bytes = [0; MESSAGE_BYTES];
            match recv(socket, &mut bytes, MsgFlags::MSG_DONTWAIT) {
                // Its end is told by the pidfd.
                Ok(0) | Err(Errno::EAGAIN | Errno::ECONNRESET) => return Ok(()),
                Err(Errno::EINTR) => {}
                Ok(_) => self.take_in(Message::parse(bytes)),
                Err(e) => return Err(failed(e).into()),
            }
        }
    }

    fn take_in(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Born(_)) => self.events.started(self.launched.pid, self.plan),
            Some(Message::Stopped(signal)) => {
                self.main_stopped = true;
                stop(signal);
            }
            Some(Message::MainEnded) => {
                self.main_ended = true;
                self.events.main_ended(self.results.main_end());
                if self.hung_up {
                    self.end_soon();
                }
            }
            _ => {}
        }
    }

    /// What the library's caller asks for. If it is gone, so is what it started.
    fn obey(&mut self) {
        let Some(control) = self.control else {
            return;
        };
        match control.hear() {
            Heard::Nothing => {}
            Heard::Gone => {
                self.control = None;
                self.kill(Cause::LauncherGone);
            }
            Heard::Asked(Request::Signal(signal)) => self.tell(Message::Signal(signal)),
            Heard::Asked(Request::End) => self.tell(Message::End),
            Heard::Asked(Request::Kill) => self.kill(Cause::Asked),
        }
    }

    /// What a signal to the launcher means for the program. What the terminal sends, the program
    /// has got as well, being in the same process group.
    fn pass_on(&mut self, info: &siginfo) {
        let Ok(signal) = i32::try_from(info.ssi_signo) else {
            return;
        };
        let from_terminal = info.ssi_code == libc::SI_KERNEL;
        let asks_to_end = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
        let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        self.hung_up |= signal == libc::SIGHUP && terminal_is_gone();
        match signal {
            libc::SIGCHLD | libc::SIGPIPE | libc::SIGURG => {}
            libc::SIGCONT => {
                self.main_stopped = false;
                self.tell(Message::Signal(signal));
            }
            _ if stops.contains(&signal) && (self.main_ended || self.main_stopped) => stop(signal),
            libc::SIGHUP if self.main_ended && self.hung_up => self.end_soon(),
            _ if self.main_ended && asks_to_end.contains(&signal) => {
                // There is no main process any more that could answer: the second time it is no
                // request.
                if self.asked {
                    self.kill(Cause::Asked);
                } else {
                    self.asked = true;
                    self.tell(Message::Signal(signal));
                }
            }
            _ if from_terminal => {}
            _ => {
                self.tell(Message::Signal(signal));
                if let Some(grace) = self.kill_after
                    && asks_to_end.contains(&signal)
                {
                    self.kill_at(time::now() + grace);
                }
            }
        }
    }

    /// The terminal is gone, and with it whoever could ask what main left to end a second time: it
    /// is asked, and a moment later killed.
    fn end_soon(&mut self) {
        self.results.set_cause(Cause::Asked);
        self.tell(Message::Signal(libc::SIGHUP));
        self.kill_at(time::now() + AFTER_HANG_UP);
    }

    /// As asked for, unless it is killed before that.
    fn kill_at(&mut self, at: MonoNs) {
        if self.backstop.is_none_or(|(due, _)| at < due) {
            self.backstop = Some((at, Cause::Asked));
        }
    }

    fn tell(&self, message: Message) {
        // If it cannot hear it, it is about to end, or is stopped and ended by the deadline.
        match nix::unistd::write(&self.launched.socket, &message.bytes()) {
            Ok(_) | Err(_) => {}
        }
    }

    /// SIGKILL to init, and so to everything.
    fn kill(&mut self, cause: Cause) {
        self.results.set_cause(cause);
        for lift in self.lifts {
            match lift.write() {
                Ok(()) | Err(_) => {}
            }
        }
        // `ESRCH`: it has just ended.
        match pidfd::send_signal(self.launched.pidfd.as_fd(), Some(Signal::SIGKILL)) {
            Ok(()) | Err(_) => {}
        }
        self.killed.get_or_insert_with(time::now);
    }
}

/// Stops this process as its program was stopped from the terminal, so that the shell sees it;
/// returns when it is continued. Without a terminal nobody would continue it, and whoever waits for
/// it would wait for ever; and a program that stops itself by SIGSTOP is no matter of the shell's.
fn stop(signal: i32) {
    let signal = match Signal::try_from(signal) {
        Ok(signal @ (Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
        _ => return,
    };
    if std::fs::File::open("/dev/tty").is_err() {
        return;
    }
    let only = SigSet::from_iter([signal]);
    // Sent while it is blocked and delivered at the unblocking. In a process group that no shell
    // watches the kernel drops all but SIGSTOP, and the program goes on being waited for.
    let stopped = kill(Pid::this(), signal)
        .and_then(|()| only.thread_unblock())
        .and_then(|()| only.thread_block());
    match stopped {
        Ok(()) | Err(_) => {}
    }
}

/// Whether one of the standard streams is a terminal that has been hung up: of all devices only
/// those are. Source: drivers/tty/tty_io.c `hung_up_tty_poll`.
fn terminal_is_gone() -> bool {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [input.as_fd(), output.as_fd(), errors.as_fd()];
    streams.into_iter().any(|stream| {
        let device = fstat(stream).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFCHR
        });
        let mut fds = [PollFd::new(stream, PollFlags::empty())];
        let told = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        let [fd] = fds;
        device
            && told
            && fd
                .revents()
                .is_some_and(|got| got.contains(PollFlags::POLLHUP))
    })
}
