//! The host's side of the launchers' parent.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use allgone::sys::spawn::detached;
use allgone::sys::wait::{Whose, waitid};
use allgone::{SysError, Target};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::WaitPidFlag;

use super::wire::Outgoing;
use super::{LaunchError, NAME, SOCKET};

/// Which program the launchers' parent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The command `allgone`, found in `PATH`.
    Installed,
    /// The command `allgone`, at this path.
    At(PathBuf),
    /// The host's own program once more. Its `main` has to call
    /// [`serve_if_asked`](super::serve_if_asked) first.
    This,
}

impl Program {
    fn path(&self) -> Result<PathBuf, SysError> {
        match self {
            Self::At(path) => Ok(path.clone()),
            Self::This => Ok("/proc/self/exe".into()),
            Self::Installed => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path)
                    .map(|dir| dir.join("allgone"))
                    .find(|file| file.is_file())
                    .ok_or_else(|| SysError::path("find in PATH", "allgone", Errno::ENOENT))
            }
        }
    }
}

/// Starts runs for this process. One is enough for any number of runs, from any threads.
///
/// Dropping it ends the launchers' parent; runs go on, as long as their [`Run`](super::Run) is
/// there. Its descriptor ([`AsFd`]) is readable when that parent has died.
#[derive(Debug)]
pub struct Launcher {
    socket: OwnedFd,
    pidfd: OwnedFd,
    host: u32,
}

impl Launcher {
    /// Starts it, and returns when it is executed. Any number of threads may be running; the
    /// calling one has its signals blocked for the time.
    ///
    /// Errors: [`LaunchError::Start`]: the program is not there or may not be executed.
    pub fn start(program: &Program) -> Result<Self, LaunchError> {
        let path = program.path();
        let path = path.map_err(|source| start_failed(Path::new("allgone"), source))?;
        let failed = |source| start_failed(&path, source);
        let open = |path: &Path| {
            File::open(path).map_err(|e| SysError::io("open", Target::Path(path.to_owned()), &e))
        };
        let exe = open(&path).map_err(failed)?;
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|e| SysError::io("open", Target::Path("/dev/null".into()), &e))?;
        let (socket, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|e| SysError::plain("socketpair", e))?;
        let null = null.as_fd();
        // The last one is `SOCKET`.
        let given: [_; SOCKET as usize + 1] = [null, null, null, theirs.as_fd()];
        let argv = [CString::new(NAME).unwrap_or_default()];
        let pidfd = detached::start(exe.as_fd(), &argv, &[], &given)
            .map_err(|e| failed(SysError::path(e.step, &path, e.errno)))?;
        Ok(Self {
            socket,
            pidfd,
            host: std::process::id(),
        })
    }

    /// Sends a request.
    pub(super) fn ask(&self, request: &Outgoing<'_>) -> Result<(), LaunchError> {
        if self.host != std::process::id() {
            return Err(LaunchError::Fork);
        }
        match request.send(self.socket.as_fd()) {
            Err(e) if [Errno::EPIPE, Errno::ECONNRESET].contains(&e.errno) => {
                Err(LaunchError::Died)
            }
            other => Ok(other?),
        }
    }
}

fn start_failed(path: &Path, source: SysError) -> LaunchError {
    let program = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    LaunchError::Start { program, source }
}

impl AsFd for Launcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // It ends when the socket is closed, which happens after this. If it has ended already and
        // this process is its reaper, it is reaped.
        if self.host == std::process::id() {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
            match waitid(Whose::Pidfd(self.pidfd.as_fd()), flags) {
                Ok(_) | Err(_) => {}
            }
        }
    }
}
