//! What both versions of remote write share. Their messages are written as they come: a batch has
//! some ten thousand series, and an object for each of them would cost more than the rest.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};

use crate::{
    export::{
        messages::{io::prometheus::write::v2, prometheus as v1},
        subject::{NumberPoint, Row, Subject},
    },
    exposition::Collect,
};

/// The value that says that a series has ended: one of the numbers that are no numbers.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Makes a message of version 1 of one of version 2, both compressed.
pub(super) fn transcode(body: &[u8]) -> Result<Bytes> {
    let decompressed = snap::raw::Decoder::new().decompress_vec(body)?;
    let v2::Request { symbols, timeseries } = v2::Request::decode(&*decompressed)?;
    let text = |at: u32| symbols.get(at as usize).cloned().context("a symbol is missing");
    let mut request = v1::WriteRequest::default();
    for series in timeseries {
        let pairs = series.labels_refs.chunks_exact(2);
        let label = |pair: &[u32]| {
            let at = |index: usize| pair.get(index).copied().unwrap_or_default();
            Ok(v1::Label { name: text(at(0))?, value: text(at(1))? })
        };
        let labels = pairs.map(label).collect::<Result<_>>()?;
        let samples = series
            .samples
            .into_iter()
            .map(|v2::Sample { value, timestamp }| v1::Sample { value, timestamp });
        request.timeseries.push(v1::TimeSeries { labels, samples: samples.collect() });
    }
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?.into())
}

/// The name of the series.
pub(super) fn name(point: &NumberPoint<'_>) -> String {
    format!("{}{}", point.entry.metric.name, point.suffix)
}

/// The number with its time; behind the last number of an ended container the mark of an end.
pub(super) fn samples(
    subject: &Subject<'_>,
    point: &NumberPoint<'_>,
) -> impl Iterator<Item = (f64, i64)> {
    let time = subject.time.as_millisecond();
    let is_series_of_live_container =
        matches!(point.entry.metric.collect, Collect::Container(_) | Collect::NetworkNamespace(_));
    let ends = matches!(subject.row, Row::Ended(_)) && is_series_of_live_container;
    let stale = ends.then_some((f64::from_bits(STALE), time + 1));
    [(point.number.into(), time)].into_iter().chain(stale)
}

/// Writes a field with a text.
pub(super) fn write_text(tag: u32, text: &str, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}
