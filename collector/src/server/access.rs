//! Keys that clients over TCP need: a token, or a name and its password.

use std::{borrow::Cow, fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result, bail};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hyper::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// A longer file is not taken for one of keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a subprotocol begins with that stands for the header `Authorization`; the header's value
/// follows in base64url without padding.
const KEY_PROTOCOL: &str = "authorization.tare.";

/// The key in the headers of a request: the value of `Authorization`. Browsers let no page set it
/// when it opens a websocket, but they let it name subprotocols.
pub(super) fn key(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return Some(value.as_bytes().into());
    }
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let encoded = names.find_map(|name| name.trim().strip_prefix(KEY_PROTOCOL))?;
    BASE64_URL_SAFE_NO_PAD.decode(encoded).ok().map(Cow::Owned)
}

/// The accepted values of the header `Authorization`.
#[derive(Default)]
pub(crate) struct Access {
    /// `None` if no key is needed.
    keys: Option<Vec<String>>,
}

impl Access {
    /// Reads the files of tokens and passwords, one on each line; lines that begin with `#` are
    /// comments. Without a file no key is needed.
    pub(super) fn load(tokens: Option<&Path>, passwords: Option<&Path>) -> Result<Self> {
        if tokens.is_none() && passwords.is_none() {
            return Ok(Self::default());
        }
        let mut keys = Vec::new();
        for token in tokens.map(read).transpose()?.into_iter().flatten() {
            keys.push(format!("Bearer {token}"));
        }
        for line in passwords.map(read).transpose()?.into_iter().flatten() {
            if !line.contains(':') {
                bail!("a line for basic authentication must be `name:password`");
            }
            keys.push(format!("Basic {}", BASE64_STANDARD.encode(line)));
        }
        Ok(Self { keys: Some(keys) })
    }

    /// Whether no key is needed.
    pub(super) fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// Whether this value of `Authorization` is accepted. The time that the check takes discloses
    /// nothing of the keys but their lengths.
    pub(super) fn allows(&self, authorization: Option<&[u8]>) -> bool {
        let Some(keys) = &self.keys else { return true };
        let Some(given) = authorization.and_then(normalised) else { return false };
        let fits = |key: &String| bool::from(key.as_bytes().ct_eq(given.as_bytes()));
        // All keys are compared, so that the time does not disclose which one fits.
        keys.iter().fold(false, |allowed, key| allowed | fits(key))
    }
}

/// The name of the scheme may be written in any case (RFC 9110, 11.1).
fn normalised(authorization: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let scheme = ["Bearer", "Basic"].into_iter().find(|name| name.eq_ignore_ascii_case(scheme))?;
    Some(format!("{scheme} {}", rest.trim()))
}

fn read(path: &Path) -> Result<Vec<String>> {
    let name = || path.display().to_string();
    let metadata = fs::metadata(path).with_context(name)?;
    if metadata.len() > FILE_BYTES_MAX {
        bail!("{}: more than {FILE_BYTES_MAX} bytes", name());
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        tracing::warn!("{} holds keys, and every user can read it", name());
    }
    let text = fs::read_to_string(path).with_context(name)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    if lines.is_empty() {
        bail!("{}: there are no keys in it", name());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tokens: Option<&str>, passwords: Option<&str>) -> Result<Access> {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: Option<&str>| {
            let path = directory.path().join(name);
            text.map(|text| fs::write(&path, text).map(|()| path.clone()).unwrap())
        };
        let (tokens, passwords) = (write("tokens", tokens), write("passwords", passwords));
        Access::load(tokens.as_deref(), passwords.as_deref())
    }

    #[test]
    fn without_files_no_key_is_needed() {
        assert!(access(None, None).unwrap().allows(None));
    }

    #[test]
    fn tokens_and_passwords() {
        let access = access(Some("# two\nold\nnew\n"), Some("eve:pa:ss")).unwrap();
        for good in ["Bearer old", "bearer new", "Bearer  new ", "Basic ZXZlOnBhOnNz"] {
            assert!(access.allows(Some(good.as_bytes())), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ol", "Bearer # two", "Basic old", "Digest old", "old"] {
            assert!(!access.allows(Some(bad.as_bytes())), "{bad}");
        }
        assert!(!access.allows(None) && !access.allows(Some(b"Bearer \xff")));
    }

    #[test]
    fn a_websocket_may_carry_its_key_in_a_subprotocol() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), None);
        let protocols = "tare.live.v1, authorization.tare.QmVhcmVyIMOkLz8";
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        assert_eq!(key(&headers).as_deref(), Some("Bearer ä/?".as_bytes()));
        headers.insert(header::AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(key(&headers).as_deref(), Some(&b"Bearer b"[..]), "the header comes first");
        let mut wrong = HeaderMap::new();
        wrong.insert(header::SEC_WEBSOCKET_PROTOCOL, "authorization.tare.=".parse().unwrap());
        assert_eq!(key(&wrong), None);
    }

    #[test]
    fn a_file_without_keys_is_refused() {
        assert!(access(Some("\n# nothing\n"), None).is_err());
        assert!(access(None, Some("no-colon")).is_err());
        assert!(Access::load(Some(Path::new("/nonexistent")), None).is_err());
    }
}
