//! A page of text: lines of at most [`WIDTH`] columns, with a few colours on a terminal.

use crate::output::text::{align, cut, printable, wrap};

/// The width of a page. It fits into a terminal and a chat.
pub const WIDTH: usize = 100;

/// The most characters of a name, and the least if other columns need the space.
const NAME: usize = 40;
const NAME_MIN: usize = 12;

/// The indent of the lines of a paragraph below the first one.
const HANG: usize = 4;

/// A page of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    lines: Vec<(Tone, String)>,
}

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Text.
    Plain,
    /// A heading.
    Title,
    /// A heading above a problem.
    Alarm,
}

/// A table with a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The kind of its title.
    pub tone: Tone,
    /// The title.
    pub title: &'static str,
    /// The titles of the columns. The first column holds names, which are cut if space is short.
    pub header: &'static [&'static str],
    /// The cells.
    pub rows: Vec<Vec<String>>,
    /// The number of rows that are left out.
    pub more: usize,
}

impl Page {
    /// The text, with escape sequences for colours if wanted.
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for (tone, line) in &self.lines {
            let (on, off) = match tone {
                Tone::Title if colour => ("\x1b[1m", "\x1b[0m"),
                Tone::Alarm if colour => ("\x1b[1;31m", "\x1b[0m"),
                _ => ("", ""),
            };
            text.extend([on, line, off, "\n"]);
        }
        text
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.lines.push((Tone::Plain, String::new()));
    }

    /// A heading.
    pub(super) fn title(&mut self, tone: Tone, text: &str) {
        self.lines.push((tone, cut(&printable(text), WIDTH).to_owned()));
    }

    /// A label and a text, wrapped.
    pub(super) fn labelled(&mut self, label: &str, indent: usize, text: &str) {
        let mut lines = wrap(text, indent, WIDTH);
        if let Some(first) = lines.first_mut() {
            first.replace_range(..indent, &format!("{label:<indent$}"));
        }
        self.plain(&lines);
    }

    /// A text, wrapped, with a hanging indent.
    pub(super) fn paragraph(&mut self, text: &str) {
        let mut lines = wrap(text, HANG, WIDTH);
        if let Some(first) = lines.first_mut() {
            first.drain(..HANG);
        }
        self.plain(&lines);
    }

    /// Lines. A word that is longer than the page continues on the next line.
    fn plain(&mut self, lines: &[String]) {
        for line in lines {
            let mut rest = line.as_str();
            while !rest.is_empty() {
                let first = cut(rest, WIDTH);
                self.lines.push((Tone::Plain, first.to_owned()));
                rest = &rest[first.len()..];
            }
        }
    }

    /// A table, unless it has no rows.
    pub(super) fn section(&mut self, section: &Section) {
        if section.rows.is_empty() {
            return;
        }
        self.gap();
        self.title(section.tone, section.title);
        let lines = section.aligned(NAME);
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        let name = NAME.saturating_sub(widest.saturating_sub(WIDTH)).max(NAME_MIN);
        for line in section.aligned(name) {
            self.lines.push((Tone::Plain, cut(&line, WIDTH).to_owned()));
        }
        if section.more > 0 {
            self.lines.push((Tone::Plain, format!("… and {} more", section.more)));
        }
    }
}

impl Section {
    fn aligned(&self, name: usize) -> Vec<String> {
        let header = self.header.join("\t");
        let row = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let cell = printable(cell);
                if column == 0 { shortened(&cell, name) } else { cell.into_owned() }
            });
            cells.collect::<Vec<_>>().join("\t")
        };
        let lines = std::iter::once(header).chain(self.rows.iter().map(row));
        let aligned = align(&(lines.collect::<Vec<_>>().join("\n") + "\n"));
        aligned.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

fn shortened(text: &str, width: usize) -> String {
    match cut(text, width) {
        whole if whole.len() == text.len() => text.to_owned(),
        _ => format!("{}…", cut(text, width - 1)),
    }
}
