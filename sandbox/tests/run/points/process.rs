//! What /proc says about processes of a run.

use std::collections::BTreeMap;

use nix::unistd::Pid;

use super::tracees::parent;

/// All processes below this one.
pub(crate) fn descendants() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: BTreeMap<Pid, Pid> = pids
        .map(Pid::from_raw)
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let above = |pid: &Pid| parents.get(pid).copied();
    let below = |pid: &Pid| std::iter::successors(above(pid), above).any(|pid| pid == Pid::this());
    parents.keys().copied().filter(below).collect()
}

/// Whether it has ended, although it has not been reaped.
pub(crate) fn is_dead(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X']))
}
