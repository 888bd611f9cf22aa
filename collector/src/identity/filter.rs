//! What runtimes are asked for, and which labels and environment variables may be published.

/// What runtimes are asked for, and the labels and environment variables that may be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFilter {
    /// Labels.
    pub labels: KeyFilter,
    /// Environment variables.
    pub environment: KeyFilter,
    /// Whether runtimes are asked what containers have written.
    pub writable_layers: bool,
}

/// An allowlist of keys and of prefixes of keys. Empty, it matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    keys: Vec<String>,
    prefixes: Vec<String>,
}

impl KeyFilter {
    /// Makes a filter from patterns: a key, or a prefix followed by `*`.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let mut filter = Self::default();
        for pattern in patterns {
            match pattern.as_ref().strip_suffix('*') {
                Some(prefix) => filter.prefixes.push(prefix.to_owned()),
                None => filter.keys.push(pattern.as_ref().to_owned()),
            }
        }
        filter
    }

    /// Adds a key.
    pub fn allow(&mut self, key: &str) {
        self.keys.push(key.to_owned());
    }

    /// Whether the filter matches nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    pub(super) fn matches(&self, key: &str) -> bool {
        self.keys.iter().any(|allowed| allowed == key)
            || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}
