//! The waits between attempts that nobody has asked us to wait.

use std::time::Duration;

/// The longest of them.
const LONGEST: Duration = Duration::from_secs(15);

/// `first`, twice as long after each attempt, up to 15 seconds. `random`, from 0 to 1, decides on half of it, so that those
/// who failed together don't come back together.
pub(super) fn backoff(first: Duration, doublings: u32, random: f64) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST);
    whole.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_half_of_them_is_chance() {
        let first = Duration::from_millis(100);
        for (doublings, random, millis) in
            [(0, 0.0, 50), (0, 1.0, 100), (1, 1.0, 200), (3, 0.5, 600), (40, 1.0, 15_000)]
        {
            assert_eq!(backoff(first, doublings, random), Duration::from_millis(millis));
        }
    }
}
