//! What a process holds: descriptors, memory, its name, workers of the kernel.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl::set_name;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::write;

use crate::script::Comm;

pub(super) fn close_all() -> Result<(), Errno> {
    allgone_sys::actor::close_all()
}

/// Where a limit is met, the OOM killer is to choose this process, and not a helper of the harness
/// that is inside the same limit and resident with more. Without `/proc` the kernel chooses.
pub(super) fn touch(bytes: u64) -> Result<(), Errno> {
    match be_chosen_first() {
        Ok(()) | Err(Errno::ENOENT | Errno::EACCES) => {}
        Err(e) => return Err(e),
    }
    allgone_sys::actor::touch(usize::try_from(bytes).map_err(|_| Errno::ENOMEM)?)
}

/// proc_pid_oom_score_adj(5): a process may raise its own.
fn be_chosen_first() -> Result<(), Errno> {
    let file = open(
        c"/proc/self/oom_score_adj",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    write(file, b"1000").map(|_| ())
}

/// The limit is raised for whatever number: a refusal is told by what is opened.
pub(super) fn open_files(count: u32) -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    (0..count).try_for_each(|_| allgone_sys::actor::keep_descriptor())
}

pub(super) fn start_io_workers(count: u32) -> Result<(), Errno> {
    allgone_sys::iouring::sleeping_workers(count)
}

pub(super) fn rename(name: Comm) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    let (text, _) = bytes.split_at_mut(name.as_bytes().len());
    text.copy_from_slice(name.as_bytes());
    set_name(CStr::from_bytes_until_nul(&bytes).map_err(|_| Errno::EINVAL)?)
}
