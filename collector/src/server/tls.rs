//! TLS for connections over TCP.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// Reads a chain of certificates and its private key, both in PEM. With a file of authorities,
/// clients need a certificate of one of them.
pub(super) fn acceptor(
    certificates: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<TlsAcceptor> {
    let provider = Arc::new(crypto::ring::default_provider());
    let chain = read(certificates)?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("{}: no private key", key.display()))?;
    let verifier = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(file) => {
            let mut authorities = RootCertStore::empty();
            let (added, _) = authorities.add_parsable_certificates(read(file)?);
            ensure!(added > 0, "{}: no certificate of an authority", file.display());
            WebPkiClientVerifier::builder_with_provider(authorities.into(), Arc::clone(&provider))
                .build()
                .with_context(|| file.display().to_string())?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key_der)
        .with_context(|| format!("{} and {}", certificates.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(certificates: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{}: no certificates", certificates.display()))
}
