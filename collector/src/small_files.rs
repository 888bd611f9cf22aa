//! Small files of `/proc` and `/sys` that are opened, read once and closed.

use std::{fs, path::Path};

/// The text of a file, trimmed; `None` if it cannot be read or is empty.
pub(crate) fn read_text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The number in a file; `None` if it cannot be read or is not an unsigned decimal number.
pub(crate) fn read_number(path: &Path) -> Option<u64> {
    read_text(path)?.parse().ok()
}

/// The names of the entries of a directory that are UTF-8; none if it cannot be read.
pub(crate) fn entry_names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_text_or_number_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        assert_eq!(read_text(&file("name", " sda \n")).as_deref(), Some("sda"));
        assert_eq!(read_text(&file("empty", "\n")), None);
        assert_eq!(read_text(&root.path().join("missing")), None);
        assert_eq!(read_number(&file("number", "12\n")), Some(12));
        assert_eq!(read_number(&file("negative", "-1\n")), None);
        assert_eq!(entry_names(root.path()).count(), 4);
        assert_eq!(entry_names(&root.path().join("missing")).count(), 0);
    }
}
