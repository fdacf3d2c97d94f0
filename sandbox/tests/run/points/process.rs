//! What /proc says about processes of a run.

use std::collections::BTreeMap;

use nix::unistd::Pid;

/// The parent's number.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

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

/// One in words, for a failure.
pub(crate) fn told(pid: Pid) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:"));
    let line = read("cmdline").unwrap_or_default().replace('\0', " ");
    let call = read("syscall").unwrap_or_default();
    format!(
        "{pid} {:?} {} in {}",
        line,
        state.unwrap_or_default(),
        call.trim()
    )
}

/// Whether it has ended, although it has not been reaped.
pub(crate) fn is_dead(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X']))
}
