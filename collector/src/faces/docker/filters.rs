//! The parameter `filters`.

use std::collections::{BTreeMap, HashMap};

use regex_lite::Regex;
use serde::Deserialize;

use super::Failure;
use crate::server::Request;

/// The most memory that an expression of a client may take, in bytes.
const EXPRESSION_BYTES_MAX: usize = 1 << 16;

/// Accepted values by the name of the filter. All filters must fit, and of each any value.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

/// Older clients send lists, newer ones objects.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(HashMap<String, bool>),
}

impl Filters {
    /// Reads the filters of a request.
    ///
    /// # Errors
    ///
    /// If they are not JSON, or if one is neither known nor (which is another failure) one that
    /// only the Engine can apply.
    pub(super) fn of(
        request: &Request,
        known: &[&str],
        of_the_engine: &[&str],
    ) -> Result<Self, Failure> {
        let Some(text) = request.query("filters").filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        let filters = Self::parse(&text)?;
        match filters.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(filters),
            Some(name) if of_the_engine.contains(&name.as_str()) => {
                Err(Failure::unsupported(&format!("Tare cannot filter by '{name}'")))
            }
            Some(name) => Err(Failure::bad(&format!("invalid filter '{name}'"))),
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let read: HashMap<String, Values> = serde_json::from_str(text)
            .map_err(|error| Failure::bad(&format!("invalid filters: {error}")))?;
        let values = |values| match values {
            Values::List(list) => list,
            Values::Set(set) => set.into_iter().filter(|(_, on)| *on).map(|(one, _)| one).collect(),
        };
        Ok(Self(read.into_iter().map(|(name, all)| (name, values(all))).collect()))
    }

    /// The accepted values; none if there is no such filter.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], |values| values)
    }

    /// Whether there is no such filter, or one of its values is accepted.
    pub(super) fn any(&self, name: &str, accepts: impl Fn(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(|value| accepts(value))
    }

    /// Whether every label that is asked for is there: `KEY` or `KEY=VALUE`.
    pub(super) fn fit_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }

    /// The values of a filter as expressions that may match anywhere; a value that is none matches
    /// what is equal.
    pub(super) fn expressions(&self, name: &str) -> Vec<Expression<'_>> {
        self.values(name).iter().map(|value| Expression::new(value)).collect()
    }
}

/// A value that is a regular expression, or else plain text.
pub(super) struct Expression<'a> {
    text: &'a str,
    regex: Option<Regex>,
}

impl<'a> Expression<'a> {
    fn new(text: &'a str) -> Self {
        let builder = regex_lite::RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
        Self { text, regex: builder.ok() }
    }

    pub(super) fn fits(&self, value: &str) -> bool {
        self.text == value || self.regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_and_objects_are_read() {
        let old = Filters::parse(r#"{"status":["running","paused"]}"#).unwrap();
        assert_eq!(old.values("status"), ["running", "paused"]);
        let new = Filters::parse(r#"{"label":{"a=b":true,"c":false}}"#).unwrap();
        assert_eq!(new.values("label"), ["a=b"]);
        for bad in ["x", "[]", r#"{"status":"running"}"#, r#"{"status":{"a":1}}"#] {
            assert!(Filters::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_fit_by_key_or_by_key_and_value() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        for (filters, fit) in [
            (r#"{}"#, true),
            (r#"{"label":["tier"]}"#, true),
            (r#"{"label":["tier=web"]}"#, true),
            (r#"{"label":["tier=db"]}"#, false),
            (r#"{"label":["tier","zone"]}"#, false),
        ] {
            assert_eq!(Filters::parse(filters).unwrap().fit_labels(&labels), fit, "{filters}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String, value: String) {
            let _ = Filters::parse(&text);
            Expression::new(&text).fits(&value);
        }
    }
}
