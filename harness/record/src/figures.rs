//! How figures are given, by every program that prints them.

/// A duration with three digits and the unit that suits it.
pub fn duration(ns: u64) -> String {
    let (scale, unit) = match ns {
        0..=999 => return format!("{ns} ns"),
        1_000..=999_999 => (1_000, "us"),
        1_000_000..=999_999_999 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let whole = ns / scale;
    let thousandths = ns % scale * 1_000 / scale;
    match whole {
        0..=9 => format!("{whole}.{:02} {unit}", thousandths / 10),
        10..=99 => format!("{whole}.{} {unit}", thousandths / 100),
        _ => format!("{whole} {unit}"),
    }
}

/// The largest rate that `0 of n` is compatible with at 95 % confidence, by the rule of three. One
/// for fewer than four trials.
///
/// Source: J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA
/// 249 (1983).
pub fn upper_bound_of_none(n: usize) -> f64 {
    match u32::try_from(n) {
        Ok(n) if n > 3 => 3.0 / f64::from(n),
        Ok(_) => 1.0,
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (value, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (71_000, "71.0 us"),
            (15_653_000, "15.6 ms"),
            (1_060_000_000, "1.06 s"),
            (123_456_789, "123 ms"),
        ] {
            assert_eq!(duration(value), text);
        }
    }

    #[test]
    fn none_of_few_says_little() {
        assert!((upper_bound_of_none(300) - 0.01).abs() < 1e-12);
        assert!((upper_bound_of_none(3) - 1.0).abs() < 1e-12);
        assert!((upper_bound_of_none(0) - 1.0).abs() < 1e-12);
    }
}
