//! Which names clients may use for this server, and which web pages may read its streams.
//!
//! Browsers keep pages of other sites from reading answers by comparing names, not addresses. A
//! page whose own name suddenly leads to this server (DNS rebinding) would pass that comparison.
//! So the server accepts only names that nobody else can own.

use std::{fs, net::IpAddr};

use hyper::{
    HeaderMap, Uri,
    header::{self, HeaderValue},
    http::uri::Authority,
};
use wildmatch::WildMatch;

/// The names of this server.
#[derive(Default)]
pub(crate) struct AllowedHosts {
    /// The patterns of `--allow-host`, in lower case.
    listed: Vec<WildMatch>,
    /// The name of the machine.
    own: Option<String>,
}

impl AllowedHosts {
    /// Loopback names, IP addresses and the machine's name are always allowed, and these patterns.
    pub(super) fn new(patterns: &[String]) -> Self {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let own = own.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        let patterns = patterns.iter();
        let listed = patterns.map(|text| WildMatch::new(&text.to_ascii_lowercase())).collect();
        Self { listed, own }
    }

    /// Whether every name that a request uses for this server is allowed. A request without a
    /// name, which no browser sends, is allowed.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let is_allowed = |authority: &Authority| {
            let name = name(authority);
            is_local(&name) || self.own.as_ref() == Some(&name) || self.is_listed(&name)
        };
        let of_header = |value: &HeaderValue| parse(value).is_some_and(|host| is_allowed(&host));
        uri.authority().is_none_or(is_allowed)
            && headers.get_all(header::HOST).iter().all(of_header)
    }

    /// Whether the web page that sent a request may read a stream: a page of this server itself,
    /// or one of a listed name. Clients other than browsers send no `Origin`.
    pub(crate) fn allow_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let Some(page) = origin.and_then(|(_, text)| text.parse::<Authority>().ok()) else {
            return false;
        };
        let host = headers.get(header::HOST).and_then(parse);
        host.is_some_and(|host| host == page) || self.is_listed(&name(&page))
    }

    fn is_listed(&self, name: &str) -> bool {
        self.listed.iter().any(|pattern| pattern.matches(name))
    }
}

fn parse(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

/// The name without the port, in lower case.
fn name(authority: &Authority) -> String {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Loopback names (RFC 6761, 6.3) and addresses. An address cannot be rebound.
fn is_local(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn hosts() -> AllowedHosts {
        let patterns = ["tare.example.org".to_owned(), "*.Lan".to_owned()];
        AllowedHosts { own: Some("node-7".to_owned()), ..AllowedHosts::new(&patterns) }
    }

    #[test]
    fn only_names_that_nobody_else_can_own_are_allowed() {
        let allow = |host: &str| hosts().allow(&Uri::from_static("/"), &headers(host, None));
        for host in [
            "localhost",
            "LOCALHOST:9753",
            "localhost.",
            "tare.localhost",
            "127.0.0.1:9753",
            "10.1.2.3",
            "[::1]:9753",
            "node-7:80",
            "tare.example.org:9753",
            "a.b.lan",
        ] {
            assert!(allow(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "lan", "127.0.0.1.evil", "", "a b"] {
            assert!(!allow(host), "{host}");
        }
        assert!(hosts().allow(&Uri::from_static("/"), &HeaderMap::new()), "HTTP/1.0");
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!hosts().allow(&absolute, &headers("localhost", None)));
        let mut two = headers("localhost", None);
        two.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!hosts().allow(&Uri::from_static("/"), &two));
    }

    #[test]
    fn only_own_pages_and_listed_ones_may_read_streams() {
        let allow = |origin| hosts().allow_origin(&headers("localhost:9753", origin));
        assert!(allow(None) && allow(Some("http://localhost:9753")));
        assert!(allow(Some("https://LOCALHOST:9753")));
        assert!(allow(Some("https://tare.example.org")), "a proxy has another name");
        for origin in
            ["http://localhost:3000", "http://localhost", "null", "https://evil.example", "://", ""]
        {
            assert!(!allow(Some(origin)), "{origin}");
        }
    }
}
