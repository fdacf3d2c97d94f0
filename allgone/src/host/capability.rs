//! The capabilities of this process.
//!
//! Source: capabilities(7), include/uapi/linux/capability.h.

use std::fmt;

/// A set of effective capabilities, as in the line `CapEff` of `/proc/<pid>/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities(pub u64);

/// Kernel names without `CAP_`, in the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capabilities {
    /// Reads the line `CapEff` of the text of `/proc/<pid>/status`.
    pub fn parse(status: &str) -> Option<Self> {
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(bits.trim(), 16).ok().map(Self)
    }

    /// Whether the capability with this kernel name (without `CAP_`) is in the set.
    pub fn has(self, name: &str) -> bool {
        NAMES
            .iter()
            .position(|n| *n == name)
            .is_some_and(|bit| self.0 >> bit & 1 == 1)
    }

    /// The names in the set, `CAP_` included. Newer capabilities than this table knows are given by
    /// number.
    pub fn names(self) -> Vec<String> {
        let set = (0..64).filter(|bit| self.0 >> bit & 1 == 1);
        set.map(|bit: usize| {
            NAMES
                .get(bit)
                .map_or_else(|| format!("CAP_{bit}"), |name| format!("CAP_{name}"))
        })
        .collect()
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (1 << NAMES.len()) - 1;
        if self.0 & all == all {
            f.write_str("all")
        } else if self.0 == 0 {
            f.write_str("none")
        } else {
            f.write_str(&self.names().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_understood() {
        let set =
            Capabilities::parse("Name:\tx\nCapEff:\t0000000000200020\nCapBnd:\t00\n").unwrap();
        assert!(set.has("KILL") && set.has("SYS_ADMIN") && !set.has("BPF"));
        assert_eq!(set.to_string(), "CAP_KILL CAP_SYS_ADMIN");
        assert_eq!(Capabilities::parse("CapEff:\tzz\n"), None);
        assert_eq!(Capabilities::parse("CapBnd:\t0\n"), None);
        assert_eq!(Capabilities(1 << 45).names(), ["CAP_45"]);
        assert_eq!(Capabilities(u64::MAX).to_string(), "all");
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (number, name) in [
            (12, "NET_ADMIN"),
            (21, "SYS_ADMIN"),
            (38, "PERFMON"),
            (39, "BPF"),
            (40, "CHECKPOINT_RESTORE"),
        ] {
            assert_eq!(NAMES[number], name);
        }
    }
}
