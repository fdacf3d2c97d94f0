//! Contexts as text: `USER:ROLE:TYPE`, and with a policy that has levels `:RANGE`.

use std::ops::RangeInclusive;

/// A context, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context<'a> {
    pub(super) user: &'a str,
    pub(super) role: &'a str,
    pub(super) kind: &'a str,
    /// `LOW` or `LOW-HIGH`, each a sensitivity and perhaps categories.
    pub(super) range: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// `None`: it is none, as `kernel` before a policy is loaded.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        Some(Self {
            user: part()?,
            role: part()?,
            kind: part()?,
            range: part(),
        })
    }

    /// The same with another type and level.
    pub(super) fn with(&self, kind: &str, range: Option<&str>) -> String {
        text(self.user, self.role, kind, range)
    }

    /// Of a file of this user's.
    pub(super) fn of_file(&self, kind: &str, range: Option<&str>) -> String {
        text(self.user, "object_r", kind, range)
    }
}

fn text(user: &str, role: &str, kind: &str, range: Option<&str>) -> String {
    let range = range.map_or(String::new(), |range| format!(":{range}"));
    format!("{user}:{role}:{kind}{range}")
}

/// The sensitivity of the low level of a range.
pub(super) fn sensitivity(range: &str) -> &str {
    range.split(['-', ':']).next().unwrap_or(range)
}

/// The categories of the high level of a range, by number. Empty: it has none, or they have names
/// that are no numbers.
pub(super) fn categories(range: &str) -> Vec<u16> {
    let high = range.rsplit('-').next().unwrap_or(range);
    let Some((_, list)) = high.split_once(':') else {
        return Vec::new();
    };
    list.split(',').filter_map(span).flatten().collect()
}

/// `cN`, or `cN.cM`.
fn span(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| text.strip_prefix('c')?.parse().ok();
    let (first, last) = text.split_once('.').unwrap_or((text, text));
    Some(number(first)?..=number(last)?)
}

/// What a type's files are called, the best first: `a_b_t` has `a_b_file_t`, or `a_file_t`.
pub(super) fn file_types(kind: &str) -> Vec<String> {
    let mut stem = kind.strip_suffix("_t").unwrap_or(kind);
    let mut names = vec![format!("{stem}_file_t")];
    while let Some((shorter, _)) = stem.rsplit_once('_') {
        stem = shorter;
        names.push(format!("{stem}_file_t"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_taken_apart() {
        let whole = "system_u:system_r:init_t:s0-s0:c0.c1023";
        let context = Context::parse(whole).unwrap();
        assert_eq!(context.kind, "init_t");
        assert_eq!(context.range, Some("s0-s0:c0.c1023"));
        assert_eq!(
            context.with("sandbox_t", Some("s0:c1,c2")),
            "system_u:system_r:sandbox_t:s0:c1,c2"
        );
        assert_eq!(context.of_file("x_t", None), "system_u:object_r:x_t");
        assert_eq!(Context::parse("u:r:t").unwrap().range, None);
        for text in ["kernel", "", "u:r", "u::t:s0"] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
    }

    #[test]
    fn categories_are_those_of_the_high_level() {
        assert_eq!(categories("s0-s0:c0.c3,c9"), [0, 1, 2, 3, 9]);
        assert_eq!(categories("s0:c7"), [7]);
        assert!(categories("s0").is_empty());
        assert!(categories("s0-s15").is_empty());
        assert!(categories("s0:Marketing").is_empty());
        assert_eq!(sensitivity("s1:c1-s2:c1.c5"), "s1");
        assert_eq!(sensitivity("s0-s0:c0.c3"), "s0");
    }

    #[test]
    fn files_are_called_after_the_type() {
        assert_eq!(file_types("sandbox_t"), ["sandbox_file_t"]);
        assert_eq!(
            file_types("sandbox_web_t"),
            ["sandbox_web_file_t", "sandbox_file_t"]
        );
    }
}
