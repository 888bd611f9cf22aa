//! `/containers/json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Answered, Failure,
    catalog::{Catalog, Item},
    filters::Filters,
    flag,
};
use crate::{faces::body::json_answer, server::Request};

const FILTERS: [&str; 9] =
    ["ancestor", "before", "exited", "health", "id", "label", "name", "since", "status"];

/// Filters of the Engine by what Tare does not know.
const OF_THE_ENGINE: [&str; 6] = ["expose", "is-task", "isolation", "network", "publish", "volume"];

const STATES: [&str; 7] =
    ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

const HEALTHS: [&str; 4] = ["healthy", "none", "starting", "unhealthy"];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    ports: [(); 0],
    labels: BTreeMap<String, String>,
    state: &'static str,
    status: String,
    host_config: HostConfig<'a>,
    network_settings: NetworkSettings,
    mounts: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    network_mode: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<(), ()>,
}

/// The containers that a request asks for.
pub(super) fn list(catalog: &Catalog, request: &Request) -> Answered {
    let filters = Filters::of(request, &FILTERS, &OF_THE_ENGINE)?;
    let limit = limit(request)?;
    let wanted = Wanted::new(catalog, request, &filters, limit)?;
    let now = Timestamp::now();
    let found = catalog.items().filter(|item| wanted.fits(item));
    let found = found.take(limit.unwrap_or(usize::MAX)).map(|item| summary(&item, now));
    Ok(json_answer(&found.collect::<Vec<_>>()))
}

fn limit(request: &Request) -> Result<Option<usize>, Failure> {
    let Some(text) = request.query("limit").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number: i64 =
        text.parse().map_err(|_| Failure::bad(&format!("limit is no number: {text}")))?;
    Ok(usize::try_from(number).ok().filter(|limit| *limit > 0))
}

struct Wanted<'a> {
    filters: &'a Filters,
    is_any_state: bool,
    ids: Vec<super::filters::Expression<'a>>,
    names: Vec<super::filters::Expression<'a>>,
    exit_codes: Vec<i64>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl<'a> Wanted<'a> {
    fn new(
        catalog: &Catalog,
        request: &Request,
        filters: &'a Filters,
        limit: Option<usize>,
    ) -> Result<Self, Failure> {
        check(filters, "status", &STATES)?;
        check(filters, "health", &HEALTHS)?;
        let created_at = |name: &str| match filters.values(name) {
            [] => Ok(None),
            [other] => catalog.find(other).map(|other| other.created_at()),
            _ => Err(Failure::bad(&format!("the filter '{name}' takes one container"))),
        };
        let exit_code = |text: &String| {
            text.parse().map_err(|_| Failure::bad(&format!("invalid value for 'exited': {text}")))
        };
        let is_any_state = flag(request, "all", false)
            || limit.is_some()
            || ["status", "exited", "before", "since"]
                .iter()
                .any(|name| !filters.values(name).is_empty());
        Ok(Self {
            filters,
            is_any_state,
            ids: filters.expressions("id"),
            names: filters.expressions("name"),
            exit_codes: filters.values("exited").iter().map(exit_code).collect::<Result<_, _>>()?,
            before: created_at("before")?,
            since: created_at("since")?,
        })
    }

    fn fits(&self, item: &Item<'_>) -> bool {
        let any = |all: &[super::filters::Expression<'_>], values: &[&str]| {
            all.is_empty() || all.iter().any(|one| values.iter().any(|value| one.fits(value)))
        };
        let health = item.metadata().and_then(|metadata| metadata.health);
        let health = health.map_or("none", |health| health.as_str());
        let is_later = |one: Option<Timestamp>, other: Option<Timestamp>| {
            one.zip(other).is_none_or(|(one, other)| one > other)
        };
        (self.is_any_state || item.receipt().is_none())
            && any(&self.ids, &[item.id()])
            && any(&self.names, &[item.name(), &format!("/{}", item.name())])
            && self.filters.fit_labels(&item.labels())
            && self.filters.any("status", |state| state == item.state())
            && self.filters.any("health", |wanted| wanted == health)
            && self.filters.any("ancestor", |image| is_image(item, image))
            && (self.exit_codes.is_empty()
                || item.exit_code().is_some_and(|code| self.exit_codes.contains(&code)))
            && is_later(self.before, item.created_at())
            && is_later(item.created_at(), self.since)
    }
}

fn check(filters: &Filters, name: &str, known: &[&str]) -> Result<(), Failure> {
    match filters.values(name).iter().find(|value| !known.contains(&value.as_str())) {
        Some(value) => Err(Failure::bad(&format!("invalid value for '{name}': {value}"))),
        None => Ok(()),
    }
}

/// Whether a container was made from an image: by its reference, with or without the tag `latest`,
/// or by the beginning of its id.
fn is_image(item: &Item<'_>, wanted: &str) -> bool {
    let image = item.image();
    let id = item.metadata().and_then(|metadata| metadata.image_id.as_deref()).unwrap_or_default();
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    image == wanted
        || image.strip_suffix(":latest") == Some(wanted)
        || wanted.strip_suffix(":latest") == Some(image)
        || (wanted.len() >= 4 && (digits.starts_with(wanted) || id.starts_with(wanted)))
}

fn summary<'a>(item: &Item<'a>, now: Timestamp) -> Summary<'a> {
    let metadata = item.metadata();
    Summary {
        id: item.id(),
        names: [format!("/{}", item.name())],
        image: item.image(),
        image_id: metadata.and_then(|metadata| metadata.image_id.as_deref()).unwrap_or_default(),
        command: metadata.map(|metadata| metadata.command.join(" ")).unwrap_or_default(),
        created: item.created_at().map(Timestamp::as_second),
        ports: [],
        labels: item.labels(),
        state: item.state(),
        status: item.status(now),
        host_config: HostConfig {
            network_mode: metadata.and_then(|metadata| metadata.network_mode.as_deref()),
        },
        network_settings: NetworkSettings { networks: BTreeMap::new() },
        mounts: [],
    }
}
