//! Connections that a face takes over after a request, such as websockets.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;

use crate::server::{OpenConnection, Request, config::LiveConfig};

/// A connection that leaves HTTP once its request is answered with 101.
pub(crate) struct Takeover {
    /// Becomes the connection.
    pub(crate) upgrade: OnUpgrade,
    /// How its client was let in.
    pub(crate) admission: Admission,
    /// Counts the connection while it is held.
    pub(crate) open: Arc<OpenConnection>,
}

/// How a client was let in.
#[derive(Clone)]
pub(crate) struct Admission {
    key: Option<Vec<u8>>,
    is_trusted: bool,
}

impl Admission {
    pub(super) fn new(key: Option<&[u8]>, is_trusted: bool) -> Self {
        Self { key: key.map(<[u8]>::to_owned), is_trusted }
    }

    /// Whether the client would be let in now: its key may have been withdrawn since.
    pub(crate) fn is_valid(&self, config: &LiveConfig) -> bool {
        self.is_trusted || config.access.allows(self.key.as_deref())
    }
}

impl Request {
    /// The connection, if the client has asked for another protocol.
    pub(crate) fn take_over(&mut self) -> Option<Takeover> {
        let extensions = &mut self.parts.extensions;
        Some(Takeover {
            upgrade: extensions.remove()?,
            admission: extensions.remove()?,
            open: extensions.remove()?,
        })
    }
}
