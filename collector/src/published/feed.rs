//! Events on their way from the sampling loop and the server to any number of listeners.

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;

use crate::registry::TrackedCgroup;

/// Listeners at a time; more are refused, so that scrapers find a connection.
const LISTENERS_MAX: usize = 32;

/// Events that wait for a slow listener. When there are more, it loses the oldest, and
/// gets an event with their number.
const QUEUE_MAX: usize = 1024;

/// Sends events, in the format of server-sent events, to all listeners. Nothing is written while
/// there are none.
pub(crate) struct EventFeed {
    sender: broadcast::Sender<Bytes>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(QUEUE_MAX) }
    }
}

impl EventFeed {
    /// What is sent from now on; `None` if there are too many listeners.
    pub(crate) fn subscribe(&self) -> Option<broadcast::Receiver<Bytes>> {
        (self.sender.receiver_count() < LISTENERS_MAX).then(|| self.sender.subscribe())
    }

    /// Whether there is a listener.
    pub(crate) fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Sends `created`: the cgroup of a container was made. Its name, its numbers and its processes
    /// come later.
    pub(crate) fn created(&self, tracked: &TrackedCgroup) {
        let TrackedCgroup { instance, startup, .. } = tracked;
        if instance.preexisting || !self.has_listeners() {
            return;
        }
        if let Some(identity) = instance.identity.as_ref().filter(|_| instance.is_container()) {
            let data = json!({
                "id": identity.id,
                "runtime": identity.runtime.as_str(),
                "cgroup": instance.path,
                "pod_uid": identity.pod.as_ref().map(|pod| &pod.uid),
                "made_at": startup.made_at,
            });
            self.send("created", &data);
        }
    }

    /// Sends an event.
    pub(crate) fn send(&self, name: &str, data: &impl Serialize) {
        match serde_json::to_string(data) {
            Ok(data) => {
                // Without listeners by now, the event is not needed.
                let _ = self.sender.send(Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
            }
            Err(error) => tracing::error!(%error, "cannot write the event `{name}`"),
        }
    }
}
