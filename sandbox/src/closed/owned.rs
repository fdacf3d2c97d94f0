//! Steps with all that they need: what the system calls borrow.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use allgone::SysError;
use allgone::sys::spawn::launch::{Bind, FileStep, LockStep, Need, Setup};
use nix::errno::Errno;
use nix::libc;

use crate::error::RunError;

/// One step with all that it needs.
#[derive(Debug)]
pub(crate) enum Owned {
    Mount {
        source: &'static CStr,
        target: CString,
        kind: Option<&'static CStr>,
        flags: libc::c_ulong,
        options: Option<CString>,
    },
    Bind {
        source: CString,
        target: CString,
        attributes: u64,
        owners: Option<Arc<OwnedFd>>,
    },
    Dir {
        path: CString,
        mode: u32,
        owner: Option<(u32, u32)>,
    },
    File(CString),
    Symlink {
        target: CString,
        path: CString,
    },
    Copy {
        file: File,
        path: CString,
        mode: u32,
        owner: Option<(u32, u32)>,
    },
    Enter(CString),
    Write(&'static CStr, &'static CStr),
    Lock(LockStep),
    Root,
}

impl Owned {
    /// As it is made.
    pub(crate) fn setup(&self) -> Setup<'_> {
        Setup::Files(match self {
            Self::Mount {
                source,
                target,
                kind,
                flags,
                options,
            } => {
                return Setup::Mount {
                    source,
                    target,
                    kind: *kind,
                    flags: *flags,
                    options: options.as_deref(),
                };
            }
            Self::Write(path, text) => return Setup::Write { path, text },
            Self::Lock(step) => return Setup::Lock(*step),
            Self::Bind {
                source,
                target,
                attributes,
                owners,
            } => FileStep::Bind(Bind {
                source,
                target,
                attributes: *attributes,
                owners: owners.as_ref().map(|owners| owners.as_fd()),
            }),
            Self::Dir { path, mode, owner } => FileStep::Dir {
                path,
                mode: *mode,
                owner: *owner,
            },
            Self::File(path) => FileStep::File { path },
            Self::Symlink { target, path } => FileStep::Symlink { target, path },
            Self::Copy {
                file,
                path,
                mode,
                owner,
            } => FileStep::Copy {
                file: file.as_fd(),
                path,
                mode: *mode,
                owner: *owner,
            },
            Self::Enter(path) => FileStep::Enter(path),
            Self::Root => FileStep::Root,
        })
    }
}

/// Whether the sandbox goes on without it.
pub(crate) type Step = (Owned, Need);

pub(crate) fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, RunError> {
    CString::new(bytes).map_err(|_| {
        let what = "pass on a path with a zero byte";
        RunError::Sys(SysError::plain(what, Errno::EINVAL))
    })
}
