//! What the fuzz targets share: each is named after the parser that it feeds.

#[path = "../../../collector/tests/corpus/parsers.rs"]
mod parsers;

/// Feeds the parser of this name.
///
/// # Panics
///
/// If there is none.
pub fn feed(name: &str, data: &[u8]) {
    let parser = parsers::parser(name);
    parser.unwrap_or_else(|| panic!("no parser is called {name}"))(data);
}
