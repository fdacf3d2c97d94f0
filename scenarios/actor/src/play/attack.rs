//! Attacks on others in the same cgroup.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Player;

impl Player<'_> {
    /// Stops and kills whatever else is listed in `cgroup.procs`, as far as it may. A refusal is
    /// what ought to happen.
    pub(super) fn attack_cgroup(&mut self) -> Result<(), Errno> {
        let mut list = [0; 4096];
        let home = self.home.ok_or(Errno::ENOENT)?;
        let length = home.read(b"/cgroup.procs", &mut list)?;
        let lines = list.get(..length).unwrap_or_default();
        for line in lines.split(|byte| *byte == b'\n') {
            let pid = std::str::from_utf8(line)
                .ok()
                .and_then(|text| text.parse().ok());
            // 0 is a process of another PID namespace; to kill(2) it is the own process group.
            let other = |pid: &Pid| pid.as_raw() > 0 && *pid != self.pid;
            let Some(pid) = pid.map(Pid::from_raw).filter(other) else {
                continue;
            };
            for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                match kill(pid, signal) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}
