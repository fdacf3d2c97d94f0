//! Statistics of latencies that may be censored. Pure, seeded, and made of basic arithmetic alone,
//! so that every machine gets the same digits.
//!
//! An end that was not seen by the deadline is [`CENSORED`]: it counts as longer than everything
//! that was seen, and is never dropped. Nothing is assumed about the shape of a distribution, and
//! no outlier is removed.

mod bootstrap;
mod normal;
mod permute;
mod quantile;
mod rate;
mod series;

pub use bootstrap::{Resampling, difference, interval, ratio};
pub use permute::{
    PERMUTATIONS, Paired, differences, double_ranks as ranks, holm, paired, unpaired,
};
pub use quantile::{Bound, Quantile, Sample};
pub use rate::share;
pub use series::stretch;

/// A latency beyond its deadline.
pub const CENSORED: u64 = u64::MAX;

/// The confidence of every interval, and one minus the level of every test.
pub const CONFIDENCE: f64 = 0.95;

/// A seed that depends on what is asked alone (FNV-1a), so that adding a row changes no other row's
/// digits.
pub fn seed(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
