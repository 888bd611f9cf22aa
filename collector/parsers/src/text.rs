//! The few shapes that kernel text comes in. Every function takes any bytes.

/// So many digits always fit.
const SURE_DIGITS: usize = 19;

/// An unsigned decimal number and nothing else; `None` if it is anything else or too large.
pub fn number(digits: &[u8]) -> Option<u64> {
    let (value, length) = leading_number(digits);
    if length == 0 || length < digits.len() {
        return None;
    }
    if length <= SURE_DIGITS {
        return Some(value);
    }
    digits.iter().try_fold(0_u64, |value, byte| value.checked_mul(10)?.checked_add(digit(*byte)?))
}

/// The digits that a text begins with, as a number if they are not more than [`SURE_DIGITS`], and
/// how many they are.
fn leading_number(text: &[u8]) -> (u64, usize) {
    let (mut value, mut length) = (0_u64, 0);
    while let Some(digit) = text.get(length).and_then(|byte| digit(*byte)) {
        value = value.wrapping_mul(10).wrapping_add(digit);
        length += 1;
    }
    (value, length)
}

fn digit(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// Lines without their ends; empty ones are left out.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    Parts { rest: text, is_between: |byte| byte == b'\n' }
}

/// Words of a line, with any white space between them.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Most bytes are no white space, and the first comparison shows it.
    Parts { rest: line, is_between: |byte: u8| byte <= b' ' && byte.is_ascii_whitespace() }
}

/// Splits at bytes of one kind. The parts are so short that a loop finds their ends sooner
/// than `memchr`.
struct Parts<'a, F> {
    rest: &'a [u8],
    is_between: F,
}

impl<'a, F: Fn(u8) -> bool> Iterator for Parts<'a, F> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some((first, rest)) = self.rest.split_first() {
            if (self.is_between)(*first) {
                self.rest = rest;
                continue;
            }
            let end = rest.iter().position(|byte| (self.is_between)(*byte));
            let (part, rest) = self.rest.split_at(end.map_or(self.rest.len(), |end| end + 1));
            self.rest = rest;
            return Some(part);
        }
        None
    }
}

/// Lines of the form `name number`; others are left out.
pub fn named_numbers(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    NamedNumbers { rest: text }
}

struct NamedNumbers<'a> {
    rest: &'a [u8],
}

impl<'a> NamedNumbers<'a> {
    /// The next line, if it is as the kernel writes them, with one space and an end.
    fn plain_line(&mut self) -> Option<(&'a [u8], u64)> {
        let space = self.rest.iter().position(|byte| *byte <= b' ').filter(|space| *space > 0)?;
        let (name, rest) = self.rest.split_at(space);
        let (value, rest) = after_name(rest)?;
        self.rest = rest;
        Some((name, value))
    }

    /// The next line, of whatever form.
    fn line(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        line
    }
}

impl<'a> Iterator for NamedNumbers<'a> {
    type Item = (&'a [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let pair = self.plain_line().or_else(|| named_number_in(self.line()));
            if pair.is_some() {
                return pair;
            }
        }
        None
    }
}

/// The number after the name in a line as the kernel writes them, and what comes after the line.
/// `None` is no error: the line may be of another form.
pub fn after_name(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.strip_prefix(b" ")?;
    let (value, length) = leading_number(text);
    let is_number = (1..=SURE_DIGITS).contains(&length);
    (is_number && text.get(length) == Some(&b'\n')).then(|| (value, &text[length + 1..]))
}

fn named_number_in(line: &[u8]) -> Option<(&[u8], u64)> {
    let mut words = words(line);
    let pair = (words.next()?, number(words.next()?)?);
    words.next().is_none().then_some(pair)
}

/// The value of the first line of the form `name number` with that name.
pub fn named_number(text: &[u8], name: &str) -> Option<u64> {
    named_numbers(text).find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for text in
            ["", "18446744073709551616", "99999999999999999999", "-1", "+1", "1 ", "max", "0x1"]
        {
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

    /// Which lines are read the quick way must not show.
    fn slowly(text: &[u8]) -> Vec<(&[u8], u64)> {
        text.split(|byte| *byte == b'\n').filter_map(named_number_in).collect()
    }

    proptest! {
        #[test]
        fn lines_are_read_the_same_both_ways(text in "([a\u{1}]{0,2}[ \t\r]{0,2}[0-9]{0,21}[ \n]{0,2})*") {
            let text = text.as_bytes();
            prop_assert_eq!(named_numbers(text).collect::<Vec<_>>(), slowly(text));
        }

        #[test]
        fn parts_are_those_between(text in "[a \t\r\n]*") {
            let text = text.as_bytes();
            let parts = text.split(u8::is_ascii_whitespace);
            let expected: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            prop_assert_eq!(words(text).collect::<Vec<_>>(), expected);
        }

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
