//! Numbers as words. One way to write each kind, everywhere.

pub use harness_record::figures::duration as ns;
use harness_record::figures::upper_bound_of_none;

use crate::stats::{self, Bound, CENSORED, Quantile};
use crate::summary::{Knowing, Word};

/// What prose says where nothing is recorded.
pub const NOT_RECORDED: &str = "not recorded";

/// A duration that may lie beyond the deadline.
pub fn latency(value: u64) -> String {
    match value {
        CENSORED => "never".to_owned(),
        value => ns(value),
    }
}

/// A duration that may be unknown.
pub fn maybe_ns(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), ns)
}

/// One end of an interval, or a quantile without one.
pub fn bound(bound: Bound) -> String {
    match bound {
        Bound::Value(value) => ns(value),
        Bound::Beyond => "never".to_owned(),
        Bound::Open => "?".to_owned(),
    }
}

/// `14.0 ms [13.9 ms, 14.1 ms]`; a `?` is a bound that cannot be had from so few trials, `never`
/// lies beyond the deadline.
pub fn quantile(quantile: Option<Quantile>) -> String {
    match quantile {
        None => "-".to_owned(),
        Some(q) if q.low == Bound::Open && q.high == Bound::Open => bound(q.at),
        Some(q) => format!("{} [{}, {}]", bound(q.at), bound(q.low), bound(q.high)),
    }
}

/// `3 of 20 (15 %)`; where nothing was seen, the largest rate that would still look like that: `0
/// of 200 (≤ 1.5 %)`.
pub fn count(seen: usize, n: usize) -> String {
    match (seen, n) {
        (_, 0) => "0 of 0".to_owned(),
        (0, n) => format!("0 of {n} (≤ {})", percent(upper_bound_of_none(n))),
        (seen, n) if seen == n => format!("{n} of {n}"),
        (seen, n) => format!("{seen} of {n} ({})", percent(share(seen, n))),
    }
}

/// A share with two digits. What is not all is never rounded up to all.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if (99.5..100.0).contains(&p) => format!("{:.2} %", (p * 100.0).floor() / 100.0),
        p if p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.995 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
}

/// A ratio with three digits.
pub fn times(ratio: f64) -> String {
    match ratio {
        r if r.is_infinite() => "∞".to_owned(),
        r if r >= 99.95 => format!("{r:.0}×"),
        r if r >= 9.995 => format!("{r:.1}×"),
        r => format!("{r:.2}×"),
    }
}

/// A ratio with its interval.
pub fn ratio(ratio: Option<f64>, interval: [Option<f64>; 2]) -> String {
    match (ratio, interval) {
        (None, _) => "-".to_owned(),
        (Some(r), [None, None]) => times(r),
        (Some(r), ends) => {
            let end = |e: Option<f64>| e.map_or_else(|| "∞".to_owned(), times);
            format!("{} [{}, {}]", times(r), end(ends[0]), end(ends[1]))
        }
    }
}

/// A count in groups of three digits: `10 000`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 4 {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// A p-value.
pub fn p(value: f64) -> String {
    match value {
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("{p:.3}"),
    }
}

/// The word for a row and its reference.
pub fn word(word: Option<Word>) -> &'static str {
    match word {
        Some(Word::Faster) => "faster",
        Some(Word::Slower) => "slower",
        Some(Word::TooFewBlocks) => "too few blocks",
        Some(Word::NotToldApart) | None => "not told apart",
    }
}

/// A difference of two medians, which may be negative: always in milliseconds, with two digits
/// behind the point.
pub fn milliseconds(ns: i64) -> String {
    let hundredths = (ns.unsigned_abs() + 5_000) / 10_000;
    let sign = match (ns, hundredths) {
        (_, 0) => "",
        (..0, _) => "−",
        _ => "+",
    };
    format!("{sign}{}.{:02} ms", hundredths / 100, hundredths % 100)
}

/// A difference with its interval.
pub fn difference(ns: Option<i64>, interval: [Option<i64>; 2]) -> String {
    match (ns, interval) {
        (None, _) => "-".to_owned(),
        (Some(ns), [Some(low), Some(high)]) => {
            format!(
                "{} [{}, {}]",
                milliseconds(ns),
                milliseconds(low),
                milliseconds(high)
            )
        }
        (Some(ns), _) => milliseconds(ns),
    }
}

/// A share with its interval: `45 of 67 (67 % [55 %, 77 %])`.
pub fn share_of(seen: usize, n: usize) -> String {
    let (share, [low, high]) = stats::share(seen, n);
    match n {
        0 => "0 of 0".to_owned(),
        n => format!(
            "{seen} of {n} ({} [{}, {}])",
            percent(share),
            percent(low),
            percent(high)
        ),
    }
}

/// How often the end of a kill was known late.
pub fn late(knowing: &Knowing) -> String {
    match knowing.never {
        0 => share_of(knowing.late, knowing.n),
        never => format!(
            "{}, {never} of them not until the deadline",
            share_of(knowing.late, knowing.n)
        ),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
fn share(seen: usize, n: usize) -> f64 {
    seen as f64 / n as f64
}

/// A text as a cell of a Markdown table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A table of Markdown. The first column is text, the others may be anything.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        " --- |".repeat(head.len())
    );
    for row in rows {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_printed_with_its_bound() {
        assert_eq!(count(0, 200), "0 of 200 (≤ 1.5 %)");
        assert_eq!(count(0, 3), "0 of 3 (≤ 100 %)");
        assert_eq!(count(0, 10_000), "0 of 10000 (≤ 0.03 %)");
        assert_eq!(count(3, 3), "3 of 3");
        assert_eq!(count(1, 300), "1 of 300 (0.33 %)");
    }

    #[test]
    fn a_difference_has_a_sign() {
        assert_eq!(milliseconds(12_345_678), "+12.35 ms");
        assert_eq!(milliseconds(-20_000), "−0.02 ms");
        assert_eq!(milliseconds(-4_000), "0.00 ms");
        let all = difference(Some(1_000_000), [Some(-500_000), Some(2_000_000)]);
        assert_eq!(all, "+1.00 ms [−0.50 ms, +2.00 ms]");
    }

    #[test]
    fn late_is_a_share_with_its_interval() {
        let knowing = |late, never| Knowing {
            n: 100,
            late,
            never,
        };
        assert_eq!(late(&knowing(50, 0)), "50 of 100 (50 % [40 %, 60 %])");
        assert_eq!(late(&knowing(0, 0)), "0 of 100 (0.00 % [0.00 %, 3.7 %])");
        assert!(late(&knowing(3, 1)).ends_with("1 of them not until the deadline"));
    }
}
