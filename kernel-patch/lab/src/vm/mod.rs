//! One boot of one kernel: starts QEMU, or the kernel itself if it is a program, reads its output,
//! ends it, and judges the output.

mod accel;
pub mod console;
pub mod faults;
mod place;
mod qemu;
mod running;
#[cfg(test)]
mod tests;
mod uml;

pub use accel::Accelerator;
pub use qemu::QEMU;
pub use uml::is_program;

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use thiserror::Error;

use crate::clock::{Deadline, now};
use crate::protocol::{Ended, Message};
use console::{Transcript, TranscriptError, excerpt};
use faults::{Fault, first_fault};
use place::Place;
use running::{Life, Running, life};

/// The parameters of a boot.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// The emulator, [`QEMU`] but for tests. Not used by a kernel that is a program.
    pub emulator: &'a Path,
    /// The kernel image.
    pub image: &'a Path,
    /// The initramfs, as [`crate::image::initramfs`] makes it.
    pub initramfs: &'a [u8],
    /// Steps in its job.
    pub steps: usize,
    /// Words added to the kernel's command line.
    pub append: &'a [String],
    /// How the machine's instructions are run.
    pub accelerator: Accelerator,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Memory of the machine.
    pub memory_mib: u32,
    /// The machine is ended after this time in any case.
    pub limit: Duration,
    /// Arguments given to QEMU as they are.
    pub qemu_args: &'a [String],
}

/// The result of a valid boot.
#[derive(Debug)]
pub struct Boot {
    /// `uname -r` inside.
    pub release: String,
    /// `uname -v` inside.
    pub version: String,
    /// Controllers as mounted.
    pub controllers: String,
    /// How each step ended, and how many processes it left.
    pub steps: Vec<(Ended, usize)>,
    /// The kernel's own checkers that were still on at the end; none if it has none to ask.
    pub checkers: String,
    /// From the start of QEMU to init's greeting.
    pub boot: Duration,
    /// From the start of QEMU to its end.
    pub total: Duration,
    /// Everything that the kernel printed.
    pub console: String,
}

/// Why a boot is not valid. Each has the relevant part of the console.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootError {
    /// The kernel reported a fault of its own.
    #[error("{kind} in {image}:\n{excerpt}")]
    Fault {
        /// What kind.
        kind: &'static str,
        /// The kernel image.
        image: PathBuf,
        /// The console around it.
        excerpt: String,
    },
    /// No verdict within the limit.
    #[error(
        "{image} did not end within {limit_s} s and was killed{hint}; its console ended with:\n\
            {excerpt}"
    )]
    Limit {
        /// The kernel image.
        image: PathBuf,
        /// The limit.
        limit_s: u64,
        /// What is known of such a hang, or nothing.
        hint: &'static str,
        /// The end of the console.
        excerpt: String,
    },
    /// Init's messages are inconsistent.
    #[error("{image}: {wrong}; its console ended with:\n{excerpt}")]
    Transcript {
        /// The kernel image.
        image: PathBuf,
        /// What is wrong.
        wrong: TranscriptError,
        /// The end of the console.
        excerpt: String,
    },
    /// QEMU, or the kernel as a program, failed.
    #[error("the machine's process ended with {status}: {said}")]
    Qemu {
        /// Its status.
        status: ExitStatus,
        /// Its standard error.
        said: String,
    },
    /// A signal has stopped the machine's process: it would send nothing more.
    #[error(
        "{image}: the machine's process was stopped by a signal from outside, so it was ended; its \
            console ended with:\n\
            {excerpt}"
    )]
    Stopped {
        /// The kernel image.
        image: PathBuf,
        /// The end of the console.
        excerpt: String,
    },
    /// The user asked to stop, by Ctrl-C or SIGTERM. QEMU is gone.
    #[error("interrupted by {0}; the machine was ended")]
    Interrupted(Signal),
}

/// How long a machine may go on after its kernel said that it is at fault, or that it has halted.
const GRACE: Duration = Duration::from_secs(5);
/// How often to check that the machine's process still exists: it may end while another process
/// holds its console open.
const LOOK: Duration = Duration::from_millis(100);
/// The message of a kernel that has halted and does not end by itself.
const HALTED: &str = "reboot: System halted";

impl Machine<'_> {
    /// Boots, calls `hear` with each line of output and each end of a step as it comes, and returns
    /// when QEMU is gone. An error of `hear` ends the machine.
    ///
    /// # Errors [`BootError`] when the boot is not valid; that of `hear`; anything else when the
    /// lab's own plumbing failed.
    pub fn boot(&self, mut hear: impl FnMut(&Message) -> io::Result<()>) -> Result<Boot> {
        let place = Place::make()?;
        let dir = &place.dir;
        let initramfs = dir.path().join("initramfs");
        fs::write(&initramfs, self.initramfs).with_context(|| {
            format!(
                "cannot write the initramfs of {} MiB to {}",
                self.initramfs.len() >> 20,
                dir.path().display()
            )
        })?;
        let channel = dir.path().join("channel");
        for end in ["in", "out"] {
            let path = channel.with_extension(end);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
                .with_context(|| format!("mkfifo {}", path.display()))?;
        }
        // Opened before QEMU starts, so that nothing that it writes is lost.
        let from_init = fs::File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(channel.with_extension("out"))
            .context("cannot open the channel")?;

        let signals = Signals::block()?;
        let started = now();
        let mut running = Running::start(match self.accelerator {
            Accelerator::UserMode => uml::command(self, &initramfs, &channel)?,
            Accelerator::Emulation
            | Accelerator::TakingTurns
            | Accelerator::VirtualTime
            | Accelerator::Kvm => qemu::command(self, &initramfs, &channel),
        })?;
        let heard = self.listen(&mut running.0, &from_init, &signals, started, &mut hear);
        let closed = matches!(&heard, Ok(heard) if !heard.limit);
        let (status, said) = running.end(closed)?;
        let heard = heard?;
        let total = now() - started;
        self.judge(heard, status, &said, total)
    }

    /// Reads both streams until QEMU closes them, the limit is over or the user interrupts.
    fn listen(
        &self,
        qemu: &mut Child,
        from_init: &fs::File,
        signals: &Signals,
        started: Duration,
        hear: &mut impl FnMut(&Message) -> io::Result<()>,
    ) -> Result<Heard> {
        let mut console_pipe = qemu.stdout.take().context("QEMU has no standard output")?;
        let mut deadline = Deadline::after(self.limit);
        let mut heard = Heard::default();
        let mut part = Vec::new();
        let mut console = Vec::new();
        loop {
            let Some(left) = deadline.left() else {
                heard.limit = true;
                break;
            };
            let fds = [console_pipe.as_fd(), from_init.as_fd(), signals.0.as_fd()];
            // Before the wait: what it wrote before it ended is then read.
            let life = life(qemu)?;
            let ready = wait_for(
                fds,
                if life == Life::Runs {
                    left.min(LOOK)
                } else {
                    Duration::ZERO
                },
            )?;
            if ready[2]
                && let Some(info) = signals.0.read_signal().context("read signalfd")?
            {
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                let signal = Signal::try_from(number).unwrap_or(Signal::SIGTERM);
                return Err(BootError::Interrupted(signal).into());
            }
            // The channel first: what init reported before the console closed is not lost.
            while let Some(bytes) = read_some(&mut &*from_init)?.filter(|bytes| !bytes.is_empty()) {
                part.extend(bytes);
                while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = part.drain(..=end).collect();
                    if let Some(message) = heard
                        .transcript
                        .take(String::from_utf8_lossy(&line).trim_end())
                    {
                        hear(&message)?;
                    }
                    if heard.boot.is_none() && heard.transcript.hello.is_some() {
                        heard.boot = Some(now() - started);
                    }
                }
            }
            if ready[0] {
                let bytes = read_some(&mut console_pipe)?.unwrap_or_default();
                if bytes.is_empty() {
                    break;
                }
                console.extend(bytes);
                let text = String::from_utf8_lossy(&console);
                let over = || {
                    text.contains(HALTED) || first_fault(&text).is_some_and(|f| f.kind == "panic")
                };
                if !heard.over && over() {
                    heard.over = true;
                    deadline = deadline.min(Deadline::after(GRACE));
                }
            } else if life == Life::Stopped {
                return Err(BootError::Stopped {
                    image: self.image.to_path_buf(),
                    excerpt: excerpt(&String::from_utf8_lossy(&console)),
                }
                .into());
            } else if life == Life::Ended {
                break;
            }
        }
        heard.console = String::from_utf8_lossy(&console).replace('\r', "");
        Ok(heard)
    }

    /// What is known of a machine that hangs with this console.
    fn hint(&self, console: &str) -> &'static str {
        let starting = console.contains(SECOND_CPU) && !console.contains("smp: Brought up");
        match self.accelerator {
            Accelerator::VirtualTime if starting => {
                " (Linux 6.1 does not start a second CPU in virtual time; it boots with --cpus 1, \
                    or in plain emulation)"
            }
            _ => "",
        }
    }

    fn judge(&self, heard: Heard, status: ExitStatus, said: &str, total: Duration) -> Result<Boot> {
        let image = self.image.to_path_buf();
        if let Some(Fault { kind, excerpt }) = first_fault(&heard.console) {
            return Err(BootError::Fault {
                kind,
                image,
                excerpt,
            }
            .into());
        }
        let excerpt = excerpt(&heard.console);
        if heard.limit {
            return Err(BootError::Limit {
                image,
                limit_s: self.limit.as_secs(),
                hint: self.hint(&heard.console),
                excerpt,
            }
            .into());
        }
        if !status.success() {
            return Err(BootError::Qemu {
                status,
                said: said.trim().to_owned(),
            }
            .into());
        }
        heard
            .transcript
            .judge(self.steps)
            .map_err(|wrong| BootError::Transcript {
                image,
                wrong,
                excerpt,
            })?;
        let (release, version, controllers) = heard
            .transcript
            .hello
            .context("a verdict without a greeting")?;
        Ok(Boot {
            release,
            version,
            controllers,
            steps: heard.transcript.steps,
            checkers: heard.transcript.checkers.unwrap_or_default(),
            boot: heard.boot.unwrap_or(total),
            total,
            console: heard.console,
        })
    }
}

/// The last message of a kernel that hangs while it starts its second CPU.
const SECOND_CPU: &str = "smp: Bringing up secondary CPUs ...";

/// The output of a machine until it ended.
#[derive(Debug, Default)]
struct Heard {
    transcript: Transcript,
    console: String,
    boot: Option<Duration>,
    limit: bool,
    over: bool,
}

/// A command that is killed when the lab dies in a way that leaves it no time to clean up
/// (`prctl(2)`, PR_SET_PDEATHSIG; it counts the thread that starts it, which is the one that
/// waits).
fn dying_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// SIGINT and SIGTERM as a descriptor, so that an interrupted boot still removes its files and its
/// QEMU.
struct Signals(SignalFd);

impl Signals {
    fn block() -> Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
        mask.thread_block().context("cannot block signals")?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("signalfd")
            .map(Self)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
        // It cannot fail with a valid mask.
        mask.thread_unblock().unwrap_or_default();
    }
}

/// Waits until one of three descriptors can be read or was closed; which ones.
fn wait_for(fds: [BorrowedFd<'_>; 3], left: Duration) -> Result<[bool; 3]> {
    let mut set = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let timeout =
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut set, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno).context("poll"),
    }
    Ok([0, 1, 2].map(|i| set[i].any().unwrap_or(false)))
}

/// What can be read now: `None` when nothing can, empty at the end.
fn read_some(stream: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 1 << 16];
    match stream.read(&mut buffer) {
        Ok(count) => {
            buffer.truncate(count);
            Ok(Some(buffer))
        }
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).context("cannot read from QEMU"),
    }
}
