//! Sessions and process groups.

use nix::errno::Errno;
use nix::unistd::{Pid, setpgid, setsid};

pub(super) fn begin_session() -> Result<(), Errno> {
    setsid().map(|_| ())
}

pub(super) fn begin_group() -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))
}
