//! One run, from the options to the proof.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use allgone::MonoNs;
use allgone::SysError;
use allgone::error::retry_eintr;
use allgone::sys::spawn::launch::{Hold, Launched, Orders, block_all, every, namespaces};
use allgone::sys::spawn::results::{Cause, Results};
use allgone::sys::wait::{Whose, waitid};
use allgone::sys::{descriptor, pidfd, sched, time};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitPidFlag;

use crate::closed::{self, explain::Tracer};
use crate::control::Control;
use crate::end::{Ending, Exit, Proof};
use crate::error::RunError;
use crate::events::Events;
use crate::options::Options;
use crate::place::Above;
use crate::plan::Plan;
use crate::report::{Parts, Report};
use crate::strays::Strays;
use crate::systemd;
use crate::tier::Tier;
use crate::userrange::{self, Held};
use crate::watch::{END_LIMIT, Watch};

/// How much later than init the launcher acts on a deadline, so that it acts only if init does not.
const BEHIND: Duration = Duration::from_millis(100);

/// How long a run has to last to take away what others have left.
const SWEEP_AFTER: Duration = Duration::from_millis(100);

/// Runs a program to the end of all of it.
///
/// Blocks every signal of this process, whose only thread this has to be, and leaves them blocked.
pub fn run(options: &Options) -> Result<Exit, RunError> {
    if options.dry_run {
        return dry_run(options);
    }
    whole(options)?.0
}

/// Runs what a library's caller asks for through `control`, which hears of each thing that happens
/// and gets the report.
///
/// As [`run`]: in a process of its own, with one thread, which blocks every signal.
pub(crate) fn hosted(options: &Options, control: &Control) -> u8 {
    match with(options, Some(control)) {
        Ok((Ok(Exit::Code(code)), _)) => code,
        Ok((Ok(Exit::Signal(_)), _)) => 0,
        Ok((Err(e), _)) => e.exit_code(),
        Err(e) => {
            control.refused(e.kind(), &e.to_string(), e.exit_code());
            e.exit_code()
        }
    }
}

/// Says what would be done by the strongest tier that may be tried.
fn dry_run(options: &Options) -> Result<Exit, RunError> {
    let mut refused = Vec::new();
    for tier in Tier::candidates(options.tier, options.require) {
        let plan = match Plan::of(options, tier) {
            Ok(plan) => plan,
            Err(e) => {
                refused.push((tier, e));
                continue;
            }
        };
        let steps = plan.prepare();
        let null = std::fs::File::open("/dev/null")
            .map_err(|e| SysError::io("open", allgone::Target::Path("/dev/null".into()), &e))?;
        let orders = orders(options, None, time::now());
        crate::words::dry_run(&plan, &plan.launch(&steps, 0, null.as_fd(), orders));
        return Ok(Exit::Code(0));
    }
    Err(RunError::refused(refused))
}

/// A run, with all that is known of its end beside the exit code.
pub(crate) fn whole(options: &Options) -> Result<(Result<Exit, RunError>, Ending), RunError> {
    with(options, None)
}

fn with(
    options: &Options,
    control: Option<&Control>,
) -> Result<(Result<Exit, RunError>, Ending), RunError> {
    let mut report = Report::open(options)?;
    let mut refused = Vec::new();
    let answer = resolved(options, control, &mut report, &mut refused);
    if let (Err(e), Some(report)) = (&answer, report) {
        report.write(&crate::report::refusal(options, &refused, e))?;
    }
    answer
}

/// What is asked for by a rule, a user of a range or a scope of systemd's, is found, and then
/// asked for as such.
fn resolved(
    options: &Options,
    control: Option<&Control>,
    report: &mut Option<Report>,
    refused: &mut Vec<(Tier, RunError)>,
) -> Result<(Result<Exit, RunError>, Ending), RunError> {
    let held = options.user_range.as_ref().map(userrange::hold);
    let held = held.transpose()?;
    let mut options = options;
    let with_user;
    if let Some(held) = &held {
        with_user = Options {
            user: Some(held.user),
            ..options.clone()
        };
        options = &with_user;
    }
    let with_scope;
    if options.cgroup == Above::Systemd {
        with_scope = Options {
            cgroup: Above::At(systemd::scope().map_err(RunError::Scope)?),
            ..options.clone()
        };
        options = &with_scope;
    }
    let mut ground = Ground::prepare(options, control, report, refused)?;
    ground.held = held.as_ref();
    ground.attempts()
}

/// What all attempts share.
struct Ground<'a> {
    options: &'a Options,
    control: Option<&'a Control>,
    held: Option<&'a Held>,
    mask: u64,
    began: MonoNs,
    report: &'a mut Option<Report>,
    events: Events,
    lease: Option<OwnedFd>,
    signals: SignalFd,
    /// The tiers that do not work here.
    refused: &'a mut Vec<(Tier, RunError)>,
}

impl<'a> Ground<'a> {
    fn prepare(
        options: &'a Options,
        control: Option<&'a Control>,
        report: &'a mut Option<Report>,
        refused: &'a mut Vec<(Tier, RunError)>,
    ) -> Result<Self, RunError> {
        let mut mask = block_all().map_err(|e| SysError::plain("block signals", e))?;
        if options.hosted.is_some() {
            mask = 0;
        }
        let began = time::now();
        let host = control.map(Control::writer).transpose();
        let host = host.map_err(|e| SysError::plain("copy a descriptor", e))?;
        let events = Events::open(options.events, host)?;
        let lease = options.lease.map(|number| {
            let failed = |e| SysError::plain("use the descriptor of --lease", e);
            descriptor::copy(number).map_err(failed)
        });
        let lease = lease.transpose()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals =
            SignalFd::with_flags(&every(), flags).map_err(|e| SysError::plain("signalfd", e))?;
        Ok(Self {
            options,
            control,
            held: None,
            mask,
            began,
            report,
            events,
            lease,
            signals,
            refused,
        })
    }

    /// By each tier that may be tried, until one works.
    fn attempts(&mut self) -> Result<(Result<Exit, RunError>, Ending), RunError> {
        let options = self.options;
        let mut candidates = Tier::candidates(options.tier, options.require).peekable();
        while let Some(tier) = candidates.next() {
            let last = candidates.peek().is_none();
            let attempt = Plan::of(options, tier).and_then(|plan| self.attempt(&plan, last));
            let refused = match attempt {
                // Nothing of the program has run, and nothing is left.
                Err(refused) if refused.is_of_tier() => refused,
                Ok((Err(refused), _)) if !last && refused.is_of_tier() => refused,
                // All of them, if there are several.
                Ok((Err(refused), ending)) if refused.is_of_tier() => {
                    let mut all = std::mem::take(self.refused);
                    all.push((tier, refused));
                    return Ok((Err(RunError::refused(all)), ending));
                }
                other => return other,
            };
            self.refused.push((tier, refused));
        }
        // The report has them by tier.
        Err(RunError::refused(self.refused.clone()))
    }

    /// Runs it by the tier of `plan`. What `last` refuses is reported.
    fn attempt(
        &mut self,
        plan: &Plan,
        last: bool,
    ) -> Result<(Result<Exit, RunError>, Ending), RunError> {
        let options = self.options;
        let steps = plan.prepare();
        let mut orders = orders(options, self.lease.as_ref(), self.began);
        orders.tell_birth = self.events.wanted();
        let mut launch = plan.launch(&steps, self.mask, self.signals.as_fd(), orders);
        let of_ground = plan.closed.as_ref().and_then(closed::Ground::held);
        launch.held = [self.held.map(|held| held.lock.as_fd()), of_ground];
        let results = Results::new().map_err(|e| SysError::plain("mmap", e))?;
        let strays = match plan.tier {
            Tier::Traced | Tier::Cgroup => Some(Strays::begin()?),
            Tier::Namespace => None,
        };
        let launched = launch
            .start(&results)
            .map_err(|e| RunError::start(plan.tier, e))?;
        let _slices = self.control.is_none().then(Slices::shorten);
        // To take down what is mounted in it, the last process of a mount namespace waits for every
        // processor (RCU). With this it is not init, whose end is waited for, but this process.
        let mounts = (plan.namespaces & namespaces::MOUNT != 0)
            .then(|| pidfd::mount_namespace(launched.pidfd.as_fd()).ok())
            .flatten();
        let tracer = match plan
            .closed
            .as_ref()
            .map(|closed| closed.tracer(launched.pid))
        {
            None => None,
            Some(Ok(tracer)) => tracer,
            Some(Err(e)) => {
                abandon(&launched)?;
                return Err(e);
            }
        };
        let mut watch = Watch {
            launched: &launched,
            tracer,
            signals: &self.signals,
            results: &results,
            events: &mut self.events,
            plan,
            control: self.control,
            hung_up: false,
            lifts: &steps.lifts,
            kill_after: options.grace.filter(|_| options.as_timeout),
            backstop: launch
                .orders
                .deadline
                .map(|at| at + options.grace.unwrap_or_default() + BEHIND)
                .map(|at| (at, Cause::Timeout)),
            // With a thousand runs beside it, each would look at all the others.
            sweep: self.control.is_none().then(|| time::now() + SWEEP_AFTER),
            main_ended: false,
            main_stopped: false,
            asked: false,
            killed: None,
        };
        let init = watch.until_the_end()?;
        let denials = watch.tracer.take().map(Tracer::denials);
        // Closing it takes its time, so not before the end is known, unless something may hear it.
        let socket = launched.socket;
        let proof = match (init, strays) {
            (None, _) => {
                drop(socket);
                Proof::init_lives(launched.pid)
            }
            (Some(_), None) => Proof::of(plan, &launch, &results),
            (Some(_), Some(strays)) => {
                drop(socket);
                // Init has done it, unless it was killed.
                if let Hold::Cgroup(kill) = launch.hold {
                    match kill.write() {
                        Ok(()) | Err(_) => {}
                    }
                }
                match strays.end(&self.signals, time::now() + END_LIMIT) {
                    Ok(()) if plan.tier == Tier::Cgroup => Proof::of(plan, &launch, &results),
                    Ok(()) => Proof::NoneLeft,
                    Err(who) => Proof::Unproved(who),
                }
            }
        };
        let ending = Ending {
            init,
            main: results.main_end(),
            cause: results.cause(),
            killed: results.was_killed(),
            oom_kills: results.oom_kills(),
            memory_peak_bytes: results.memory_peak_bytes(),
            proof,
            began: self.began,
            ended: time::now(),
        };
        let mut answer = ending.exit(options, &launch, &results);
        if let Some(closed) = &plan.closed {
            answer = answer.map_err(|e| closed.explained(e));
        }
        if let (Some(closed), Ok(code)) = (&plan.closed, &answer)
            && let Err(lost) = closed.keep()
        {
            if *code == Exit::Code(0) {
                answer = Err(lost);
            } else {
                crate::words::lost(&lost);
            }
        }
        if !last && answer.as_ref().is_err_and(RunError::is_of_tier) {
            return Ok((answer, ending));
        }
        // Before the end is told: the next run may begin at once.
        if let Some(held) = self.held
            && !matches!(ending.proof, Proof::Unproved(_))
        {
            held.release()?;
        }
        self.events.all_ended(&ending);
        drop(mounts);
        if self.report.is_some() || self.control.is_some() {
            let parts = Parts {
                options,
                plan,
                launch: &launch,
                results: &results,
                refused: self.refused,
                denials: denials.as_ref(),
            };
            let document = crate::report::document(parts, &ending, &answer);
            let written = self.report.take().map(|report| report.write(&document));
            if let Some(control) = self.control {
                control.over(document);
            }
            written.transpose()?;
        }
        if let Some(denials) = &denials {
            crate::words::denials(denials);
        }
        if options.verbose {
            crate::words::ending(plan, &launch, &results, &ending, self.refused);
        }
        Ok((answer, ending))
    }
}

/// Ends an init that waits, before there is a main process.
fn abandon(launched: &Launched) -> Result<(), RunError> {
    let pidfd = launched.pidfd.as_fd();
    match pidfd::send_signal(pidfd, Some(Signal::SIGKILL)) {
        Ok(()) | Err(_) => {}
    }
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
    let ended = retry_eintr(|| waitid(Whose::Pidfd(pidfd), flags));
    ended.map_err(|e| SysError::pid("waitid", launched.pid.as_raw(), e))?;
    Ok(())
}

fn orders(options: &Options, lease: Option<&OwnedFd>, began: MonoNs) -> Orders {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Orders {
        deadline: options.timeout.map(|time| began + time),
        grace_ns: options.grace.map(ns),
        signal: options.signal,
        main_only: options.wait_main,
        cpu_limit_us: options.cpu_time.map(us),
        processors: options.cpu_time.map_or(1, |_| processors()),
        tell_birth: false,
        lease: lease.map(AsRawFd::as_raw_fd),
    }
}

/// How many processors it may run on at a time, at most.
fn processors() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// Shorter slices of this process, until it is dropped: whatever the program does to keep the
/// processors busy, the launcher hears soon of what it waits for, and dies soon if it is killed,
/// for which a process has to run as well. Not while it starts the program, which would inherit
/// them.
struct Slices(Option<u64>);

impl Slices {
    fn shorten() -> Self {
        let before = sched::slice_ns().ok();
        let shortened = before.filter(|_| sched::set_slice_ns(sched::SHORTEST_SLICE_NS).is_ok());
        Self(shortened)
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            match sched::set_slice_ns(before) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
