//! The history of a container beyond the daemon's memory: what its recording has.

use std::{path::Path, time::Duration};

use hyper::body::Bytes;
use jiff::Timestamp;

use crate::{
    published::excerpt::{Excerpt, Missing, Span},
    record::Replay,
};

/// The most samples from disk in an answer.
const RECORDED_SAMPLES_MAX: usize = 5_000;

/// Whether the memory lacks something that is asked for and may be recorded.
pub(super) fn is_wanted(excerpt: &Result<Excerpt, Missing>, span: Span) -> bool {
    match excerpt {
        Ok(excerpt) => {
            span.from.is_some_and(|from| excerpt.times().first().is_none_or(|at| from < *at))
        }
        Err(Missing::Unknown) => span.from.is_some(),
        Err(Missing::Ambiguous) => false,
    }
}

/// The answer, with what the memory has at its end.
pub(super) fn history(
    directory: &Path,
    container: &str,
    span: Span,
    excerpt: Option<Excerpt>,
) -> Bytes {
    let empty = || Excerpt::new(container, None, span);
    let mut excerpt = excerpt.unwrap_or_else(empty);
    let from = span.from.unwrap_or(Timestamp::MIN);
    let to = excerpt.times().first().copied().or(span.to).unwrap_or(Timestamp::MAX);
    match Replay::open(directory).and_then(|mut replay| {
        let (first, last) = replay.span().unwrap_or((from, to));
        let (from, to) = (from.max(first), to.min(last));
        let long: Duration = to.duration_since(from).try_into().unwrap_or_default();
        let least = long / RECORDED_SAMPLES_MAX as u32;
        replay.lone(container, (from, to), span.step.max(least), RECORDED_SAMPLES_MAX)
    }) {
        Ok(samples) => excerpt.prepend(&samples, None),
        Err(error) => {
            tracing::warn!("the history is not complete: {error:#}");
            excerpt.prepend(&[], Some(format!("{error:#}")));
        }
    }
    serde_json::to_vec(&excerpt).unwrap_or_default().into()
}
