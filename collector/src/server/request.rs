//! A request as handlers get it.

use hyper::{
    Uri,
    body::Bytes,
    header::{self, HeaderName},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;

use crate::server::query;

/// A request, with its whole body.
pub(crate) struct Request {
    /// The head. Its extensions hold what an upgrade of the connection needs.
    pub(crate) parts: Parts,
    /// The body; empty unless the route accepts one.
    pub(crate) body: Bytes,
    params: Vec<(String, String)>,
}

impl Request {
    pub(super) fn new(parts: Parts, body: Bytes, params: Vec<(String, String)>) -> Self {
        Self { parts, body, params }
    }

    /// The requested path and query.
    pub(crate) fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// A part of the path that the route names, decoded; `None` if it is no UTF-8.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let (_, value) = self.params.iter().find(|(found, _)| found == name)?;
        Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
    }

    /// A parameter of the query, decoded.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.uri().query()?.as_bytes());
        pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    /// All values of a parameter of the query that may be repeated.
    pub(crate) fn query_all(&self, name: &str) -> Vec<String> {
        let query = self.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(found, _)| found == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the client takes gzip.
    pub(crate) fn accepts_gzip(&self) -> bool {
        query::accepts_gzip(self.header(header::ACCEPT_ENCODING))
    }
}
