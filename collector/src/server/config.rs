//! The part of the configuration that the server follows while it runs.

use anyhow::Result;
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Run,
    server::{access::Access, hosts::AllowedHosts, tls},
};

/// The options, and the files that they name. `SIGHUP` replaces it as a whole.
pub(crate) struct LiveConfig {
    /// The options.
    pub(crate) run: Run,
    /// Which keys clients over TCP need.
    pub(crate) access: Access,
    /// Which names clients over TCP may use for this server.
    pub(crate) hosts: AllowedHosts,
    /// How TCP is encrypted; `None` if it is not.
    pub(crate) tls: Option<TlsAcceptor>,
    /// The same with certificates of clients, which take the place of keys.
    pub(crate) mutual_tls: Option<TlsAcceptor>,
}

impl LiveConfig {
    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or holds no keys or certificates.
    pub(crate) fn load(run: Run) -> Result<Self> {
        let access = Access::load(run.token_file.as_deref(), run.basic_auth_file.as_deref())?;
        let acceptor = |client_ca| {
            let tls = run.tls.as_ref();
            tls.map(|(chain, key)| tls::acceptor(chain, key, client_ca)).transpose()
        };
        let tls = acceptor(None)?;
        let client_ca = run.docker_api.client_ca.as_deref();
        let mutual_tls = if client_ca.is_some() { acceptor(client_ca)? } else { None };
        let docker = run.docker_api.listen.iter().filter(|_| mutual_tls.is_none());
        let exposed = run.listen.iter().chain(docker).find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed
            && access.is_open()
        {
            tracing::warn!(
                "every client that reaches {address} can read everything: see --token-file"
            );
        }
        let hosts = AllowedHosts::new(&run.allow_hosts);
        Ok(Self { run, access, hosts, tls, mutual_tls })
    }
}
