//! What a process holds: descriptors and memory.

use nix::errno::Errno;

pub(super) fn close_all() -> Result<(), Errno> {
    allgone_sys::actor::close_all()
}
