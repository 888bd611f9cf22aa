//! The URL of a sink.

use std::fmt;

use percent_encoding::percent_decode_str;

/// A URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SinkUrl {
    pub(super) scheme: String,
    /// Name and password.
    pub(super) user: Option<(String, String)>,
    /// Empty for a unix socket, and for standard output.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// With its slash; empty if there is none.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
}

impl SinkUrl {
    /// Takes a URL apart.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "is no URL, such as influx+http://host:8086/?db=tare".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(wanted)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let user = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (decoded(name), decoded(password))
        });
        let (host, port) = split_port(address)?;
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { scheme: scheme.to_owned(), user, host, port, path: path.to_owned(), query })
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Host and port, as in the header `Host`.
    pub(super) fn authority(&self, default_port: u16) -> String {
        let port = self.port.unwrap_or(default_port);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

/// Without the user and the parameters, which may be secret.
impl fmt::Display for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path, .. } = self;
        if host.is_empty() && path.is_empty() {
            return write!(f, "{scheme}:");
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{scheme}://{host}")?;
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        if path == "/" { Ok(()) } else { f.write_str(path) }
    }
}

fn split_port(address: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| format!("`{port}` is no port")));
    Ok((host.to_owned(), port.transpose()?))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = SinkUrl::parse("influx+https://me:p%40ss@[::1]:8086/base?db=a%20b&rp=x").unwrap();
        assert_eq!(url.scheme, "influx+https");
        assert_eq!(url.user, Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", Some(8086), "/base"));
        assert_eq!((url.parameter("db"), url.parameter("x")), (Some("a b"), None));
        assert_eq!(url.to_string(), "influx+https://[::1]:8086/base");
        assert_eq!(url.authority(1), "[::1]:8086");
    }

    #[test]
    fn a_socket_and_standard_output_have_no_host() {
        let url = SinkUrl::parse("statsd:///run/statsd.sock").unwrap();
        assert_eq!((url.host.as_str(), url.path.as_str()), ("", "/run/statsd.sock"));
        assert_eq!(SinkUrl::parse("stdout:").unwrap().to_string(), "stdout:");
        assert_eq!(SinkUrl::parse("graphite://h").unwrap().authority(2003), "h:2003");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert!(SinkUrl::parse("localhost").is_err());
        assert!(SinkUrl::parse("graphite://host:http").is_err());
        assert!(SinkUrl::parse("graphite://host:70000").is_err());
    }
}
