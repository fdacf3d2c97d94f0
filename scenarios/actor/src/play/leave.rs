//! What a process leaves behind when it ends: objects of the kernel.

use allgone_sys::ipc::Kind;
use nix::errno::Errno;

use super::Player;

impl Player<'_> {
    /// One of each kind, named by the ledger, so that whoever has that can remove them.
    pub(super) fn leave_objects(&self) -> Result<(), Errno> {
        let tag = self.setting.ledger.tag();
        Kind::ALL.into_iter().try_for_each(|kind| kind.make(tag))
    }
}
