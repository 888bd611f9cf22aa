//! The Docker Engine API, which Podman speaks too: lists, inspections, and events.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummary, EventMessage};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::stream::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::time;

use super::asker::{CALL_TIMEOUT, Source, innermost};
use super::book::{News, Told};
use super::{ExitStatus, Health, Metadata, MetadataFilter};

/// Docker's daemon.
pub(super) struct DockerEngine(Engine);

/// Podman's service.
pub(super) struct PodmanEngine(Engine);

impl Source for DockerEngine {
    const SOCKET: &'static str = "Docker";

    async fn connect(
        socket: &Path,
        allowed: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), String> {
        let (engine, listed) = Engine::connect(socket, allowed).await?;
        Ok((Self(engine), listed))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Told>, String> {
        self.0.inspect(id).await
    }

    async fn news(&mut self) -> Result<News, String> {
        self.0.news().await
    }
}

impl Source for PodmanEngine {
    const SOCKET: &'static str = "Podman";

    async fn connect(
        socket: &Path,
        allowed: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), String> {
        let (engine, mut listed) = Engine::connect(socket, allowed).await?;
        for (_, details) in &mut listed {
            mark_infra(details);
        }
        Ok((Self(engine), listed))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Told>, String> {
        let mut told = self.0.inspect(id).await?;
        if let Some(told) = &mut told {
            mark_infra(&mut told.details);
        }
        Ok(told)
    }

    async fn news(&mut self) -> Result<News, String> {
        self.0.news().await
    }
}

/// Docker's API does not tell Podman's infra containers, but they are named after their pods.
fn mark_infra(details: &mut Metadata) {
    let pod = details.name.strip_suffix("-infra");
    let is_id = |pod: &str| pod.len() == 12 && pod.bytes().all(|byte| byte.is_ascii_hexdigit());
    details.sandbox = Some(pod.is_some_and(is_id));
}

type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// A daemon that may be there: every call connects anew, but for the events.
struct Engine {
    client: Docker,
    socket: PathBuf,
    allowed: Arc<MetadataFilter>,
    /// `None` if the daemon keeps no events.
    events: Option<Events>,
}

impl Engine {
    /// One call lists all containers that run already.
    async fn connect(
        socket: &Path,
        allowed: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), String> {
        // The requests carry no API version (the daemon then speaks its own), so any will do.
        let version = bollard::API_DEFAULT_VERSION;
        let timeout = CALL_TIMEOUT.as_secs();
        let client = Docker::connect_with_unix(&socket.to_string_lossy(), timeout, version)
            .map_err(|error| innermost(socket, &error))?;
        // What happens while the list is made is told again after it.
        let since = Timestamp::now();
        let containers = match call(client.list_containers(None)).await {
            Ok(containers) => containers,
            // Not understanding one container must not cost the names of all others.
            Err(Error::JsonDataError { message, .. }) => {
                tracing::debug!("cannot read the list of {}: {message}", socket.display());
                Vec::new()
            }
            Err(error) => return Err(innermost(socket, &error)),
        };
        let listed = containers.into_iter().filter_map(|c| from_summary(c, allowed)).collect();
        let events = Some(events(&client, since));
        let engine =
            Self { client, socket: socket.to_owned(), allowed: Arc::clone(allowed), events };
        Ok((engine, listed))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Told>, String> {
        match call(self.client.inspect_container(id, None)).await {
            Ok(response) => Ok(from_inspect(response, &self.allowed)),
            Err(
                error @ (Error::DockerResponseServerError { .. } | Error::JsonDataError { .. }),
            ) => {
                tracing::debug!("{} tells nothing about {id}: {error}", self.socket.display());
                Ok(None)
            }
            Err(error) => Err(innermost(&self.socket, &error)),
        }
    }

    async fn news(&mut self) -> Result<News, String> {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            match events.next().await {
                Some(Ok(event)) => {
                    if let Some(news) = from_event(event, &self.allowed) {
                        return Ok(news);
                    }
                }
                Some(Err(Error::JsonDataError { message, .. })) => {
                    tracing::debug!("cannot read an event of {}: {message}", self.socket.display());
                }
                Some(Err(error @ Error::DockerResponseServerError { .. })) => {
                    tracing::debug!("no events from {}: {error}", self.socket.display());
                    self.events = None;
                }
                Some(Err(error)) => return Err(innermost(&self.socket, &error)),
                None => return Err(format!("{}: the daemon went away", self.socket.display())),
            }
        }
    }
}

fn events(client: &Docker, since: Timestamp) -> Events {
    let nanoseconds = since.subsec_nanosecond();
    let since = format!("{}.{nanoseconds:09}", since.as_second());
    let filters = HashMap::from([("type", vec!["container"])]);
    let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
    Box::pin(client.events(Some(options)))
}

/// The client's own timeout ends with the response's head, so this one covers the body too.
async fn call<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    time::timeout(CALL_TIMEOUT, request).await.unwrap_or(Err(Error::RequestTimeoutError))
}

fn from_summary(summary: ContainerSummary, allowed: &MetadataFilter) -> Option<(String, Metadata)> {
    let names = summary.names.unwrap_or_default();
    // Legacy links add names with a second slash.
    let own = names.iter().map(|name| bare(name)).find(|name| !name.contains('/'));
    let labels = summary.labels.unwrap_or_default();
    Some((summary.id?, details(own?, summary.image, labels, allowed)))
}

fn from_inspect(response: ContainerInspectResponse, allowed: &MetadataFilter) -> Option<Told> {
    let config = response.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let mut details = details(bare(&response.name?), config.image, labels, allowed);
    details.take_environment(config.env.unwrap_or_default(), allowed);
    let state = response.state.unwrap_or_default();
    details.started_at = state.started_at.as_deref().and_then(time_of);
    details.restart_count = response.restart_count.and_then(|count| count.try_into().ok());
    let health = state.health.as_ref().and_then(|health| health.status);
    details.health = health.and_then(|health| Health::parse(health.as_ref()));
    let end = end_of(&state, details.started_at);
    // Before its start there is more to come.
    Some(Told { complete: details.started_at.is_some(), details, end })
}

/// How its last life ended, unless it lives.
fn end_of(state: &ContainerState, started_at: Option<Timestamp>) -> Option<ExitStatus> {
    let at = state.finished_at.as_deref().and_then(time_of)?;
    let over = started_at.is_none_or(|started_at| started_at <= at);
    over.then_some(ExitStatus { at, exit_code: state.exit_code, oom_killed: state.oom_killed })
}

/// What an event tells; `None` if it changes nothing that we know.
fn from_event(event: EventMessage, allowed: &MetadataFilter) -> Option<News> {
    let actor = event.actor?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let mut take = |key: &str| attributes.remove(key);
    let (name, image) = (take("name"), take("image"));
    let (exit_code, podman_exit_code) = (take("exitCode"), take("containerExitCode"));
    let mut news = News { id: actor.id?, ..News::default() };
    let action = event.action?;
    let (action, word) = action.split_once(": ").unwrap_or((&action, ""));
    match action {
        // The rest of the attributes are the labels.
        "create" => {}
        "start" | "restart" | "rename" => news.look = true,
        "update" => (news.look, news.updated) = (true, true),
        // It need not run for it, so its files would be taken at their word.
        "pause" | "unpause" => news.updated = true,
        "health_status" => {
            let word = Some(word.to_owned()).filter(|word| !word.is_empty());
            let word = word.or_else(|| take("health_status"));
            news.health = word.and_then(|word| Health::parse(&word));
        }
        "oom" => news.oom = true,
        "die" | "died" => {
            let at = event.time_nano.and_then(|at| Timestamp::from_nanosecond(at.into()).ok());
            let exit_code = exit_code.or(podman_exit_code).and_then(|code| code.parse().ok());
            news.ended = at.map(|at| (at, exit_code));
            news.look = true;
        }
        _ => return None,
    }
    news.details = name.map(|name| details(bare(&name), image, attributes, allowed));
    Some(news)
}

fn details(
    name: &str,
    image: Option<String>,
    labels: HashMap<String, String>,
    allowed: &MetadataFilter,
) -> Metadata {
    let mut details = Metadata {
        name: name.to_owned(),
        image: image.filter(|image| !image.is_empty()),
        // Unless a label of the kubelet says so.
        sandbox: Some(false),
        ..Metadata::default()
    };
    details.take_labels(labels, allowed);
    details
}

/// What never was, such as the start of a container that was only created, is in the year 1.
pub(super) fn time_of(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| time.as_second() > 0)
}

/// Docker's names begin with a slash.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::KeyFilter;

    fn event(action: &str, attributes: &[(&str, &str)]) -> Option<News> {
        let attributes: HashMap<_, _> =
            attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let actor = bollard::models::EventActor {
            id: Some("aaa".to_owned()),
            attributes: Some(attributes),
        };
        let event = EventMessage {
            action: Some(action.to_owned()),
            actor: Some(actor),
            time_nano: Some(1_700_000_000_000_000_000),
            ..EventMessage::default()
        };
        from_event(
            event,
            &MetadataFilter { labels: KeyFilter::new(["k"]), ..MetadataFilter::default() },
        )
    }

    #[test]
    fn events_tell_names_ends_and_health() {
        let news = event("create", &[("name", "web"), ("image", "nginx"), ("k", "v")]).unwrap();
        let details = news.details.unwrap();
        assert_eq!((details.name.as_str(), details.image.as_deref()), ("web", Some("nginx")));
        assert_eq!(details.labels.into_keys().collect::<Vec<_>>(), ["k"]);
        assert!(!news.look);

        let news = event("die", &[("name", "web"), ("exitCode", "137")]).unwrap();
        assert_eq!(news.ended.unwrap().1, Some(137));
        assert!(news.look);
        let news = event("health_status: unhealthy", &[]).unwrap();
        assert_eq!((news.health, news.details), (Some(Health::Unhealthy), None));
        assert!(event("oom", &[]).unwrap().oom);
        for (action, updated) in
            [("update", true), ("pause", true), ("unpause", true), ("start", false)]
        {
            assert_eq!(event(action, &[]).unwrap().updated, updated, "{action}");
        }
        assert_eq!(event("exec_start: sh", &[]), None);
    }

    #[test]
    fn an_end_is_of_the_last_life_only() {
        let state = |finished: &str| ContainerState {
            finished_at: Some(finished.to_owned()),
            exit_code: Some(3),
            ..ContainerState::default()
        };
        let started = time_of("2026-01-16T13:55:22Z");
        assert!(started.is_some());
        assert_eq!(end_of(&state("0001-01-01T00:00:00Z"), started), None);
        assert_eq!(end_of(&state("2026-01-16T13:55:21Z"), started), None);
        let end = end_of(&state("2026-01-16T13:55:23Z"), started).unwrap();
        assert_eq!(end.exit_code, Some(3));
        assert_eq!(time_of("nonsense"), None);
    }

    #[test]
    fn podman_names_infra_containers_after_their_pods() {
        for (name, infra) in [("0123456789ab-infra", true), ("my-infra", false), ("web", false)] {
            let mut details = Metadata { name: name.to_owned(), ..Metadata::default() };
            mark_infra(&mut details);
            assert_eq!(details.sandbox, Some(infra), "{name}");
        }
    }
}
