//! Signals.

use nix::errno::Errno;

pub(super) fn ignore_all() -> Result<(), Errno> {
    allgone_sys::actor::ignore_signals();
    Ok(())
}
