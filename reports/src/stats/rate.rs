//! What counts say about rates.

/// A share and its interval of 95 %; from 0 to 1 if nothing was counted.
///
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// JASA 22 (1927).
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn share(seen: usize, n: usize) -> (f64, [f64; 2]) {
    if n == 0 {
        return (0.0, [0.0, 1.0]);
    }
    let (n, z) = (n as f64, 1.959_963_984_540_054);
    let p = seen as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (
        p,
        [
            ((middle - half) / whole).max(0.0),
            ((middle + half) / whole).min(1.0),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_an_interval() {
        // R. G. Newcombe, Statistics in Medicine 17 (1998), table I: 15 of 148, method 3 (Wilson).
        let (p, [low, high]) = share(15, 148);
        assert!(
            (p - 0.1014).abs() < 1e-4
                && (low - 0.0624).abs() < 1e-4
                && (high - 0.1605).abs() < 1e-4
        );
        assert!(share(0, 20).1[0].abs() < 1e-12 && share(20, 20).1[1] > 1.0 - 1e-12);
        let [low, high] = share(0, 0).1;
        assert!(
            low.abs() < 1e-12 && (high - 1.0).abs() < 1e-12,
            "nothing was counted"
        );
    }
}
