//! Cgroups below the process's own.

use nix::errno::Errno;

use super::Player;

impl Player<'_> {
    pub(super) fn enter_cgroup(&mut self) -> Result<(), Errno> {
        let pid = self.pid.as_raw();
        self.home.as_mut().ok_or(Errno::ENOENT)?.enter_new(pid)
    }
}
