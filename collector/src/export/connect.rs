//! Connections to receivers: TCP, TLS, and proxies from the environment.

use std::{
    io,
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use anyhow::{Context as _, Result, bail};
use hyper::{Uri, header::HeaderValue};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::export::delivery::Failure;

/// The most bytes of a proxy's answer.
const PROXY_ANSWER_MAX: usize = 8 << 10;

/// How a receiver is reached.
pub(super) struct Route {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Intercept>,
}

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Route {
    /// To a receiver, by way of the proxy that the environment names for it.
    pub(super) fn new(uri: &Uri, host: &str, port: u16, tls: Option<TlsConnector>) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.with_context(|| format!("`{host}` is no host name"));
        let tls = tls.map(|tls| Ok::<_, anyhow::Error>((tls, name?))).transpose()?;
        let address = host.parse::<IpAddr>();
        let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        // No proxy leads back to this host.
        let proxy = if is_local { None } else { Matcher::from_env().intercept(uri) };
        Ok(Self { host: host.to_owned(), port, tls, proxy })
    }

    /// Whether requests go to a proxy that reads them.
    pub(super) fn is_by_plain_proxy(&self) -> bool {
        self.proxy.is_some() && self.tls.is_none()
    }

    /// The header for a proxy that reads requests.
    pub(super) fn proxy_authorization(&self) -> Option<HeaderValue> {
        self.proxy.as_ref().filter(|_| self.tls.is_none())?.basic_auth().cloned()
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Stream, Failure> {
        let Self { host, port, tls, proxy } = self;
        let stream = match proxy {
            None => tcp(host, *port).await?,
            Some(proxy) => {
                let uri = proxy.uri();
                let stream =
                    tcp(uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80)).await?;
                if tls.is_some() { tunnel(stream, host, *port, proxy).await? } else { stream }
            }
        };
        let Some((tls, name)) = tls else { return Ok(Stream::Plain(stream)) };
        let stream = tls.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| {
            Failure::retry(format!(
                "TLS with {host}:{port}: {error}; `ca-file` names further certificates"
            ))
        })?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Connects without TLS.
pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream
        .map_err(|error| Failure::retry(format!("cannot connect to {host}:{port}: {error}")))?;
    // A batch is written as a whole.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Trusts the certificates in a file, or else those of this host.
pub(super) fn tls(ca_file: Option<&Path>, alpn: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("{}: no certificates", path.display()))?;
            for certificate in certificates {
                let added = roots.add(certificate);
                added.with_context(|| format!("{}: not a certificate", path.display()))?;
            }
            if roots.is_empty() {
                bail!("{}: no certificates in PEM", path.display());
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                bail!("this host has no certificates of authorities: name a file with `ca-file`");
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(
    mut stream: TcpStream,
    host: &str,
    port: u16,
    proxy: &Intercept,
) -> Result<TcpStream, Failure> {
    let mut request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let failed = |error: io::Error| Failure::retry(format!("the proxy: {error}"));
    stream.write_all(&request).await.map_err(failed)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER_MAX {
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let text = String::from_utf8_lossy(&answer);
    let first = text.lines().next().unwrap_or_default();
    if first.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        Ok(stream)
    } else {
        Err(Failure::retry(format!("the proxy answers `{first}`")))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
