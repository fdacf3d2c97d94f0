//! The kernel's own counts of OOM kills: in the cgroups of a trial, and on the whole machine.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst (`memory.events`), cgroup-v1/memory.rst
//! (`memory.oom_control`), mm/oom_kill.c: the kill is counted in the victim's cgroup and in
//! `/proc/vmstat`, whatever limit was met (Linux 4.13).

use super::Site;

/// Processes that were OOM-killed up to one moment. A counter that cannot be read counts as zero:
/// without the memory controller there are no counters of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct OomKills {
    /// Inside the trial's limits and among the harness's helpers of it.
    pub(super) in_trial: u64,
    /// Anywhere.
    pub(super) on_machine: u64,
}

impl OomKills {
    /// Reads the counters.
    pub(super) fn so_far(site: &Site) -> Self {
        Self {
            in_trial: in_trial(site),
            on_machine: std::fs::read_to_string("/proc/vmstat").map_or(0, |text| counted(&text)),
        }
    }

    /// What has been added since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            in_trial: self.in_trial.saturating_sub(earlier.in_trial),
            on_machine: self.on_machine.saturating_sub(earlier.on_machine),
        }
    }

    /// What ended a process that got a SIGKILL which nothing in the trial had sent.
    pub(super) fn suspect(self) -> String {
        match (self.in_trial, self.on_machine) {
            (0, 0) => "by something outside the trial".to_owned(),
            (0, n) => {
                format!(
                    "by something outside the trial, perhaps the OOM killer ({n} killed on this \
                        machine meanwhile)"
                )
            }
            (n, _) => format!("by the kernel's OOM killer ({n} killed in this trial)"),
        }
    }
}

/// Kills of processes within the trial's limits, and of its helpers.
pub(super) fn in_trial(site: &Site) -> u64 {
    let v2 = [&site.parent, &site.control].map(|cgroup| cgroup.read("memory.events").ok());
    let v1 = site.v1.as_ref().and_then(|limits| limits.memory.as_ref());
    let v1 = v1.and_then(|dir| std::fs::read_to_string(dir.join("memory.oom_control")).ok());
    v2.into_iter()
        .chain([v1])
        .flatten()
        .map(|text| counted(&text))
        .sum()
}

/// The line `oom_kill N` of a file of counters.
fn counted(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_interface_is_understood() {
        assert_eq!(counted("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), 2);
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 1\noom_kill 7\n"), 7);
        assert_eq!(counted("pgfault 1\noom_kill 12\nnuma_hit 4\n"), 12);
        assert_eq!(counted("oom_kill_disable 0\n"), 0);
    }

    #[test]
    fn the_nearest_count_is_the_suspect() {
        let kills = |in_trial, on_machine| OomKills {
            in_trial,
            on_machine,
        };
        assert!(
            kills(1, 1)
                .suspect()
                .contains("OOM killer (1 killed in this trial)")
        );
        assert!(kills(0, 3).suspect().contains("perhaps"));
        assert_eq!(kills(0, 0).suspect(), "by something outside the trial");
        assert_eq!(kills(5, 9).since(kills(4, 9)), kills(1, 0));
    }
}
