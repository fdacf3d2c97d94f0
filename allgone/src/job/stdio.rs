//! Where the standard streams of a program come from and go to.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;

use super::error::StartError;
use crate::error::{SysError, Target};

/// A standard stream of a program, as [`std::process::Stdio`]; can be used for any number of
/// spawns.
#[derive(Clone, Debug)]
pub struct Stdio(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Descriptor(Arc<OwnedFd>),
}

impl Stdio {
    /// The host's own.
    pub const fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`.
    pub const fn null() -> Self {
        Self(Kind::Null)
    }

    /// A new pipe, whose other end the [`Job`](super::Job) has.
    pub const fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Descriptor(Arc::new(fd)))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        OwnedFd::from(pipe).into()
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        OwnedFd::from(pipe).into()
    }
}

/// The three streams of one program that is about to be started.
#[derive(Debug)]
pub(super) struct Streams {
    ends: [End; 3],
    /// The host's end of the program's standard input.
    pub(super) stdin: Option<PipeWriter>,
    /// The host's end of its output.
    pub(super) stdout: Option<PipeReader>,
    /// The host's end of its errors.
    pub(super) stderr: Option<PipeReader>,
}

/// The program's end of a stream.
#[derive(Debug)]
enum End {
    Host,
    Own(OwnedFd),
    Shared(Arc<OwnedFd>),
}

impl Streams {
    pub(super) fn open(stdin: &Stdio, stdout: &Stdio, stderr: &Stdio) -> Result<Self, StartError> {
        let failed = |e| StartError::from(SysError::io("make a pipe", Target::Nothing, &e));
        let (mut host_in, mut host_out, mut host_err) = (None, None, None);
        let first = match &stdin.0 {
            Kind::Piped => {
                let (read, write) = std::io::pipe().map_err(failed)?;
                host_in = Some(write);
                End::Own(read.into())
            }
            other => end(other)?,
        };
        let out = |kind: &Kind, host: &mut Option<PipeReader>| match kind {
            Kind::Piped => {
                let (read, write) = std::io::pipe().map_err(failed)?;
                *host = Some(read);
                Ok(End::Own(write.into()))
            }
            other => end(other),
        };
        let second = out(&stdout.0, &mut host_out)?;
        let third = out(&stderr.0, &mut host_err)?;
        Ok(Self {
            ends: [first, second, third],
            stdin: host_in,
            stdout: host_out,
            stderr: host_err,
        })
    }

    /// The program's ends, with their numbers. The host's own is left out where it is closed.
    pub(super) fn of_program<'a>(
        &'a self,
        host: &'a [BorrowedFd<'a>; 3],
    ) -> [(BorrowedFd<'a>, i32); 3] {
        let [stdin, stdout, stderr] = &self.ends;
        let fd = |end: &'a End, number: usize| match end {
            End::Host => host[number],
            End::Own(fd) => fd.as_fd(),
            End::Shared(fd) => fd.as_fd(),
        };
        [(fd(stdin, 0), 0), (fd(stdout, 1), 1), (fd(stderr, 2), 2)]
    }
}

fn end(kind: &Kind) -> Result<End, StartError> {
    Ok(match kind {
        Kind::Inherit | Kind::Piped => End::Host,
        Kind::Descriptor(fd) => End::Shared(fd.clone()),
        Kind::Null => {
            let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
            let null = nix::fcntl::open("/dev/null", flags, nix::sys::stat::Mode::empty());
            End::Own(null.map_err(|e| SysError::path("open", "/dev/null", e))?)
        }
    })
}
