//! Reasons that can be read from the process itself.

use nix::sys::signal::Signal;

use super::Reason;
use super::case::{Case, Finding};
use crate::proc;

/// `PF_KTHREAD`: neither `kill(2)` nor `cgroup.kill` acts on it, and its cgroup stays populated.
/// Source: kernel/cgroup/cgroup.c, `__cgroup_kill()`.
pub(super) fn kernel_thread(case: &Case<'_>) -> Option<Finding> {
    case.stat
        .is_kernel_thread()
        .then(|| Finding::new(Reason::KernelThread, "PF_KTHREAD in /proc/<pid>/stat"))
}

/// State `D` with a SIGKILL pending: signals are ignored until the sleep ends. `wchan` and, for
/// root, `stack` say where. Without a pending SIGKILL the state proves nothing: some of these
/// sleeps (a parent in vfork) end at once when killed. Source: proc_pid_wchan(5),
/// proc_pid_stack(5).
pub(super) fn uninterruptible(case: &Case<'_>) -> Option<Finding> {
    let thread = case.thread_in('D').filter(|_| case.is_killed())?;
    let place = |name| proc::text(case.stat.pid, &format!("task/{}/{name}", thread.pid));
    let wchan = place("wchan").filter(|name| name != "0");
    let stack = place("stack").map(|lines| frames(&lines));
    let at = match (wchan, stack) {
        (None, None) => "wchan and stack cannot be read".to_owned(),
        (wchan, stack) => format!(
            "wchan {}, stack {}",
            wchan.as_deref().unwrap_or("unknown"),
            stack.as_deref().unwrap_or("unknown")
        ),
    };
    Some(Finding::new(
        Reason::UninterruptibleSleep,
        format!(
            "thread {} is in state D; {at}; {}",
            thread.pid,
            case.pending()
        ),
    ))
}

/// The function names of `/proc/<pid>/stack`, innermost first, at most six.
fn frames(stack: &str) -> String {
    let names: Vec<&str> = stack
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| name.split('+').next().unwrap_or(name))
        .take(6)
        .collect();
    names.join(" < ")
}

/// All live threads are in `do_exit()`. After the memory map is given up `VmRSS` is gone.
pub(super) fn exiting(case: &Case<'_>) -> Option<Finding> {
    case.alive.iter().all(proc::Stat::is_exiting).then(|| {
        let memory = match case.status.rss_kib {
            Some(kib) => format!("{kib} KiB are still mapped"),
            None => "its memory map is being released, or is gone".to_owned(),
        };
        Finding::new(
            Reason::Exiting,
            format!("PF_EXITING or PF_SIGNALED is set; {memory}"),
        )
    })
}

/// `TracerPid` and state `t`. SIGKILL ends a traced process; every other signal waits for the
/// tracer. Source: ptrace(2).
pub(super) fn traced(case: &Case<'_>) -> Option<Finding> {
    let thread = case.thread_in('t')?;
    if case.is_killed() || case.status.tracer == 0 {
        return None;
    }
    let tracer = case.status.tracer;
    let name = proc::stat(tracer).map_or_else(|_| "unknown".to_owned(), |stat| stat.comm);
    Some(Finding::new(
        Reason::Traced,
        format!(
            "thread {} is in state t under tracer {tracer} ({name}); no SIGKILL is pending",
            thread.pid
        ),
    ))
}

/// State `T`. SIGKILL ends a stopped process; every other signal but SIGCONT waits.
pub(super) fn stopped(case: &Case<'_>) -> Option<Finding> {
    let thread = case.thread_in('T')?;
    (!case.is_killed()).then(|| {
        let waiting = if case.status.has_pending(Signal::SIGTERM) {
            "SIGTERM is pending and waits for SIGCONT"
        } else {
            "no SIGKILL is pending"
        };
        Finding::new(
            Reason::Stopped,
            format!("thread {} is in state T; {waiting}", thread.pid),
        )
    })
}

/// The leader is a zombie, and other threads live.
pub(super) fn dead_leader(case: &Case<'_>) -> Option<Finding> {
    case.stat.is_zombie().then(|| {
        let tids: Vec<String> = case
            .alive
            .iter()
            .take(8)
            .map(|t| t.pid.to_string())
            .collect();
        Finding::new(
            Reason::DeadLeader,
            format!(
                "the leader is in state {}; {} live threads ({}); {}",
                case.stat.state,
                case.alive.len(),
                tids.join(" "),
                case.pending()
            ),
        )
    })
}

/// `cgroup.type` of its cgroup is `threaded`: `cgroup.kill` there answers `EOPNOTSUPP`.
/// Source: Documentation/admin-guide/cgroup-v2.rst, "cgroup.kill".
pub(super) fn threaded(case: &Case<'_>) -> Option<Finding> {
    let directory = case.mounts.v2(case.membership.v2()?)?;
    let kind = std::fs::read_to_string(directory.join("cgroup.type")).ok()?;
    (!case.is_killed() && kind.trim() == "threaded").then(|| {
        Finding::new(
            Reason::ThreadedCgroup,
            format!(
                "cgroup.type of {} is threaded; no SIGKILL is pending",
                directory.display()
            ),
        )
    })
}

/// The last check: it was killed and has not died yet, or it was never killed.
pub(super) fn signalled_or_not(case: &Case<'_>) -> Finding {
    if case.is_killed() {
        return Finding::new(
            Reason::Dying,
            format!("SIGKILL is pending; state {}", case.stat.state),
        );
    }
    let deaf = if case.status.shrugs_off(Signal::SIGTERM) {
        "; it ignores or blocks SIGTERM"
    } else {
        ""
    };
    Finding::new(
        Reason::NotSignalled,
        format!("no SIGKILL is pending; state {}{deaf}", case.stat.state),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_told_by_its_functions() {
        let stack = "[<0>] percpu_rwsem_wait+0x113/0x150\n\
            [<0>] __percpu_down_read+0x5e/0x80\n\
            [<0>] do_fault+0x1/0x2\n";
        assert_eq!(
            frames(stack),
            "percpu_rwsem_wait < __percpu_down_read < do_fault"
        );
        assert_eq!(frames(""), "");
        assert_eq!(frames("[<0>] 0xffffffffffffffff\n"), "0xffffffffffffffff");
    }
}
