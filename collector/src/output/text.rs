//! Text that is safe on a terminal, and in columns.

use std::{borrow::Cow, io::Write as _};

use tabwriter::TabWriter;
use textwrap::WordSplitter;

/// Spaces between columns, and the least width of a column, as in `docker stats`.
const PADDING: usize = 3;
const MIN_WIDTH: usize = 7;

/// Escapes control characters, and invisible characters that reorder or hide text. Anyone who can
/// create a container chooses its name, and a terminal would obey such characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// The first `width` characters.
pub fn cut(text: &str, width: usize) -> &str {
    match text.char_indices().nth(width) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Wraps a text at words into indented lines of at most `width` characters, and makes it safe on a
/// terminal. A longer word is not split. There is at least one line.
pub fn wrap(text: &str, indent: usize, width: usize) -> Vec<String> {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(width)
        .initial_indent(&indent)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    let text = printable(text).split_whitespace().collect::<Vec<_>>().join(" ");
    textwrap::wrap(&text, options).into_iter().map(Cow::into_owned).collect()
}

/// Aligns cells that are separated by tabs in columns, as Docker does.
pub fn align(lines: &str) -> String {
    let mut writer = TabWriter::new(Vec::new()).padding(PADDING).minwidth(MIN_WIDTH);
    let written = writer.write_all(lines.as_bytes()).and_then(|()| writer.flush());
    // Writing to memory does not fail. If it did, the text would be shown without columns.
    match writer.into_inner() {
        Ok(aligned) if written.is_ok() => String::from_utf8_lossy(&aligned).into_owned(),
        _ => lines.to_owned(),
    }
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_that_a_terminal_obeys_are_escaped() {
        assert_eq!(printable("web-1_ü"), "web-1_ü");
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("\u{9b}1m\u{202e}"), "\\u{9b}1m\\u{202e}");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 0), "");
    }

    #[test]
    fn columns_like_those_of_docker() {
        let lines = "ID\tNAME\tPIDS\nabcdefgh\tä\t1\n\n";
        assert_eq!(align(lines), "ID         NAME      PIDS\nabcdefgh   ä         1\n\n");
    }

    proptest! {
        #[test]
        fn never_a_control_character(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(char::is_control));
        }
    }
}
