//! Events of an API: the last ones are remembered, and every client gets those from now on.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};
use hyper::body::Bytes;
use tokio::sync::broadcast;

/// The last events, and those who wait for the next ones.
pub(super) struct EventBuffer<T> {
    remembered: VecDeque<Arc<T>>,
    remembered_max: usize,
    sender: broadcast::Sender<Arc<T>>,
}

impl<T: Send + Sync + 'static> EventBuffer<T> {
    /// Remembers so many events. A client for which more than `waiting_max` wait is disconnected.
    pub(super) fn new(remembered_max: usize, waiting_max: usize) -> Self {
        let sender = broadcast::Sender::new(waiting_max);
        Self { remembered: VecDeque::new(), remembered_max, sender }
    }

    /// Remembers an event and gives it to all clients.
    pub(super) fn send(&mut self, event: T) {
        let event = Arc::new(event);
        if self.remembered.len() == self.remembered_max {
            self.remembered.pop_front();
        }
        self.remembered.push_back(Arc::clone(&event));
        // Without clients it is remembered only.
        let _ = self.sender.send(event);
    }

    /// The remembered events, the oldest first.
    pub(super) fn remembered(&self) -> impl ExactSizeIterator<Item = &T> {
        self.remembered.iter().map(|event| &**event)
    }

    /// How many clients there are.
    pub(super) fn clients(&self) -> usize {
        self.sender.receiver_count()
    }

    /// The events from now on, as `write` puts them; it leaves out those that are not wanted.
    pub(super) fn live<W>(&self, write: W) -> impl Stream<Item = Bytes> + Send + use<T, W>
    where
        W: Fn(&T) -> Option<Bytes> + Send + 'static,
    {
        let receiver = self.sender.subscribe();
        stream::unfold((receiver, write), |(mut receiver, write)| async {
            loop {
                let event = receiver.recv().await.ok()?;
                if let Some(written) = write(&event) {
                    return Some((written, (receiver, write)));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut events = EventBuffer::new(3, 1);
        (0..5).for_each(|event| events.send(event));
        assert_eq!(events.remembered().copied().collect::<Vec<_>>(), [2, 3, 4]);
    }
}
