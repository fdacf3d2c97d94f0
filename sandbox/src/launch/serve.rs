//! The launchers' parent: a process with one thread that makes a launcher, a copy of itself, for
//! each program that its host asks for.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use allgone::SysError;
use allgone::error::retry_eintr;
use allgone::sys::descriptor;
use allgone::sys::spawn::copy::copy_alone;
use allgone::sys::spawn::launch::block_all;
use allgone::sys::wait::{Whose, waitid};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitPidFlag;

use super::wire::{Incoming, Received, receive};
use super::{NAME, SOCKET};
use crate::control::Control;
use crate::error::{FAILED, RunError};
use crate::options::{Hosted, parse_hosted};

/// Serves a [`Launcher`](super::Launcher), if that is what this process was started for; otherwise
/// `None`, at once.
///
/// A program that is its own launcher ([`Program::This`](super::Program::This)) calls this first in
/// its `main`, before it has made any thread, and returns the code if there is one. The command
/// `allgone` does.
pub fn serve_if_asked() -> Option<ExitCode> {
    served(&std::env::args_os().next()?).map(ExitCode::from)
}

/// As [`serve_if_asked`], in a process that has been started by this name.
pub(crate) fn served(name: &OsStr) -> Option<u8> {
    if name != OsStr::new(NAME) {
        return None;
    }
    Some(match serve() {
        Ok(()) => 0,
        // Nothing reads what it would say: its host sees it end.
        Err(_) => FAILED,
    })
}

/// Until the host is gone.
fn serve() -> Result<(), SysError> {
    let failed = |op| move |errno| SysError::plain(op, errno);
    let socket = descriptor::copy(SOCKET).map_err(failed("use the socket of the host"))?;
    nix::unistd::close(SOCKET).map_err(failed("close"))?;
    block_all().map_err(failed("block signals"))?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let ended = SignalFd::with_flags(&SigSet::from_iter([Signal::SIGCHLD]), flags)
        .map_err(failed("signalfd"))?;
    let mut ground = Some((socket, ended));
    while let Some((socket, ended)) = &ground {
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        retry_eintr(|| poll(&mut fds, PollTimeout::NONE)).map_err(failed("poll"))?;
        let [asked, _] = fds.map(|fd| fd.any().unwrap_or(false));
        reap(ended);
        if !asked {
            continue;
        }
        match receive(socket.as_fd()) {
            Received::Request(request) => launch(request, &mut ground),
            Received::Nothing => {}
            Received::End => return Ok(()),
        }
    }
    Ok(())
}

/// Reaps launchers. What they had to say they have said themselves.
fn reap(ended: &SignalFd) {
    while let Ok(Some(_)) = ended.read_signal() {}
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    while let Ok(Some(_)) | Err(Errno::EINTR) = waitid(Whose::Any, flags) {}
}

/// Makes a launcher for it. `ground` is closed in the launcher.
fn launch(request: Incoming, ground: &mut Option<(OwnedFd, SignalFd)>) {
    let channel = request.channel.try_clone();
    let made = copy_alone(|| {
        // Its end is to be seen when the launchers' parent ends.
        drop(ground.take());
        launcher(request)
    });
    // Without a copy the host sees the channel's end.
    if let (Err(errno), Ok(channel)) = (made, channel) {
        let e = RunError::Sys(SysError::plain("make a launcher", errno));
        Control::new(channel).refused(e.kind(), &e.to_string(), e.exit_code());
    }
}

/// The life of a launcher.
fn launcher(request: Incoming) -> u8 {
    let Incoming {
        channel,
        words,
        env,
        dir,
        streams,
        lease,
    } = request;
    let control = Control::new(channel);
    let set_up = || -> Result<_, RunError> {
        let failed = |op| move |errno| SysError::plain(op, errno);
        nix::unistd::fchdir(&dir).map_err(failed("enter the directory"))?;
        let [input, output, errors] = streams;
        nix::unistd::dup2_stdin(input).map_err(failed("dup2"))?;
        nix::unistd::dup2_stdout(output).map_err(failed("dup2"))?;
        nix::unistd::dup2_stderr(errors).map_err(failed("dup2"))?;
        let mut options = parse_hosted(words, Hosted { env })?;
        options.lease = lease.as_ref().map(AsRawFd::as_raw_fd);
        Ok(options)
    };
    match set_up() {
        Ok(options) => {
            control.accepted();
            crate::run::hosted(&options, &control)
        }
        Err(e) => {
            control.refused(e.kind(), &e.to_string(), e.exit_code());
            e.exit_code()
        }
    }
}
