//! Being spared by the out-of-memory killer.
//!
//! Where `memory.oom.group` is set on a cgroup that host and guard are both below, the kernel kills
//! all of it at once, and nobody is left to remove the cgroups of jobs. Processes with a score
//! adjustment of -1000 are the exception. The guard takes that for itself and its second if it may:
//! it has next to no memory that could be had. What it starts gets the host's value back.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst, "memory.oom.group"; proc_pid_oom_score_adj(5).

use core::ffi::CStr;

use super::call::{self, Fd};
use super::raw::Errno;

const FILE: &CStr = c"/proc/self/oom_score_adj";
const NEVER: &[u8] = b"-1000";

/// The score adjustment of the host, for its jobs.
pub(crate) struct Spared {
    hosts: [u8; 8],
    length: usize,
}

impl Spared {
    /// Has this process spared. `None`: nothing has changed, because it lacks `CAP_SYS_RESOURCE`,
    /// or `/proc` is not there, or is that of other processes.
    pub(crate) fn from_now_on() -> Option<Self> {
        let file = open().ok()?;
        let mut hosts = [0; 8];
        let read = call::read(file, &mut hosts);
        let spared = read.and_then(|length| {
            call::write(file, NEVER)?;
            Ok(Self { hosts, length })
        });
        call::close(file);
        spared.ok()
    }

    /// Gives a child of this process what the host had.
    pub(crate) fn give_back(&self) -> Result<(), Errno> {
        let file = open()?;
        let written = call::write(file, self.hosts.get(..self.length).unwrap_or(b"0"));
        call::close(file);
        written.map(|_| ())
    }
}

fn open() -> Result<Fd, Errno> {
    // The path is absolute, so there is no directory.
    call::open(-1, FILE, call::READ_WRITE)
}
