//! Templates as `docker stats --format` takes them, in Go's notation: placeholders, functions and
//! pipelines, without control structures. Pure.
//!
//! All errors of a template are found when it is parsed. Filling it in always succeeds.

mod parse;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use tare_model::{Kind, Report};

use crate::output::{
    Format, Scope,
    columns::{Column, by_placeholder},
    row::Row,
    table::{Listing, Options, Table},
    text::{align, cut},
};

/// The most bytes of a template.
pub const MAX_TEMPLATE_BYTES: usize = 4096;

/// The most bytes that one action writes. Nested functions could write any number.
pub const MAX_CELL_BYTES: usize = 65_536;

/// The functions of Docker's templates.
const FUNCTIONS: [&str; 8] =
    ["join", "json", "lower", "pad", "split", "title", "truncate", "upper"];

/// The members of `{{json .}}`, as in Docker.
const DOCKER: [&str; 9] =
    ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"];

/// A text with placeholders, written for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Whether there are column titles, and tabs separate the cells.
    is_table: bool,
    parts: Vec<Text>,
}

/// An error in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    template: String,
    /// Where it is, in characters from the start.
    at: usize,
    message: String,
}

/// Parses the argument of `--format`.
///
/// # Errors
///
/// If it is neither `table` nor `json` nor a valid template.
pub fn format(text: &str) -> Result<Format, TemplateError> {
    match text {
        "" | "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        _ => Template::parse(text).map(Format::Template),
    }
}

/// Fills the template in for each row in scope.
pub fn render(report: &Report, template: &Template, options: &Options) -> Listing {
    let mut rows = Vec::new();
    if options.ended || options.scope != Scope::Services {
        rows.extend(options.containers(report, false));
    }
    if !options.ended && options.scope != Scope::Containers {
        rows.extend(options.others(report, Kind::Service, false));
    }
    if !options.ended && options.scope == Scope::All {
        rows.extend(options.others(report, Kind::Other, false));
    }
    let lines = rows.iter().map(|row| template.line(row) + "\n").collect::<String>();
    let table = if template.is_table {
        let aligned = align(&(template.header() + "\n" + &lines));
        let mut lines = aligned.lines().map(str::to_owned);
        Table { intro: None, header: lines.next(), rows: lines.collect() }
    } else {
        Table { intro: None, header: None, rows: lines.lines().map(str::to_owned).collect() }
    };
    Listing { tables: vec![table], notes: Vec::new() }
}

impl Template {
    /// Parses a template. With `table` before it, it has column titles.
    ///
    /// # Errors
    ///
    /// If its syntax is wrong, or a placeholder or function does not exist.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let titled = text.strip_prefix("table");
        // As Docker does, spaces at both ends are dropped.
        let start = text.len() - titled.unwrap_or(text).trim_start_matches(' ').len();
        match parse::parts(text.trim_end_matches(' '), start) {
            Ok(parts) => Ok(Self { is_table: titled.is_some(), parts }),
            Err((at, message)) => {
                let at = text.get(..at).unwrap_or(text).chars().count();
                Err(TemplateError { template: text.to_owned(), at, message })
            }
        }
    }

    /// The line of column titles.
    pub fn header(&self) -> String {
        self.parts.iter().map(Text::title).collect()
    }

    /// The line of a row.
    pub fn line(&self, row: &Row<'_>) -> String {
        self.parts.iter().map(|part| part.fill(row)).collect()
    }
}

impl fmt::Display for TemplateError {
    /// The message, then the template with a mark below the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.template.replace(char::is_control, " ");
        let (at, message) = (self.at, &self.message);
        write!(f, "at character {}: {message}\n  {shown}\n  {:at$}^", at + 1, "")
    }
}

impl std::error::Error for TemplateError {}

/// An expression whose value is a text.
#[derive(Clone, Debug, PartialEq)]
enum Text {
    Literal(String),
    Column(&'static Column),
    Title(Box<Text>),
    Lower(Box<Text>),
    Upper(Box<Text>),
    /// A text with this many spaces before and behind it.
    Pad(Box<Text>, usize, usize),
    /// The first characters of a text.
    Truncate(Box<Text>, usize),
    Join(Box<Split>, Box<Text>),
    JsonString(Box<Text>),
    JsonList(Box<Split>),
    JsonRow,
    /// A list as Go prints it.
    List(Box<Split>),
}

/// An expression whose value is a list: a text, split.
#[derive(Clone, Debug, PartialEq)]
struct Split {
    text: Text,
    separator: Text,
}

impl Text {
    fn fill(&self, row: &Row<'_>) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Column(column) => column.text(row),
            Self::Title(text) => title(&text.fill(row)),
            Self::Lower(text) => text.fill(row).to_lowercase(),
            Self::Upper(text) => text.fill(row).to_uppercase(),
            Self::Pad(text, before, behind) => match text.fill(row) {
                // Docker does not pad an empty text.
                text if text.is_empty() => text,
                text => bounded(format!("{:before$}{text}{:behind$}", "", "")),
            },
            Self::Truncate(text, length) => cut(&text.fill(row), *length).to_owned(),
            Self::Join(split, separator) => bounded(split.fill(row).join(&separator.fill(row))),
            Self::JsonString(text) => json(&text.fill(row)),
            Self::JsonList(split) => json(&split.fill(row)),
            Self::JsonRow => json(&docker_members(row)),
            Self::List(split) => format!("[{}]", split.fill(row).join(" ")),
        }
    }

    /// The title above it: that of the column in it, whatever functions are applied.
    fn title(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Column(column) => column.title.to_owned(),
            Self::Title(text)
            | Self::Lower(text)
            | Self::Upper(text)
            | Self::Pad(text, ..)
            | Self::Truncate(text, _)
            | Self::JsonString(text) => text.title(),
            Self::Join(split, _) | Self::JsonList(split) | Self::List(split) => split.text.title(),
            Self::JsonRow => String::new(),
        }
    }
}

impl Split {
    fn fill(&self, row: &Row<'_>) -> Vec<String> {
        let (text, separator) = (self.text.fill(row), self.separator.fill(row));
        if separator.is_empty() {
            return text.chars().map(String::from).collect();
        }
        text.split(&separator).map(str::to_owned).collect()
    }
}

fn docker_members(row: &Row<'_>) -> BTreeMap<&'static str, String> {
    let columns = DOCKER.iter().filter_map(|name| by_placeholder(name));
    columns.map(|column| (column.placeholder, column.text(row))).collect()
}

/// A text, a list of texts or a map of texts, all of which have a JSON form.
fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Capitalises the first letter of each word, as Go's `strings.Title` does.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            titled.push(character);
        } else {
            titled.extend(character.to_uppercase());
        }
        inside = character == '_' || character.is_alphanumeric();
    }
    titled
}

/// Cuts a text at [`MAX_CELL_BYTES`].
fn bounded(mut text: String) -> String {
    if text.len() > MAX_CELL_BYTES {
        let end = (0..=MAX_CELL_BYTES).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or(0));
    }
    text
}
