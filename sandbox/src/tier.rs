//! What a run's promises rest on: the strongest that the machine allows, or the one that is asked
//! for.

/// A mechanism. The later ones are the stronger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A cgroup alone.
    Cgroup,
    /// No namespace and no cgroup: init traces all that is started (`PTRACE_O_EXITKILL`).
    Traced,
    /// A PID namespace, and a cgroup where one may be had.
    Namespace,
}

impl Tier {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::Namespace, Self::Traced, Self::Cgroup];
    /// Their names in the same order, as options take them.
    pub const NAMES: &[&str] = &["namespace", "traced", "cgroup"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Traced => "traced",
            Self::Cgroup => "cgroup",
        }
    }

    /// The tier of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// What holds in the tiers above and not in this one; for the report and for `--verbose`.
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &[],
            Self::Cgroup => &[
                "if launcher and init are killed in the same moment, nothing ends the program",
                "a program that may write to other cgroups can leave its own; it is then ended as \
                 a descendant, one process after the other",
                "--grace reaches the main process alone",
                "no /proc, /tmp, host name or IPC of its own",
                "the program sees and can signal other processes of its user, this launcher \
                 included",
            ],
            Self::Traced => &[
                "no /proc, /tmp, host name or IPC of its own",
                "the program sees and can signal other processes of its user, this launcher \
                 included, whose end is the program's",
                "no program in it can be debugged or traced, and none gains privileges by its file \
                 (set-user-id)",
                "clone3 is refused as unknown; each fork costs three stops",
            ],
        }
    }

    /// Those that may be tried, the strongest first: `only` one, or those that are not below
    /// `least`.
    pub fn candidates(only: Option<Self>, least: Option<Self>) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |tier| only.is_none_or(|only| only == *tier))
            .filter(move |tier| least.is_none_or(|least| *tier >= least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order_are_those_of_the_table() {
        assert_eq!(Tier::ALL.map(Tier::name), Tier::NAMES);
        assert!(Tier::ALL.is_sorted_by(|stronger, weaker| stronger > weaker));
        assert!(
            Tier::ALL
                .into_iter()
                .all(|tier| Tier::named(tier.name()) == Some(tier))
        );
    }

    #[test]
    fn what_is_required_is_the_least() {
        let with = |only, least| Tier::candidates(only, least).collect::<Vec<_>>();
        assert_eq!(with(None, None), Tier::ALL);
        assert_eq!(with(None, Some(Tier::Namespace)), [Tier::Namespace]);
        assert_eq!(with(Some(Tier::Traced), None), [Tier::Traced]);
        assert_eq!(with(Some(Tier::Traced), Some(Tier::Namespace)), []);
    }
}
