//! The part of the configuration that the server follows while it runs.

use anyhow::Result;
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Run,
    server::{access::Access, tls},
};

/// The options, and the files that they name. `SIGHUP` replaces it as a whole.
pub(crate) struct LiveConfig {
    /// The options.
    pub(crate) run: Run,
    /// Which keys clients over TCP need.
    pub(crate) access: Access,
    /// How TCP is encrypted; `None` if it is not.
    pub(crate) tls: Option<TlsAcceptor>,
}

impl LiveConfig {
    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or holds no keys or certificates.
    pub(crate) fn load(run: Run) -> Result<Self> {
        let access = Access::load(run.token_file.as_deref(), run.basic_auth_file.as_deref())?;
        let tls = run.tls.as_ref().map(|(chain, key)| tls::acceptor(chain, key)).transpose()?;
        let exposed = run.listen.iter().find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed
            && access.is_open()
        {
            tracing::warn!(
                "every client that reaches {address} can read everything: see --token-file"
            );
        }
        Ok(Self { run, access, tls })
    }
}
