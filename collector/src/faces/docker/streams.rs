//! Streams of statistics: one document for each container and sample, shared by all its streams.

use std::collections::{HashMap, HashSet};

use futures_util::{Stream, stream};
use hyper::body::Bytes;
use tokio::sync::watch;

use crate::{
    registry::InstanceId,
    sample::Receipts,
    server::answer::{Answer, JSON, streamed},
};

/// The open streams of each container.
#[derive(Default)]
pub(super) struct Streams(HashMap<InstanceId, Feed>);

struct Feed {
    /// The latest document. A client that reads slowly skips samples.
    latest: watch::Sender<Bytes>,
    /// The last document, for when the container has ended.
    last: Bytes,
}

impl Streams {
    /// A stream that begins with this document.
    pub(super) fn open(
        &mut self,
        instance: InstanceId,
        first: Bytes,
        last: impl FnOnce() -> Vec<u8>,
    ) -> Answer {
        let make = || Feed { latest: watch::Sender::new(first), last: last().into() };
        let feed = self.0.entry(instance).or_insert_with(make);
        streamed(JSON, documents(feed.latest.subscribe()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends what `document` makes of each container that has streams. Streams of containers that
    /// are not there any more end.
    pub(super) fn feed(&mut self, document: impl Fn(InstanceId) -> Option<Bytes>) {
        self.0.retain(|instance, feed| {
            if feed.latest.receiver_count() == 0 {
                return false;
            }
            let document = document(*instance);
            let is_alive = document.is_some();
            feed.latest.send_replace(document.unwrap_or_else(|| feed.last.clone()));
            is_alive
        });
    }

    /// Ends the streams of containers that have a receipt.
    pub(super) fn end(&mut self, receipts: &Receipts) {
        if self.is_empty() {
            return;
        }
        let ended: HashSet<_> = receipts.iter().map(|one| one.usage.instance.id).collect();
        self.0.retain(|instance, feed| {
            let has_ended = ended.contains(instance);
            if has_ended {
                feed.latest.send_replace(feed.last.clone());
            }
            !has_ended
        });
    }
}

/// The document that is there, and each later one, until the sender is dropped.
fn documents(mut receiver: watch::Receiver<Bytes>) -> impl Stream<Item = Bytes> + Send {
    receiver.mark_changed();
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let document = receiver.borrow_and_update().clone();
        Some((document, receiver))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_slow_client_gets_the_newest_document_and_the_last() {
        let sender = watch::Sender::new(Bytes::from_static(b"1"));
        let mut stream = Box::pin(documents(sender.subscribe()));
        assert_eq!(stream.next().await.unwrap(), "1");
        sender.send_replace(Bytes::from_static(b"2"));
        sender.send_replace(Bytes::from_static(b"3"));
        assert_eq!(stream.next().await.unwrap(), "3");
        sender.send_replace(Bytes::from_static(b"last"));
        drop(sender);
        assert_eq!(stream.next().await.unwrap(), "last");
        assert_eq!(stream.next().await, None);
    }

    #[test]
    fn a_document_is_made_once_for_all_streams_of_a_container() {
        let mut streams = Streams::default();
        let first = Bytes::from_static(b"x");
        let open = |_| streams.open(InstanceId(1), first.clone(), Vec::new);
        let kept: Vec<_> = (0..1000).map(open).collect();
        let made = std::cell::Cell::new(0);
        streams.feed(|_| {
            made.set(made.get() + 1);
            Some(first.clone())
        });
        assert_eq!((made.get(), kept.len()), (1, 1000));
    }

    #[test]
    fn feeds_without_clients_are_dropped() {
        let mut streams = Streams::default();
        let first = Bytes::from_static(b"x");
        drop(streams.open(InstanceId(1), first.clone(), Vec::new));
        let kept = streams.open(InstanceId(2), first.clone(), Vec::new);
        streams.feed(|_| Some(first.clone()));
        assert_eq!(streams.0.keys().collect::<Vec<_>>(), [&InstanceId(2)]);
        streams.feed(|_| None);
        assert!(streams.is_empty());
        drop(kept);
    }
}
