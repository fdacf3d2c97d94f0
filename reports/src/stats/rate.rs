//! What "never seen" is worth.

/// The largest rate that `0 of n` is compatible with at 95 % confidence, by the rule of three. One for fewer than four trials.
///
/// Source: J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).
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
    fn none_of_few_says_little() {
        assert!((upper_bound_of_none(300) - 0.01).abs() < 1e-12);
        assert!((upper_bound_of_none(3) - 1.0).abs() < 1e-12);
        assert!((upper_bound_of_none(0) - 1.0).abs() < 1e-12);
    }
}
