//! From the kernel's units to those of the contract.

/// Seconds. The nearest number to the quotient, so that it is written with nine decimals at most.
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Seconds.
pub fn microseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// The text of a setting; `None` if it is empty or the file was not there.
pub fn optional_text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_the_nearest_number() {
        // The sum of whole seconds and a rest is rounded twice: 1.5527571789999999.
        assert_eq!(seconds(1_552_757_179).to_string(), "1.552757179");
        assert_eq!(seconds(3_754_501_783).to_string(), "3.754501783");
        assert_eq!(microseconds(1_900_726_501).to_string(), "1900.726501");
    }
}
