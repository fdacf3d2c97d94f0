//! Tails of the normal distribution, from basic arithmetic alone: a system's own `exp` may differ
//! in the last digit.

/// The chance of a standard normal value at least as far from zero as `z`.
///
/// Source: M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions" (1964), 26.2.10
/// (series) and 26.2.14 (continued fraction).
pub(super) fn two_sided(z: f64) -> f64 {
    let z = z.abs();
    if z > 12.0 {
        return 0.0;
    }
    let density = exp_of_minus(z * z / 2.0) * 0.398_942_280_401_432_7;
    if z < 3.0 {
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return (1.0 - 2.0 * density * sum).max(0.0);
    }
    let mut fraction = z;
    for step in (1..=60).rev() {
        fraction = z + f64::from(step) / fraction;
    }
    2.0 * density / fraction
}

/// e to the power of `-x`, for `x` from 0 to some hundreds.
fn exp_of_minus(x: f64) -> f64 {
    // A Taylor series of a 1024th, squared ten times.
    let small = -x / 1024.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..=16 {
        term *= small / f64::from(n);
        sum += term;
    }
    for _ in 0..10 {
        sum *= sum;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, p) in [
            (0.0, 1.0),
            (1.0, 0.317_310_507_863),
            (1.959_963_984_540, 0.05),
            (2.999, 0.002_708_689_9),
            (3.001, 0.002_690_963_7),
            (5.0, 5.733_031_438e-7),
            (8.0, 1.244_192_115e-15),
        ] {
            let found = two_sided(z);
            assert!((found - p).abs() <= p * 1e-5, "{z}: {found} for {p}");
        }
    }
}
