//! What the server goes by, and may be told anew while it runs.

use anyhow::Result;
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Run,
    daemon::{access::Access, tls},
};

/// What the server goes by.
pub(super) struct Settings {
    /// The options.
    pub(super) run: Run,
    /// Who may ask over TCP.
    pub(super) access: Access,
    /// How TCP is encrypted, if it is.
    pub(super) tls: Option<TlsAcceptor>,
}

impl Settings {
    /// Reads the files that the options name.
    pub(super) fn load(run: Run) -> Result<Self> {
        let access = Access::load(run.token_file.as_deref(), run.basic_auth_file.as_deref())?;
        let tls = run.tls.as_ref().map(|(chain, key)| tls::acceptor(chain, key)).transpose()?;
        let exposed = run.listen.iter().find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed
            && access.is_open()
        {
            tracing::warn!("whoever reaches {address} may read everything: see --token-file");
        }
        Ok(Self { run, access, tls })
    }
}
