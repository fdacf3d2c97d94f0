//! What a job has used: from its cgroup if that has counters, else from the first process.

use std::time::Duration;

use super::completion::{Cpu, PeakMemory, Usage, UsageOf};
use crate::cgroup::Cgroup;
use crate::limits::LimitSource;
use crate::sys::wait;

/// Reads it before the cgroup is removed. What cannot be read is left out.
pub(super) fn read(cgroup: &Cgroup, limits: &LimitSource, main: Option<wait::Usage>) -> Usage {
    let own = |main: wait::Usage| Cpu {
        user: main.user,
        system: main.system,
        of: UsageOf::Main,
    };
    // Every cgroup has cpu.stat, whether or not the cpu controller is enabled (Linux 4.15).
    let cpu = cgroup.read("cpu.stat").ok().and_then(|text| parse(&text));
    let has_memory = matches!(limits, LimitSource::V2 { memory: true, .. });
    let peak = has_memory
        .then(|| cgroup.read("memory.peak").ok())
        .flatten()
        .and_then(|text| text.trim().parse().ok());
    Usage {
        cpu: cpu.or_else(|| main.map(own)),
        peak_memory: match (peak, main) {
            (Some(bytes), _) => Some(PeakMemory {
                bytes,
                of: UsageOf::Job,
            }),
            (None, Some(main)) => Some(PeakMemory {
                bytes: main.max_rss_bytes,
                of: UsageOf::Main,
            }),
            (None, None) => None,
        },
    }
}

/// Processor time from `cpu.stat`.
fn parse(text: &str) -> Option<Cpu> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok().map(Duration::from_micros)
    };
    Some(Cpu {
        user: value("user_usec ")?,
        system: value("system_usec ")?,
        of: UsageOf::Job,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_and_nothing_is_made_up() {
        let cpu = parse("usage_usec 30\nuser_usec 10\nsystem_usec 20\nnice_usec 0\n").unwrap();
        assert_eq!(
            (cpu.user, cpu.system, cpu.of),
            (
                Duration::from_micros(10),
                Duration::from_micros(20),
                UsageOf::Job
            )
        );
        for bad in ["", "user_usec 1\n", "user_usec x\nsystem_usec 2\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
