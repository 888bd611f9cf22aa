//! Sinks: tables `[[sink]]` of the configuration file, and `--sink`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::cli::values;

/// Memory for the batches of a sink that are not delivered, unless `queue` says another size.
const QUEUE_BYTES: u64 = 16 << 20;

/// Where numbers are sent, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Where the configuration names it: `--sink URL`, or a file and a line.
    pub place: String,
    /// Protocol, host, port, path and options of the protocol.
    pub url: String,
    /// The name in Tare's own metrics and in the log; `None` is made of the URL.
    pub name: Option<String>,
    /// Time between two deliveries, a multiple of the time between samples; `None` sends each
    /// sample.
    pub interval: Option<Duration>,
    /// Names of the families to send; empty for all.
    pub families: Vec<String>,
    /// Labels to add to every point.
    pub labels: BTreeMap<String, String>,
    /// HTTP headers to add to every request.
    pub headers: BTreeMap<String, String>,
    /// HTTP headers whose values are in files, which are read for each request.
    pub header_files: BTreeMap<String, PathBuf>,
    /// File of a token for the header `Authorization`, read for each request.
    pub token_file: Option<PathBuf>,
    /// File of the certificates, in PEM, of which the receiver's must be signed by one.
    pub ca_file: Option<PathBuf>,
    /// Memory for batches that are not delivered, in bytes.
    pub queue_bytes: u64,
}

/// A table of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    url: String,
    name: Option<String>,
    #[serde(default, deserialize_with = "interval")]
    interval: Option<Duration>,
    #[serde(default)]
    families: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    header_files: BTreeMap<String, PathBuf>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "bytes")]
    queue: Option<u64>,
}

#[derive(Deserialize)]
struct File {
    sink: Vec<Spanned<Table>>,
}

impl Sink {
    /// A sink of which only the URL is given.
    pub(crate) fn of_flag(url: String) -> Self {
        Self {
            // The URL may hold a password.
            place: "--sink".to_owned(),
            url,
            name: None,
            interval: None,
            families: Vec::new(),
            labels: BTreeMap::new(),
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            token_file: None,
            ca_file: None,
            queue_bytes: QUEUE_BYTES,
        }
    }
}

/// The sinks of a configuration file. The text is that of the file at `path`.
pub(super) fn of_file(text: &str, path: &Path) -> Result<Vec<Sink>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let sink = |table: Spanned<Table>| {
        let place = format!("{}, line {}", path.display(), line(table.span().start));
        let table = table.into_inner();
        Sink {
            place,
            url: table.url,
            name: table.name,
            interval: table.interval,
            families: table.families,
            labels: table.labels,
            headers: table.headers,
            header_files: table.header_files,
            token_file: table.token_file,
            ca_file: table.ca_file,
            queue_bytes: table.queue.unwrap_or(QUEUE_BYTES),
        }
    };
    Ok(file.sink.into_iter().map(sink).collect())
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    values::interval(&text).map(Some).map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = values::bytes(&text).map_err(D::Error::custom)?;
    if bytes < 64 << 10 { Err(D::Error::custom("must be 64KiB or more")) } else { Ok(Some(bytes)) }
}
