//! The clients that share a subscription.

use std::cell::{RefCell, RefMut};

use hyper::body::Bytes;
use tokio::sync::watch;

use crate::faces::live::{picture::Picture, subscription::Subscription};

/// What a client gets its messages from.
pub(super) trait Feed {
    /// Changes with each message.
    fn ticks(&self) -> watch::Receiver<u64>;

    /// The messages for a client whose last one had this number, which becomes that of the latest.
    fn messages(&self, last: &mut Option<u64>) -> Vec<Bytes>;
}

/// The clients of one subscription. They share its messages.
pub(super) struct Group {
    pub(super) subscription: Subscription,
    picture: RefCell<Picture>,
    tick: watch::Sender<u64>,
}

impl Group {
    /// A group without clients.
    pub(super) fn new(subscription: Subscription) -> Self {
        let picture = RefCell::new(Picture::new(&subscription));
        Self { subscription, picture, tick: watch::Sender::new(0) }
    }

    /// The picture, for the next sample.
    pub(super) fn picture(&self) -> RefMut<'_, Picture> {
        self.picture.borrow_mut()
    }

    /// Wakes the clients, after the picture has changed.
    pub(super) fn wake(&self) {
        self.tick.send_replace(self.picture.borrow().tick());
    }
}

impl Feed for Group {
    fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    fn messages(&self, last: &mut Option<u64>) -> Vec<Bytes> {
        let mut picture = self.picture.borrow_mut();
        let messages = picture.messages(*last);
        if !messages.is_empty() {
            *last = Some(picture.tick());
        }
        messages
    }
}
