//! The common part of the fuzz targets, each of which has the name of a parser.

#[path = "../../../collector/tests/corpus/parsers.rs"]
mod parsers;

/// Runs the parser of this name.
///
/// # Panics
///
/// If there is no such parser.
pub fn feed(name: &str, data: &[u8]) {
    let parser = parsers::parser(name);
    parser.unwrap_or_else(|| panic!("no parser is called {name}"))(data);
}
