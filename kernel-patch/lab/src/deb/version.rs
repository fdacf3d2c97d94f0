//! The order of Debian versions (`deb-version(7)`): epoch, upstream version, revision; `~` sorts
//! before the end.

use std::cmp::Ordering;

/// Compares two versions as dpkg does.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_rest) = epoch(a);
    let (b_epoch, b_rest) = epoch(b);
    let (a_upstream, a_revision) = a_rest.rsplit_once('-').unwrap_or((a_rest, "0"));
    let (b_upstream, b_revision) = b_rest.rsplit_once('-').unwrap_or((b_rest, "0"));
    a_epoch
        .cmp(&b_epoch)
        .then_with(|| part(a_upstream, b_upstream))
        .then_with(|| part(a_revision, b_revision))
}

fn epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

/// Runs of other characters and runs of digits take turns.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = split(a, |c| !c.is_ascii_digit());
        let (b_text, b_rest) = split(b, |c| !c.is_ascii_digit());
        let (a_digits, a_next) = split(a_rest, |c| c.is_ascii_digit());
        let (b_digits, b_next) = split(b_rest, |c| c.is_ascii_digit());
        let order = text(a_text, b_text).then_with(|| number(a_digits, b_digits));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_next, b_next);
    }
    Ordering::Equal
}

fn split(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

/// Letters before other characters, `~` before everything, even the end.
fn text(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => (0, '~'),
        None => (1, '\0'),
        Some(c) if c.is_ascii_alphabetic() => (2, c),
        Some(c) => (3, c),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        if x.is_none() && y.is_none() {
            return Ordering::Equal;
        }
        match weight(x).cmp(&weight(y)) {
            Ordering::Equal => {}
            order => return order,
        }
    }
}

fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_as_dpkg_orders_them() {
        // The order of each line was checked with `dpkg --compare-versions`.
        for (older, newer) in [
            ("7.3~rc6-1~exp1", "7.3~rc7-1~exp1"),
            ("7.3~rc7-1~exp1", "7.3-1"),
            ("6.12.99-1", "6.12.117-1"),
            ("6.12.117-1~deb12u1", "6.12.117-1"),
            ("6.1.9-1", "6.1.10-1"),
            ("6.1.0-1", "6.1.0+deb12-1"),
            ("9.9", "1:0.1"),
            ("1.0a", "1.0+"),
            ("1.0-1", "1.0-1+b1"),
            ("6.1", "6.1.1"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
        }
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[0-9a-z.+~]{0,8}(-[0-9a-z.+~]{1,4})?",
            b in "[0-9a-z.+~]{0,8}(-[0-9a-z.+~]{1,4})?", c in "[0-9a-z.+~]{0,8}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
    }
}
