//! What a process holds: descriptors, memory, its name.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::sys::prctl::set_name;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::script::Comm;

pub(super) fn close_all() -> Result<(), Errno> {
    allgone_sys::actor::close_all()
}

pub(super) fn touch(bytes: u64) -> Result<(), Errno> {
    allgone_sys::actor::touch(usize::try_from(bytes).map_err(|_| Errno::ENOMEM)?)
}

/// The limit is raised for whatever number: a refusal is told by what is opened.
pub(super) fn open_files(count: u32) -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    (0..count).try_for_each(|_| allgone_sys::actor::keep_descriptor())
}

pub(super) fn rename(name: Comm) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    let (text, _) = bytes.split_at_mut(name.as_bytes().len());
    text.copy_from_slice(name.as_bytes());
    set_name(CStr::from_bytes_until_nul(&bytes).map_err(|_| Errno::EINVAL)?)
}
