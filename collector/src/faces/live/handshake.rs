//! The opening handshake of a websocket (RFC 6455, 4.2). Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use ring::digest;

use crate::server::answer::{Answer, failure, text};

/// What is sent over a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Pictures and changes.
    Live,
    /// The events of acadock's GUI.
    Gui,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Live, Self::Gui];

    fn name(self) -> &'static str {
        match self {
            Self::Live => "tare.live.v1",
            Self::Gui => "acadock.gui.v1",
        }
    }

    /// The one of those that a client offers; without an offer that of Tare's own clients.
    pub(super) fn offered(headers: &HeaderMap) -> Self {
        let is_offered =
            |protocol: &Self| has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, protocol.name());
        Self::ALL.into_iter().find(is_offered).unwrap_or(Self::Live)
    }
}

/// What a server appends to a client's key (RFC 6455, 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer that turns a connection into a websocket.
///
/// # Errors
///
/// The answer to a request that asks for none, or for one in a way that is not supported.
#[expect(clippy::result_large_err, reason = "it is made once for each websocket")]
pub(super) fn accept(headers: &HeaderMap) -> Result<Answer, Answer> {
    let wants = has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade");
    if !wants {
        return Err(upgrade_required("this address speaks the websocket protocol"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("only version 13 of the websocket protocol is supported"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_key = |key: &&[u8]| BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    let Some(key) = key.filter(is_key) else {
        return Err(failure(StatusCode::BAD_REQUEST, "`Sec-WebSocket-Key` is missing or wrong"));
    };
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let accepted = answer.headers_mut();
    accepted.clear();
    accepted.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    accepted.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(&accept_value(key)) {
        accepted.insert(header::SEC_WEBSOCKET_ACCEPT, value);
    }
    let protocol = Protocol::offered(headers).name();
    if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, protocol) {
        let protocol = HeaderValue::from_static(protocol);
        accepted.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(answer)
}

fn accept_value(key: &[u8]) -> String {
    let digest =
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, KEY_SUFFIX.as_bytes()].concat());
    BASE64_STANDARD.encode(digest)
}

/// Whether a list of tokens in a header has this one.
fn has_token(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(wanted))
}

fn upgrade_required(message: &str) -> Answer {
    let mut refused = failure(StatusCode::UPGRADE_REQUIRED, message);
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
    ] {
        refused.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455, 1.2, with some headers replaced or, if empty, left out.
    fn request(changes: &[(&'static str, &'static str)]) -> Result<Answer, StatusCode> {
        let mut headers = HeaderMap::new();
        let usual = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "other, tare.live.v1"),
            ("sec-websocket-version", "13"),
        ];
        for (name, value) in usual.iter().chain(changes) {
            match value.is_empty() {
                true => headers.remove(*name),
                false => headers.insert(*name, HeaderValue::from_static(value)),
            };
        }
        accept(&headers).map_err(|refused| refused.status())
    }

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        let answer = request(&[]).unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "tare.live.v1");
        let gui = request(&[("sec-websocket-protocol", "acadock.gui.v1")]).unwrap();
        assert_eq!(gui.headers()["sec-websocket-protocol"], "acadock.gui.v1");
        let without = request(&[("sec-websocket-protocol", "other")]).unwrap();
        assert!(!without.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn what_is_no_websocket_is_refused() {
        for (name, value, status) in [
            ("upgrade", "", 426),
            ("upgrade", "h2c", 426),
            ("connection", "close", 426),
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-key", "", 400),
            ("sec-websocket-key", "c2hvcnQ=", 400),
            ("sec-websocket-key", "no base64!", 400),
        ] {
            let refused = request(&[(name, value)]).err().map(|status| status.as_u16());
            assert_eq!(refused, Some(status), "{name}: {value}");
        }
    }
}
