//! One event, in the Engine's words.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::{catalog, filters::Filters};
use crate::{faces::body::json, sample::Usage};

/// An event of a container.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: Timestamp,
    action: &'static str,
    actor: Actor,
    /// As it is sent.
    pub(super) line: Bytes,
}

/// What an event says of its container.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) id: String,
    name: String,
    image: Option<String>,
    labels: BTreeMap<String, String>,
}

/// The message. Clients of API versions before 1.52 read the first three fields.
#[derive(Serialize)]
struct Message<'a> {
    status: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: MessageActor<'a>,
    scope: &'a str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nanoseconds: i64,
}

#[derive(Serialize)]
struct MessageActor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<&'a str, &'a str>,
}

/// Filters of events.
pub(super) const FILTERS: [&str; 7] =
    ["container", "event", "image", "label", "scope", "type", "daemon"];

/// Filters for what Tare has no events of.
pub(super) const OF_THE_ENGINE: [&str; 9] =
    ["config", "network", "node", "plugin", "secret", "service", "stack", "task", "volume"];

impl Actor {
    /// `None` if it is no container.
    pub(super) fn of(usage: &Usage) -> Option<Self> {
        let id = catalog::id(usage)?;
        let metadata = usage.metadata.as_deref();
        Some(Self {
            name: catalog::name(usage, &id),
            image: metadata.and_then(|metadata| metadata.image.clone()),
            labels: metadata.map(|metadata| metadata.labels.clone()).unwrap_or_default(),
            id,
        })
    }
}

impl Event {
    pub(super) fn new(
        action: &'static str,
        at: Timestamp,
        actor: Actor,
        exit_code: Option<i64>,
    ) -> Self {
        let exit_code = exit_code.map(|code| code.to_string());
        let labels = actor.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut attributes: BTreeMap<_, _> = labels.collect();
        attributes.insert("name", &actor.name);
        attributes.extend(actor.image.as_deref().map(|image| ("image", image)));
        attributes.extend(exit_code.as_deref().map(|code| ("exitCode", code)));
        let line = json(&Message {
            status: action,
            id: &actor.id,
            from: actor.image.as_deref(),
            kind: "container",
            action,
            actor: MessageActor { id: &actor.id, attributes },
            scope: "local",
            time: at.as_second(),
            time_nanoseconds: i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX),
        });
        Self { at, action, actor, line: line.into() }
    }

    /// Whether a client wants it.
    pub(super) fn fits(&self, filters: &Filters) -> bool {
        let Actor { id, name, image, labels } = &self.actor;
        let is_image = |wanted: &str| {
            let image = image.as_deref().unwrap_or_default();
            image == wanted || image.rsplit_once(':').is_some_and(|(name, _)| name == wanted)
        };
        let is_this = |wanted: &str| {
            let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
            wanted == name || (!wanted.is_empty() && id.starts_with(wanted))
        };
        filters.any("type", |kind| kind == "container")
            && filters.any("scope", |scope| scope == "local")
            && filters.any("event", |action| action == self.action)
            && filters.any("container", is_this)
            && filters.any("image", is_image)
            && filters.any("daemon", |_| false)
            && filters.fit_labels(labels)
    }
}
