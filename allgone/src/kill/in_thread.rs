//! A killer in a thread of its own, for a loop that must not be held up.
//!
//! A step never sleeps, but the system call in it may take long: a write to `cgroup.kill` or
//! `cgroup.freeze` waits for `cgroup_mutex`, for which the kernel gives no bound. It waits in an
//! uninterruptible sleep, so no deadline and no signal ends it early. The only way not to wait is
//! to let something else wait. A thread shares the descriptors and needs no reaping, which a helper
//! process would; starting one takes tens of microseconds, so a killer is moved into one only where
//! that is asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::SigSet;

use super::{KillError, KillReport, Killer, Step};
use crate::MonoNs;
use crate::detect::Sources;
use crate::detect::sleep::Slept;
use crate::error::SysError;
use crate::spawn::Child;
use crate::sys::time::now;

/// Runs another killer in a thread that lives for as long as it kills. No step of it takes longer
/// than starting that thread.
///
/// Effects: those of the other killer, two descriptors, and the thread. It blocks all signals first
/// of all; a signal that comes before that may be handled in it, as in any thread.
#[derive(Debug)]
pub struct InThread {
    state: State,
    /// Readable once the thread has no more to say.
    done: Arc<EventFd>,
    stop: Arc<Stop>,
}

enum State {
    Ready(Box<dyn Killer>),
    Killing(Receiver<Answer>),
    Over,
}

type Answer = Result<KillReport, KillError>;

/// That no more steps are wanted.
#[derive(Debug)]
struct Stop {
    wanted: AtomicBool,
    wake: EventFd,
}

/// How long the loop that asks waits for nothing in particular: the descriptor tells it.
const LOOK: Duration = Duration::from_secs(1);

impl InThread {
    /// Moves `killer` there; the thread is started by the first step. Errors: `EMFILE`.
    pub fn new(killer: Box<dyn Killer>) -> Result<Self, KillError> {
        Ok(Self {
            state: State::Ready(killer),
            done: Arc::new(event()?),
            stop: Arc::new(Stop {
                wanted: AtomicBool::new(false),
                wake: event()?,
            }),
        })
    }

    fn start(&mut self, killer: Box<dyn Killer>) -> Result<(), KillError> {
        let (tell, hear) = channel();
        let (done, stop) = (Arc::clone(&self.done), Arc::clone(&self.stop));
        std::thread::Builder::new()
            .name("allgone-kill".to_owned())
            .spawn(move || run(killer, &stop, tell, done))
            .map_err(|e| SysError::io("start a thread", crate::Target::Nothing, &e))?;
        self.state = State::Killing(hear);
        Ok(())
    }

    fn stop(&mut self) {
        if matches!(self.state, State::Killing(_)) {
            self.stop.wanted.store(true, Ordering::Release);
            // It can only fail if it was written to 2^64 - 2 times.
            match self.stop.wake.write(1) {
                Ok(_) | Err(_) => {}
            }
        }
        self.state = State::Over;
    }
}

fn event() -> Result<EventFd, SysError> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|e| SysError::plain("eventfd", e))
}

/// The life of the thread. However it ends, the loop that waits is woken: when the answer has been
/// given, or when the thread panics and there will be none.
fn run(killer: Box<dyn Killer>, stop: &Stop, tell: Sender<Answer>, done: Arc<EventFd>) {
    let told = Told(done);
    // Refused by no kernel; a thread that can be interrupted kills all the same.
    match SigSet::all().thread_block() {
        Ok(()) | Err(_) => {}
    }
    // Nobody listens any more: the killer was dropped.
    match tell.send(steps(killer, stop)) {
        Ok(()) | Err(_) => {}
    }
    drop(told);
}

struct Told(Arc<EventFd>);

impl Drop for Told {
    fn drop(&mut self) {
        match self.0.write(1) {
            Ok(_) | Err(_) => {}
        }
    }
}

fn steps(mut killer: Box<dyn Killer>, stop: &Stop) -> Answer {
    let mut report = KillReport::begin();
    let mut woke = now();
    while let Step::Again(at) = killer.step(woke, &mut report)? {
        if stop.wanted.load(Ordering::Acquire) {
            report.gave_up = true;
            killer.give_up(&mut report)?;
            break;
        }
        woke = now();
        if woke < at {
            woke = match killer.sources().readable(&stop.wake).sleep(at)? {
                Slept::Woken(at) => at,
                Slept::Deadline => now(),
            };
        }
    }
    Ok(report)
}

impl Killer for InThread {
    fn attach(&mut self, child: &Child) -> Result<(), KillError> {
        match &mut self.state {
            State::Ready(killer) => killer.attach(child),
            State::Killing(_) | State::Over => Ok(()),
        }
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none().readable(&self.done)
    }

    /// Starts the thread, or asks whether it has an answer. The report is then the other killer's,
    /// begun when this one was.
    fn step(&mut self, now: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
        let hear = match std::mem::replace(&mut self.state, State::Over) {
            State::Ready(killer) => {
                self.start(killer)?;
                return Ok(Step::Again(now + LOOK));
            }
            State::Killing(hear) => hear,
            State::Over => return Ok(Step::Issued),
        };
        match hear.try_recv() {
            Ok(answer) => {
                let begun_ns = report.begun_ns;
                *report = answer?;
                report.begun_ns = begun_ns;
                Ok(Step::Issued)
            }
            Err(TryRecvError::Empty) => {
                self.state = State::Killing(hear);
                Ok(Step::Again(now + LOOK))
            }
            Err(TryRecvError::Disconnected) => {
                Err(SysError::plain("kill in a thread", Errno::ECANCELED).into())
            }
        }
    }

    /// Returns at once: what must not stay is undone by the thread, when the kernel has let go of
    /// it.
    fn give_up(&mut self, _: &mut KillReport) -> Result<(), KillError> {
        self.stop();
        Ok(())
    }
}

impl Drop for InThread {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Killing(_) => "Killing",
            Self::Over => "Over",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::mpsc;

    use nix::poll::PollFlags;

    use super::*;
    use crate::detect::sleep::{self, is_ready};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Its step does not return until the test lets it, like one that waits for `cgroup_mutex`. A
    /// test cannot hold the mutex itself: every holder in the kernel releases it without waiting
    /// for user space.
    #[derive(Debug)]
    struct Held {
        entered: Sender<()>,
        let_go: Receiver<Step>,
        gave_up: Sender<()>,
    }

    impl Killer for Held {
        fn step(&mut self, _: MonoNs, report: &mut KillReport) -> Result<Step, KillError> {
            self.entered.send(()).unwrap();
            report.passes += 1;
            Ok(self.let_go.recv().unwrap())
        }

        fn give_up(&mut self, _: &mut KillReport) -> Result<(), KillError> {
            self.gave_up.send(()).unwrap();
            Ok(())
        }
    }

    fn held() -> (InThread, Receiver<()>, Sender<Step>, Receiver<()>) {
        let (entered, is_entered) = mpsc::channel();
        let (release, let_go) = mpsc::channel();
        let (gave_up, has_given_up) = mpsc::channel();
        let killer = Held {
            entered,
            let_go,
            gave_up,
        };
        let killer = InThread::new(Box::new(killer)).unwrap();
        (killer, is_entered, release, has_given_up)
    }

    fn is_done(killer: &InThread) -> bool {
        is_ready(killer.done.as_fd(), PollFlags::POLLIN).unwrap()
    }

    #[test]
    fn a_step_returns_while_the_system_call_does_not() {
        let (mut killer, is_entered, release, _) = held();
        let mut report = KillReport::begin();
        let begun_ns = report.begun_ns;
        for _ in 0..3 {
            let step = killer.step(now(), &mut report).unwrap();
            assert!(matches!(step, Step::Again(_)), "{step:?}");
        }
        is_entered.recv_timeout(PATIENCE).unwrap();
        assert!(!is_done(&killer));
        release.send(Step::Issued).unwrap();
        let mut fds = [nix::poll::PollFd::new(
            killer.done.as_fd(),
            PollFlags::POLLIN,
        )];
        let slept = sleep::on(&mut fds, now() + PATIENCE).unwrap();
        assert!(
            matches!(slept, Slept::Woken(_)),
            "the answer wakes the loop"
        );
        assert_eq!(killer.step(now(), &mut report).unwrap(), Step::Issued);
        assert_eq!((report.passes, report.begun_ns), (1, begun_ns));
    }

    #[test]
    fn giving_up_returns_at_once_and_is_done_when_the_kernel_lets_go() {
        let (mut killer, is_entered, release, has_given_up) = held();
        let mut report = KillReport::begin();
        killer.step(now(), &mut report).unwrap();
        is_entered.recv_timeout(PATIENCE).unwrap();
        killer.give_up(&mut report).unwrap();
        drop(killer);
        assert!(has_given_up.try_recv().is_err());
        release.send(Step::Again(now() + PATIENCE)).unwrap();
        has_given_up.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let (mut killer, _, release, _) = held();
        drop(release);
        let error = killer.kill(now() + PATIENCE).unwrap_err();
        assert!(error.to_string().contains("kill in a thread"), "{error}");
    }
}
