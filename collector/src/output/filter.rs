//! `--filter KEY=VALUE`. Pure.

use std::{collections::BTreeMap, mem::discriminant};

use tare_model::Container;
use wildmatch::WildMatch;

use crate::output::{nearest::did_you_mean, text::printable};

/// The keys of filters.
pub const KEYS: [&str; 9] =
    ["env", "id", "image", "label", "name", "namespace", "pod", "runtime", "state"];

/// The states of a container.
const STATES: [&str; 3] = ["running", "frozen", "ended"];

/// One condition on a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// An environment variable, with its value if one is given.
    Environment(String, Option<String>),
    /// The beginning of the id.
    Id(String),
    /// A pattern of the image reference. In patterns `*` is any text and `?` any character.
    Image(WildMatch),
    /// A label, with its value if one is given.
    Label(String, Option<String>),
    /// A pattern of the name.
    Name(WildMatch),
    /// A pattern of the Kubernetes namespace.
    Namespace(WildMatch),
    /// A pattern of the name or the uid of the pod.
    Pod(WildMatch),
    /// A pattern of the runtime.
    Runtime(WildMatch),
    /// `running`, `frozen` or `ended`.
    State(String),
}

/// All filters together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(pub Vec<Filter>);

/// Parses one `KEY=VALUE`.
///
/// # Errors
///
/// If the key or the state does not exist, or the value is missing. The message lists the choices.
pub fn parse(text: &str) -> Result<Filter, String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("must be KEY=VALUE, with a key of {}", KEYS.join(", ")));
    };
    let pattern = WildMatch::new(value);
    let pair = || match value.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    let filter = match key {
        "env" => {
            let (name, value) = pair();
            Filter::Environment(name, value)
        }
        "id" => Filter::Id(value.to_owned()),
        "image" => Filter::Image(pattern),
        "label" => {
            let (key, value) = pair();
            Filter::Label(key, value)
        }
        "name" => Filter::Name(pattern),
        "namespace" => Filter::Namespace(pattern),
        "pod" => Filter::Pod(pattern),
        "runtime" => Filter::Runtime(pattern),
        "state" if STATES.contains(&value) => Filter::State(value.to_owned()),
        "state" => return Err(format!("the state is one of {}", STATES.join(", "))),
        _ => {
            let key = printable(key);
            let meant = did_you_mean(&key, KEYS);
            return Err(format!("no filter looks at `{key}`{meant}; one of {}", KEYS.join(", ")));
        }
    };
    if value.is_empty() {
        return Err(format!("`{key}` needs a value"));
    }
    Ok(filter)
}

impl Filter {
    fn fits(&self, row: &Container) -> bool {
        let like = |pattern: &WildMatch, text: Option<&str>| {
            text.is_some_and(|text| pattern.matches(text))
        };
        match self {
            Self::Id(prefix) => row.id.starts_with(prefix),
            Self::Image(pattern) => like(pattern, row.image.as_deref()),
            Self::Environment(name, value) => has(&row.environment, name, value.as_ref()),
            Self::Label(key, value) => has(&row.labels, key, value.as_ref()),
            Self::Name(pattern) => like(pattern, Some(row.name.as_ref().unwrap_or(&row.id))),
            Self::Namespace(pattern) => like(pattern, row.pod_namespace()),
            Self::Pod(pattern) => {
                like(pattern, row.pod_name())
                    || like(pattern, row.pod.as_ref().and_then(|pod| pod.uid.as_deref()))
            }
            Self::Runtime(pattern) => like(pattern, row.runtime.as_deref()),
            Self::State(state) => row.state == *state,
        }
    }
}

/// Whether the entry exists, with the value if one is given.
fn has(entries: &BTreeMap<String, String>, key: &str, value: Option<&String>) -> bool {
    entries.get(key).is_some_and(|found| value.is_none_or(|value| value == found))
}

impl Filters {
    /// Whether a row fits. As with Docker, one filter of each key suffices; but of labels and
    /// environment variables, all must fit.
    pub fn fit(&self, row: &Container) -> bool {
        self.0.iter().all(|filter| {
            let all = matches!(filter, Filter::Label(..) | Filter::Environment(..));
            let alike = |other: &&Filter| !all && discriminant(*other) == discriminant(filter);
            filter.fits(row) || self.0.iter().filter(alike).any(|other| other.fits(row))
        })
    }

    /// Whether they ask for containers that ended.
    pub fn want_ended(&self) -> bool {
        self.0.iter().any(|filter| matches!(filter, Filter::State(state) if state == "ended"))
    }

    /// The labels that the filters read.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|filter| match filter {
            Filter::Label(key, _) => Some(key.as_str()),
            _ => None,
        })
    }

    /// The environment variables that the filters read.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|filter| match filter {
            Filter::Environment(name, _) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tare_model::Pod;

    use crate::output::fixture;

    fn fit(texts: &[&str]) -> bool {
        let mut web = fixture::web();
        web.image = Some("docker.io/library/nginx:1.27".to_owned());
        web.runtime = Some("docker".into());
        web.pod = Some(Pod {
            uid: Some("0c41-9d".to_owned()),
            name: Some("web-0".to_owned()),
            namespace: Some("shop".to_owned()),
            ..Pod::default()
        });
        for (key, value) in [("tier", "front"), ("zone", "b")] {
            web.labels.insert(key.to_owned(), value.to_owned());
        }
        web.environment.insert("ZONE".to_owned(), "a=b".to_owned());
        Filters(texts.iter().map(|text| parse(text).unwrap()).collect()).fit(&web)
    }

    #[test]
    fn each_key() {
        for text in [
            "env=ZONE",
            "env=ZONE=a=b",
            "id=3f4e",
            "image=*nginx*",
            "label=tier",
            "label=tier=front",
            "name=w?b",
            "name=web",
            "namespace=sh*",
            "pod=web-0",
            "pod=0c41*",
            "runtime=docker",
            "state=running",
        ] {
            assert!(fit(&[text]), "{text}");
        }
        for text in [
            "env=ZON",
            "env=ZONE=a",
            "id=f4e",
            "image=nginx",
            "label=tie",
            "label=tier=back",
            "label=tier=",
            "name=we",
            "namespace=x",
            "pod=db",
            "runtime=podman",
            "state=ended",
        ] {
            assert!(!fit(&[text]), "{text}");
        }
    }

    #[test]
    fn one_of_a_key_and_all_keys() {
        assert!(fit(&[]) && fit(&["name=db", "name=web"]));
        assert!(!fit(&["name=web", "runtime=podman"]));
        assert!(fit(&["label=tier", "label=zone=b"]) && !fit(&["label=tier", "label=zone=a"]));
    }

    #[test]
    fn mistakes_are_reported_with_a_remedy() {
        let error = |text| parse(text).unwrap_err();
        assert!(error("web").starts_with("must be KEY=VALUE, with a key of env, id, image, label"));
        assert!(
            error("labl=x").starts_with("no filter looks at `labl`; did you mean label?; one of")
        );
        assert_eq!(error("name="), "`name` needs a value");
        assert_eq!(error("state=dead"), "the state is one of running, frozen, ended");
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_an_error(text in any::<String>(), value in any::<String>()) {
            for text in [text, format!("name={value}"), format!("label={value}")] {
                if let Ok(filter) = parse(&text) {
                    let _ = Filters(vec![filter]).fit(&fixture::web());
                }
            }
        }
    }
}
