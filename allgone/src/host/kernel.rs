//! Kernel versions, for facts ("since 5.14") and messages. Support is probed, never concluded from
//! a version.

use std::fmt;

/// Major and minor number of a kernel release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion(pub u16, pub u16);

impl KernelVersion {
    /// In no released kernel: a draft series of this project has it.
    pub const UNRELEASED: Self = Self(u16::MAX, 0);

    /// Reads the beginning of a release string such as `6.18.44-amd64` or `7.3-rc7`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self(
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        ))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNRELEASED => f.write_str("none yet"),
            Self(major, minor) => write!(f, "{major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_ordered() {
        assert_eq!(
            KernelVersion::parse("6.18.44-fc-v657"),
            Some(KernelVersion(6, 18))
        );
        assert_eq!(KernelVersion::parse("7.3-rc7"), Some(KernelVersion(7, 3)));
        assert_eq!(KernelVersion::parse("linux"), None);
        assert!(KernelVersion(5, 14) < KernelVersion(6, 1));
        assert_eq!(KernelVersion(5, 14).to_string(), "5.14");
        assert_eq!(KernelVersion::UNRELEASED.to_string(), "none yet");
    }
}
