//! The only source of random numbers: good enough to spread callers in time, but not for secrets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Returns a random number that is at least 0 and less than 1.
pub(crate) fn fraction() -> f64 {
    // The standard library's only source of random bits. No more bits than an `f64` can hold, so that no number is
    // rounded up to 1.
    let bits = RandomState::new().hash_one(()) >> (u64::BITS - f64::MANTISSA_DIGITS);
    bits as f64 / (1_u64 << f64::MANTISSA_DIGITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_below_one_and_spread() {
        let mut tenths = [false; 10];
        for _ in 0..1000 {
            let fraction = fraction();
            assert!((0.0..1.0).contains(&fraction), "{fraction}");
            tenths[(fraction * 10.0) as usize] = true;
        }
        assert_eq!(tenths, [true; 10]);
    }
}
