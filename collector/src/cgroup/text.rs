//! The few shapes that kernel text comes in. Every function takes any bytes.

/// An unsigned decimal number and nothing else; `None` if it is anything else or too large.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Lines without their ends; empty ones are left out.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Words of a line, with any white space between them.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Lines of the form `name number`; others are left out.
pub(crate) fn named_numbers(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(text).filter_map(|line| {
        let mut words = words(line);
        let pair = (words.next()?, number(words.next()?)?);
        words.next().is_none().then_some(pair)
    })
}

/// The value of the first line of the form `name number` with that name.
pub(crate) fn named_number(text: &[u8], name: &str) -> Option<u64> {
    named_numbers(text).find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "18446744073709551616", "-1", "+1", "1 ", "max", "0x1"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn lines_of_another_form_are_left_out() {
        let text = b"cache 1\n\nodd\nrss x\nrss 2 3\nrss 4";
        assert_eq!(named_numbers(text).collect::<Vec<_>>(), [(&b"cache"[..], 1), (b"rss", 4)]);
        assert_eq!(named_number(text, "rss"), Some(4));
        assert_eq!(named_number(text, "odd"), None);
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(value: u64) {
            prop_assert_eq!(number(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            let _ = named_numbers(&text).count();
        }
    }
}
