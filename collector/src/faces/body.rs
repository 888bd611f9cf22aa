//! Bodies of JSON and compressed bodies.

use std::io::{self, Write as _};

use flate2::{Compression, write::GzEncoder};
use hyper::{
    StatusCode,
    header::{self, HeaderValue},
    http::HeaderMap,
};
use serde::Serialize;

use crate::server::answer::{Answer, JSON, bytes};

/// A compact JSON document. Numbers that JSON cannot represent become `null`.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    document(value, false)
}

/// The answer with such a document.
pub(super) fn json_answer(value: &impl Serialize) -> Answer {
    bytes(StatusCode::OK, JSON, json(value))
}

/// The same document, compressed if `gzip`.
pub(super) fn document(value: &impl Serialize, gzip: bool) -> Vec<u8> {
    if gzip {
        return compressed(|out| write_json(value, out));
    }
    let mut out = Vec::new();
    log_failure(write_json(value, &mut out));
    out
}

/// What `write` writes, compressed.
pub(super) fn compressed(write: impl FnOnce(&mut GzEncoder<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
    // Names and labels repeat: the fastest level already removes most of them.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = write(&mut encoder);
    log_failure(written.and_then(|()| encoder.try_finish()));
    std::mem::take(encoder.get_mut())
}

/// Says how a body is encoded, and which headers of the request decided that.
pub(super) fn describe(headers: &mut HeaderMap, gzip: bool) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

fn write_json(value: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    // The compressor is slow with many small pieces.
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writing to memory does not fail, and the keys of the contract's types are text.
fn log_failure(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "cannot write a body");
    }
}
