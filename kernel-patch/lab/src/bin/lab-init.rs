//! PID 1 of the lab's machines: mounts what programs expect, runs the steps of its job one after the other, says how
//! each ended, and gives exactly one verdict before it ends the machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::clock::Deadline;
use lab::protocol::{CgroupMode, Ended, JOB_PATH, Job, Message, Step};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The serial port on which the kernel does not print.
const CHANNEL: &str = "/dev/ttyS1";
/// Where cgroups are mounted.
const CGROUP: &str = "/sys/fs/cgroup";

fn main() {
    let verdict = match Channel::open() {
        Ok(mut channel) => {
            let result = run(&mut channel).map_err(|error| format!("{error:#}"));
            channel.say(&Message::Verdict(result)).and_then(|()| channel.drain())
        }
        Err(error) => Err(error),
    };
    if let Err(error) = verdict {
        // Nobody hears the channel: the kernel's console is the last resort, and the lab sees a missing verdict.
        let text = format!("<0>lab-init: {error:#}\n");
        fs::write("/dev/kmsg", text).unwrap_or_default();
    }
    // The lab starts QEMU with -no-reboot, so this ends it. It returns only when the kernel refuses.
    let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
    fs::write("/dev/kmsg", format!("<0>lab-init: reboot: {errno}\n")).unwrap_or_default();
}

/// The line to the lab.
struct Channel(File);

impl Channel {
    fn open() -> Result<Self> {
        mount_at("devtmpfs", "/dev", "devtmpfs", "")?;
        let file = File::options()
            .read(true)
            .write(true)
            .open(CHANNEL)
            .with_context(|| format!("open {CHANNEL}"))?;
        let mut mode = tcgetattr(&file).context("tcgetattr")?;
        cfmakeraw(&mut mode);
        tcsetattr(&file, SetArg::TCSANOW, &mode).context("tcsetattr")?;
        Ok(Self(file))
    }

    fn say(&mut self, message: &Message) -> Result<()> {
        let line = message.encode() + "\n";
        self.0
            .write_all(line.as_bytes())
            .with_context(|| format!("write {CHANNEL}"))
    }

    fn drain(&self) -> Result<()> {
        tcdrain(&self.0).context("tcdrain")
    }
}

/// All steps; how many of them failed.
fn run(channel: &mut Channel) -> Result<usize> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        mount_at(kind, at, kind, "")?;
    }
    for (kind, at) in [
        ("tmpfs", "/dev/shm"),
        ("devpts", "/dev/pts"),
        ("tracefs", "/sys/kernel/tracing"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        optional_mount(kind, at)?;
    }
    let text = fs::read_to_string(JOB_PATH).with_context(|| format!("read {JOB_PATH}"))?;
    let job: Job = serde_json::from_str(&text).with_context(|| format!("parse {JOB_PATH}"))?;
    let controllers = mount_cgroups(job.cgroup)?;
    let uname = nix::sys::utsname::uname().context("uname")?;
    channel.say(&Message::Hello {
        release: uname.release().to_string_lossy().into_owned(),
        version: uname.version().to_string_lossy().into_owned(),
        controllers,
    })?;

    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("block SIGCHLD")?;
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context("signalfd")?;

    let mut failed = 0;
    for (index, step) in job.steps.iter().enumerate() {
        let ended = run_step(step, &job.env, &children, channel)?;
        let left = kill_rest()?;
        channel.say(&Message::Step { index, ended, left })?;
        failed += usize::from(!ended.is_success());
    }
    Ok(failed)
}

fn mount_at(source: &str, at: &str, kind: &str, options: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("mkdir {at}"))?;
    match mount(Some(source), at, Some(kind), MsFlags::empty(), Some(options)) {
        Ok(()) => Ok(()),
        // A kernel with DEVTMPFS_MOUNT has done it already.
        Err(Errno::EBUSY) if kind == "devtmpfs" => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("mount {kind} at {at} ({options})")),
    }
}

/// Mounts what not every kernel has; anything but "no such file system" is an error.
fn optional_mount(kind: &str, at: &str) -> Result<()> {
    if !Path::new(at).exists() && fs::create_dir_all(at).is_err() {
        return Ok(());
    }
    match mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>) {
        Ok(()) | Err(Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("mount {kind} at {at}")),
    }
}

/// Mounts cgroups as the job asks and says which controllers are where.
fn mount_cgroups(mode: CgroupMode) -> Result<String> {
    match mode {
        CgroupMode::None => Ok("none".to_owned()),
        CgroupMode::V2 => {
            mount_at("cgroup2", CGROUP, "cgroup2", "")
                .context("this kernel has no cgroup v2 (CONFIG_CGROUPS); nothing of the suite can run in it")?;
            enable_controllers(CGROUP).map(|names| format!("v2 {names}"))
        }
        CgroupMode::V1 => {
            mount_at("tmpfs", CGROUP, "tmpfs", "")?;
            let mut mounted = Vec::new();
            for name in v1_controllers()? {
                let at = format!("{CGROUP}/{name}");
                match mount_at("cgroup", &at, "cgroup", &name) {
                    Ok(()) => mounted.push(name),
                    // Newer kernels can be built without the version 1 side of a controller.
                    Err(_) => fs::remove_dir(&at).with_context(|| format!("rmdir {at}"))?,
                }
            }
            if mounted.is_empty() {
                bail!("this kernel mounts no cgroup v1 controller: run it with --cgroup v2");
            }
            let unified = format!("{CGROUP}/unified");
            mount_at("cgroup2", &unified, "cgroup2", "").context("this kernel has no cgroup v2")?;
            Ok(format!(
                "v1 {} + v2 {}",
                mounted.join(" "),
                enable_controllers(&unified)?
            ))
        }
    }
}

/// Hands every controller of the root down to its children, and says which they are.
fn enable_controllers(root: &str) -> Result<String> {
    let path = format!("{root}/cgroup.controllers");
    let names = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    for name in names.split_whitespace() {
        let path = format!("{root}/cgroup.subtree_control");
        fs::write(&path, format!("+{name}")).with_context(|| format!("write +{name} to {path}"))?;
    }
    Ok(names.trim().to_owned())
}

/// The controllers of `/proc/cgroups` that are switched on (`cgroups(7)`). Kernels from 6.15 hide those of version 2
/// only there, which is right here.
fn v1_controllers() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/cgroups").context("read /proc/cgroups")?;
    let enabled = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.len() == 4 && words[3] == "1").then(|| words[0].to_owned())
    };
    Ok(text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(enabled)
        .collect())
}

/// Runs one step with its output passed on line by line, until its first process has ended or its limit is over.
fn run_step(step: &Step, env: &[(String, String)], children: &SignalFd, channel: &mut Channel) -> Result<Ended> {
    let Some((program, arguments)) = step.argv.split_first() else {
        bail!("a step without a program")
    };
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([
            ("PATH", "/bin:/sbin"),
            ("HOME", "/root"),
            ("TMPDIR", "/tmp"),
            ("TERM", "dumb"),
        ])
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(&step.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            channel.say(&Message::Err(format!("lab-init: cannot start {program}: {error}")))?;
            return Ok(Ended::NotStarted(error.raw_os_error().unwrap_or(0)));
        }
    };
    let deadline = Deadline::after(Duration::from_secs(u64::from(step.limit_s)));
    let mut streams = Streams::of(&mut child)?;
    loop {
        let Some(left) = deadline.left() else {
            streams.pass_on(channel, true)?;
            return Ok(Ended::TimedOut);
        };
        streams.wait(children, left)?;
        streams.pass_on(channel, false)?;
        while children.read_signal().context("read signalfd")?.is_some() {}
        if let Some(status) = reap(&child)? {
            streams.pass_on(channel, true)?;
            return Ok(ended(status));
        }
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Exit(-1),
    }
}

/// Reaps every child that has ended, orphans included; the status of `main` if it is one of them.
fn reap(main: &Child) -> Result<Option<ExitStatus>> {
    let mut of_main = None;
    loop {
        let (pid, raw) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(of_main),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).context("waitpid"),
        };
        if u32::try_from(pid.as_raw()).is_ok_and(|pid| pid == main.id()) {
            of_main = Some(ExitStatus::from_raw(raw));
        }
    }
}

/// Ends whatever a step left and says how many processes that were. PID 1 is spared by `kill(-1)`.
fn kill_rest() -> Result<usize> {
    let deadline = Deadline::after(Duration::from_secs(20));
    let mut left = 0;
    loop {
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).context("kill -1"),
        }
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                if deadline.left().is_none() {
                    bail!("a process of the last step does not die of SIGKILL within 20 s");
                }
                // Nothing to wait for but another child's end.
                poll(&mut [], PollTimeout::from(5u8)).context("poll")?;
            }
            Ok(_) => left += 1,
            Err(Errno::ECHILD) => return Ok(left),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waitpid"),
        }
    }
}

/// The two pipes of a step.
struct Streams {
    out: Option<Lines<std::process::ChildStdout>>,
    err: Option<Lines<std::process::ChildStderr>>,
}

/// A pipe cut into lines.
struct Lines<R> {
    reader: BufReader<R>,
    part: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    fn new(stream: R) -> Result<Self> {
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl O_NONBLOCK")?;
        Ok(Self {
            reader: BufReader::new(stream),
            part: Vec::new(),
        })
    }

    /// Says what has come; `false` once the pipe is closed. With `last`, half a line counts as a line.
    fn pass_on(&mut self, wrap: fn(String) -> Message, channel: &mut Channel, last: bool) -> Result<bool> {
        loop {
            let ended = match self.reader.read_until(b'\n', &mut self.part) {
                Ok(0) => true,
                Ok(_) if self.part.ends_with(b"\n") => {
                    self.flush(wrap, channel)?;
                    continue;
                }
                // End of file in the middle of a line.
                Ok(_) => true,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read a step's output"),
            };
            if ended || last {
                self.flush(wrap, channel)?;
            }
            return Ok(!ended);
        }
    }

    fn flush(&mut self, wrap: fn(String) -> Message, channel: &mut Channel) -> Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.part)
            .trim_end_matches('\n')
            .replace('\r', "");
        self.part.clear();
        channel.say(&wrap(text))
    }
}

impl Streams {
    fn of(child: &mut Child) -> Result<Self> {
        let out = Lines::new(child.stdout.take().context("no stdout")?)?;
        let err = Lines::new(child.stderr.take().context("no stderr")?)?;
        Ok(Self {
            out: Some(out),
            err: Some(err),
        })
    }

    /// Sleeps until a pipe has something, a child has ended, or `left` is over.
    fn wait(&self, children: &SignalFd, left: Duration) -> Result<()> {
        let mut fds = vec![PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            self.out
                .iter()
                .map(|l| PollFd::new(l.reader.get_ref().as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            self.err
                .iter()
                .map(|l| PollFd::new(l.reader.get_ref().as_fd(), PollFlags::POLLIN)),
        );
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("poll"),
        }
    }

    fn pass_on(&mut self, channel: &mut Channel, last: bool) -> Result<()> {
        if let Some(lines) = &mut self.out
            && !lines.pass_on(Message::Out, channel, last)?
        {
            self.out = None;
        }
        if let Some(lines) = &mut self.err
            && !lines.pass_on(Message::Err, channel, last)?
        {
            self.err = None;
        }
        Ok(())
    }
}
