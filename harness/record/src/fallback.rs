//! What a strategy did instead of what its name says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::earlier::Earlier;

/// What a strategy did instead of what its name says, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// What it did.
    pub kind: FallbackKind,
    /// The kernel's answer in its own spelling, if that is why.
    pub errno: Option<String>,
    /// What it did and why, in words.
    pub what: String,
}

/// What a strategy did instead of what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FallbackKind {
    /// `cgroup.kill` was refused or could do nothing: it froze, and signalled one by one.
    FrozeAndSignalled,
    /// The freezer was refused: it killed in a loop without freezing.
    DidNotFreeze,
    /// The members were not known to be frozen in time: it went on without.
    DidNotWaitForFrozen,
    /// There are no pidfds: it signalled by number, unprotected against reuse of pids.
    SignalledByNumber,
    /// The cgroup has no memory limit of its own: it used its parent's.
    UsedParentsLimit,
    /// There is no limit on tasks: it killed in a loop while births went on.
    DidNotStopBirths,
    /// Something else, of a strategy that is not of this project.
    Other,
    /// Recorded as text by schema 1 or 2, which had no kinds.
    Text,
}

impl FallbackKind {
    /// Its name, as it stands in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrozeAndSignalled => "froze-and-signalled",
            Self::DidNotFreeze => "did-not-freeze",
            Self::DidNotWaitForFrozen => "did-not-wait-for-frozen",
            Self::SignalledByNumber => "signalled-by-number",
            Self::UsedParentsLimit => "used-parents-limit",
            Self::DidNotStopBirths => "did-not-stop-births",
            Self::Other => "other",
            Self::Text => "text",
        }
    }

    /// The kind of this name; `None` if there is none.
    pub fn by_name(name: &str) -> Option<Self> {
        const ALL: [FallbackKind; 6] = [
            FallbackKind::FrozeAndSignalled,
            FallbackKind::DidNotFreeze,
            FallbackKind::DidNotWaitForFrozen,
            FallbackKind::SignalledByNumber,
            FallbackKind::UsedParentsLimit,
            FallbackKind::DidNotStopBirths,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Earlier for Fallback {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self {
            kind: FallbackKind::Text,
            errno: None,
            what: text.to_owned(),
        })
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_recorded_under_its_name_and_found_by_it() {
        for kind in [
            FallbackKind::FrozeAndSignalled,
            FallbackKind::DidNotFreeze,
            FallbackKind::DidNotWaitForFrozen,
            FallbackKind::SignalledByNumber,
            FallbackKind::UsedParentsLimit,
            FallbackKind::DidNotStopBirths,
        ] {
            let name = kind.name();
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
            assert_eq!(FallbackKind::by_name(name), Some(kind));
        }
        assert_eq!(FallbackKind::by_name("text"), None);
    }
}
