//! Times and sizes as people write them.

use std::time::Duration;

/// A number with an optional fraction and an optional unit: `s` (default), `ms`, `m`, `h`, `d`, as
/// timeout(1) has them. At most a century.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    if number.is_empty() || number == "." {
        return None;
    }
    let seconds = number.parse::<f64>().ok()? * seconds;
    (seconds <= 3_155_760_000.0)
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

/// A number of bytes with an optional unit: `K`, `M`, `G`, `T`, powers of 1 024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(number) if text.ends_with('K') => (number, 10),
        Some(number) if text.ends_with('M') => (number, 20),
        Some(number) if text.ends_with('G') => (number, 30),
        Some(number) => (number, 40),
        None => (text, 0),
    };
    parse_count(number)?.checked_mul(1 << shift)
}

/// A plain number.
pub fn parse_count(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A number with up to three decimals, in thousandths: `2`, `0.5`, `1.25`.
pub fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let decimals = parse_count(&format!("{decimals:0<3}"))?;
    parse_count(whole)?
        .checked_mul(1_000)?
        .checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("30", 30_000),
            ("1.5s", 1_500),
            ("250ms", 250),
            (".5", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "-1",
            "1w",
            "1e3",
            ".",
            "1..2",
            "inf",
            "99999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn thousandths() {
        assert_eq!(parse_thousandths("2"), Some(2_000));
        assert_eq!(parse_thousandths("0.5"), Some(500));
        assert_eq!(parse_thousandths("1.025"), Some(1_025));
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "1.0000",
            "-1",
            "1.x",
            "99999999999999999999",
        ] {
            assert_eq!(parse_thousandths(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("64M"), Some(64 << 20));
        assert_eq!(parse_bytes("12"), Some(12));
        for text in ["", "M", "-1", "1m", "99999999999T", "+1"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
