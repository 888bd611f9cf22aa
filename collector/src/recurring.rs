//! Which occurrences of a recurring fault are logged.

/// Whether the occurrence with this number is logged: the 1st, the 10th, the 100th and so on.
pub fn is_worth_logging(times: u64) -> bool {
    times.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_logged() {
        let logged: Vec<u64> = (0..=1000).filter(|times| is_worth_logging(*times)).collect();
        assert_eq!(logged, [1, 10, 100, 1000]);
    }
}
