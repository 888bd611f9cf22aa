//! Which occurrences of a fault that comes again and again are told.

/// Whether the fault is told that came so many times: the first, the tenth, the hundredth and so on.
pub fn is_worth_logging(times: u64) -> bool {
    times.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_told() {
        let told: Vec<u64> = (0..=1000).filter(|times| is_worth_logging(*times)).collect();
        assert_eq!(told, [1, 10, 100, 1000]);
    }
}
