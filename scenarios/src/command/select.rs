//! Which of the known names a user means: exact ids, patterns, groups, `all` and `none`; and for a
//! name that is not known, the nearest ones.

use std::collections::BTreeSet;
use std::fmt;

/// An unknown name, and the names that may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    kind: &'static str,
    given: String,
    nearest: Vec<String>,
    all: bool,
}

impl Unknown {
    /// `given` is none of `known`.
    pub(super) fn new(kind: &'static str, given: &str, known: &[&str]) -> Self {
        let mut near: Vec<(f64, &str)> = known
            .iter()
            .map(|name| (strsim::jaro_winkler(given, name), *name))
            .filter(|(score, _)| *score > 0.75)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let all = near.is_empty();
        let nearest = match all {
            true => known.iter().map(|name| (*name).to_owned()).collect(),
            false => near
                .into_iter()
                .take(3)
                .map(|(_, name)| name.to_owned())
                .collect(),
        };
        Self {
            kind,
            given: given.to_owned(),
            nearest,
            all,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, given, .. } = self;
        let list = self.nearest.join(", ");
        match (self.all, self.nearest.is_empty()) {
            (_, true) => write!(f, "unknown {kind} {given:?}: there is none here"),
            (true, _) => write!(f, "unknown {kind} {given:?}: known are {list}"),
            (false, _) => write!(f, "unknown {kind} {given:?}: nearest are {list}"),
        }
    }
}

/// What was selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The ids, in the order of the registry.
    pub ids: Vec<&'static str>,
    /// Those that were written out in full: if this machine does not offer one, that is an error
    /// and not a remark.
    pub by_name: BTreeSet<&'static str>,
}

/// The names that there are to choose from.
#[derive(Clone, Debug)]
pub(super) struct Names<'a> {
    kind: &'static str,
    known: &'a [&'static str],
    groups: Vec<(String, Vec<&'static str>)>,
}

impl<'a> Names<'a> {
    /// Names of things of a `kind`.
    pub(super) fn new(kind: &'static str, known: &'a [&'static str]) -> Self {
        Self {
            kind,
            known,
            groups: Vec::new(),
        }
    }

    /// Lets `prefix:kind` stand for all names of that kind.
    pub(super) fn grouped(
        mut self,
        prefix: &str,
        kind_of: impl Fn(&str) -> Option<String>,
    ) -> Self {
        for name in self.known {
            let Some(group) = kind_of(name).map(|kind| format!("{prefix}:{kind}")) else {
                continue;
            };
            match self.groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, members)) => members.push(name),
                None => self.groups.push((group, vec![name])),
            }
        }
        self
    }

    /// Applies `include` (empty: all) and `exclude`.
    pub(super) fn select(
        &self,
        include: &[String],
        exclude: &[String],
    ) -> Result<Selection, Unknown> {
        let mut chosen = BTreeSet::new();
        let mut by_name = BTreeSet::new();
        if include.is_empty() {
            chosen.extend(self.known);
        }
        for given in include {
            let matches = self.matching(given)?;
            if self.known.contains(&given.as_str()) {
                by_name.extend(matches.iter().copied());
            }
            chosen.extend(matches);
        }
        for given in exclude {
            for id in self.matching(given)? {
                chosen.remove(id);
                by_name.remove(id);
            }
        }
        Ok(Selection {
            ids: self
                .known
                .iter()
                .copied()
                .filter(|id| chosen.contains(id))
                .collect(),
            by_name,
        })
    }

    fn matching(&self, given: &str) -> Result<Vec<&'static str>, Unknown> {
        if given == "none" {
            return Ok(Vec::new());
        }
        if let Some((_, members)) = self.groups.iter().find(|(group, _)| group == given) {
            return Ok(members.clone());
        }
        let pattern = if given == "all" { "*" } else { given };
        let found: Vec<_> = self
            .known
            .iter()
            .copied()
            .filter(|id| glob(pattern, id))
            .collect();
        if found.is_empty() {
            let groups = self.groups.iter().map(|(group, _)| group.as_str());
            let all: Vec<&str> = self.known.iter().copied().chain(groups).collect();
            return Err(Unknown::new(self.kind, given, &all));
        }
        Ok(found)
    }
}

/// Whether `pattern` (with `*` for any text and `?` for one character) covers all of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| glob(rest, &text[at..])),
        _ => text
            .chars()
            .next()
            .is_some_and(|c| (first == '?' || first == c) && glob(rest, &text[c.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = [
        "cgroup-events-inotify",
        "cgroup-events-poll",
        "pidfd-main",
        "waitpid-main",
    ];

    fn ids(include: &[&str], exclude: &[&str]) -> Result<Vec<&'static str>, String> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Names::new("detector", &KNOWN)
            .grouped("scope", |id| {
                id.strip_suffix("-main").map(|_| "main".to_owned())
            })
            .select(&own(include), &own(exclude))
            .map(|s| s.ids)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_given_means_all() {
        assert_eq!(ids(&[], &[]).unwrap(), KNOWN);
        assert_eq!(ids(&["all"], &["pidfd-main"]).unwrap().len(), 3);
        assert_eq!(ids(&["none"], &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn patterns_keep_the_order_of_the_registry() {
        assert_eq!(
            ids(&["*-main", "cgroup-*"], &["*-poll"]).unwrap(),
            [KNOWN[0], KNOWN[2], KNOWN[3]]
        );
        assert_eq!(ids(&["waitpi?-main"], &[]).unwrap(), ["waitpid-main"]);
    }

    #[test]
    fn a_group_stands_for_its_members() {
        assert_eq!(ids(&["scope:main"], &[]).unwrap(), [KNOWN[2], KNOWN[3]]);
        assert_eq!(
            ids(&["all"], &["scope:main"]).unwrap(),
            [KNOWN[0], KNOWN[1]]
        );
        let error = ids(&["scope:mian"], &[]).unwrap_err();
        assert!(error.contains("nearest are scope:main"), "{error}");
    }

    #[test]
    fn only_full_names_count_as_named() {
        let include = ["pidfd-main".to_owned(), "cgroup-*".to_owned()];
        let chosen = Names::new("detector", &KNOWN)
            .select(&include, &[])
            .unwrap();
        assert_eq!(chosen.by_name, BTreeSet::from(["pidfd-main"]));
        assert_eq!(chosen.ids.len(), 3);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = ids(&["cgroup-event-poll"], &[]).unwrap_err();
        assert!(
            error
                .contains("unknown detector \"cgroup-event-poll\": nearest are cgroup-events-poll"),
            "{error}"
        );
        assert!(!error.contains("waitpid-main"), "{error}");
        let error = ids(&[], &["zzz"]).unwrap_err();
        assert!(
            error.contains("known are") && error.contains("waitpid-main"),
            "{error}"
        );
    }
}
