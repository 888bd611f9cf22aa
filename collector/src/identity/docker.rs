//! The Docker Engine API, which Podman serves too: list, inspections, events.
//!
//! Three GET requests need no client library: bollard and what only it needs took 52 s of the 387 s
//! of CPU time that all dependencies of a release build took.

mod http;
mod messages;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    task::{self, JoinHandle},
};

pub(super) use self::messages::InspectResponse;
use self::{
    http::HttpError,
    messages::{Event, ListedContainer, without_slash},
};
use super::{
    client::{Exit, Inspection, NotConnected, RuntimeClient, RuntimeEvent, describe},
    filter::MetadataFilter,
    metadata::{Health, Metadata},
};

/// Events that are read ahead.
const EVENTS_AHEAD: usize = 64;

/// A client of Docker's daemon.
pub(super) type DockerClient = EngineClient<false>;

/// A client of Podman's service.
pub(super) type PodmanClient = EngineClient<true>;

/// A client of the Docker Engine API.
pub(super) struct EngineClient<const PODMAN: bool> {
    socket: PathBuf,
    filter: Arc<MetadataFilter>,
    /// `None` if the server has no events.
    events: Option<EventStream>,
}

impl<const PODMAN: bool> RuntimeClient for EngineClient<PODMAN> {
    const NAME: &'static str = if PODMAN { "Podman" } else { "Docker" };

    async fn connect(
        socket: &Path,
        filter: &Arc<MetadataFilter>,
    ) -> Result<(Self, Vec<(String, Metadata)>), NotConnected> {
        // Events from before the list is complete are sent again.
        let since = Timestamp::now();
        // Requests without a version get the newest that the server has.
        let listed: Vec<ListedContainer> = match http::get_json(socket, "/containers/json").await {
            Ok(containers) => containers,
            // Inspections and events may still be readable.
            Err(HttpError::Json(error)) => {
                tracing::debug!("{}: cannot read the list: {error}", socket.display());
                Vec::new()
            }
            Err(HttpError::ServedByTare) => return Err(NotConnected::ServedByTare),
            Err(error) => return Err(describe(socket, &error).into()),
        };
        let listed = listed.into_iter().filter_map(|entry| Self::from_list(entry, filter));
        let events = Some(EventStream::open(socket.to_owned(), since));
        let client = Self { socket: socket.to_owned(), filter: Arc::clone(filter), events };
        Ok((client, listed.collect()))
    }

    async fn inspect(&mut self, id: &str) -> Result<Option<Inspection>, String> {
        match http::get_json(&self.socket, &format!("/containers/{id}/json")).await {
            Ok(response) => Ok(Self::from_inspect(response, &self.filter)),
            Err(error @ (HttpError::Status { .. } | HttpError::Json(_))) => {
                tracing::debug!("{}: cannot inspect {id}: {error}", self.socket.display());
                Ok(None)
            }
            Err(error) => Err(describe(&self.socket, &error)),
        }
    }

    async fn next_event(&mut self) -> Result<RuntimeEvent, String> {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            match events.receiver.recv().await {
                Some(Ok(event)) => {
                    if let Some(event) = Self::from_event(event, &self.filter) {
                        return Ok(event);
                    }
                }
                Some(Err(error @ HttpError::Status { .. })) => {
                    tracing::debug!("{}: no events: {error}", self.socket.display());
                    self.events = None;
                }
                Some(Err(error)) => return Err(describe(&self.socket, &error)),
                None => {
                    return Err(format!(
                        "{}: the daemon closed the connection",
                        self.socket.display()
                    ));
                }
            }
        }
    }
}

impl<const PODMAN: bool> EngineClient<PODMAN> {
    /// `None` if there is no name.
    pub(super) fn from_inspect(
        mut response: InspectResponse,
        filter: &MetadataFilter,
    ) -> Option<Inspection> {
        let (created_at, command) = (response.created_at(), response.command());
        let network_mode = response.network_mode();
        let image_id = response.image.filter(|id| !id.is_empty());
        let (config, state) =
            (response.config.unwrap_or_default(), response.state.unwrap_or_default());
        let labels = config.labels.unwrap_or_default();
        let name = response.name?;
        let mut metadata = Self::metadata(without_slash(&name), config.image, labels, filter);
        metadata.set_environment(config.env.unwrap_or_default(), filter);
        (metadata.created_at, metadata.command) = (created_at, command);
        (metadata.image_id, metadata.network_mode) = (image_id, network_mode);
        metadata.started_at = state.started_at();
        metadata.restart_count = response.restart_count;
        metadata.health = state.health();
        let (complete, exit_status) = (metadata.started_at.is_some(), state.exit_status());
        Some(Inspection { metadata, complete, exit_status })
    }

    fn from_list(entry: ListedContainer, filter: &MetadataFilter) -> Option<(String, Metadata)> {
        let name = entry.name()?.to_owned();
        let labels = entry.labels.unwrap_or_default();
        Some((entry.id?, Self::metadata(&name, entry.image, labels, filter)))
    }

    /// `None` if the event changes nothing that is kept.
    fn from_event(event: Event, filter: &MetadataFilter) -> Option<RuntimeEvent> {
        let actor = event.actor?;
        let mut attributes = actor.attributes.unwrap_or_default();
        let mut take = |key: &str| attributes.remove(key);
        let (name, image) = (take("name"), take("image"));
        let (docker_exit_code, podman_exit_code) = (take("exitCode"), take("containerExitCode"));
        let mut result = RuntimeEvent { id: actor.id?, ..RuntimeEvent::default() };
        let action = event.action?;
        let (action, argument) = action.split_once(": ").unwrap_or((&action, ""));
        match action {
            "create" => {}
            "start" | "restart" | "rename" => result.inspect = true,
            "update" => (result.inspect, result.settings_changed) = (true, true),
            // No inspection: the container may not run, and then state files would be believed.
            "pause" | "unpause" => result.settings_changed = true,
            "health_status" => {
                let word = Some(argument.to_owned()).filter(|word| !word.is_empty());
                let word = word.or_else(|| take("health_status"));
                result.health = word.and_then(|word| Health::parse(&word));
            }
            "oom" => result.oom = true,
            "die" | "died" => {
                let time = event.time_nanoseconds;
                let at = time.and_then(|time| Timestamp::from_nanosecond(time.into()).ok());
                let code = docker_exit_code.or(podman_exit_code);
                let code = code.and_then(|code| code.parse().ok());
                result.exited = at.map(|at| Exit { at, code });
                result.inspect = true;
            }
            // Docker says the first, Podman the second.
            "destroy" | "remove" => result.removed = true,
            _ => return None,
        }
        // The other attributes are the labels.
        result.metadata =
            name.map(|name| Self::metadata(without_slash(&name), image, attributes, filter));
        Some(result)
    }

    fn metadata<L>(
        name: &str,
        image: Option<String>,
        labels: L,
        filter: &MetadataFilter,
    ) -> Metadata
    where
        L: IntoIterator<Item = (String, String)>,
    {
        let mut metadata = Metadata {
            name: name.to_owned(),
            image: image.filter(|image| !image.is_empty()),
            // A label of the kubelet may say otherwise.
            sandbox: Some(false),
            ..Metadata::default()
        };
        metadata.set_labels(labels, filter);
        if PODMAN {
            metadata.sandbox = Some(is_podman_infra(name));
        }
        metadata
    }
}

/// Whether this is the name of a Podman infra container: the first 12 digits of the pod's id and a
/// suffix. The API has no other mark.
fn is_podman_infra(name: &str) -> bool {
    let is_id = |pod: &str| pod.len() == 12 && pod.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_suffix("-infra").is_some_and(is_id)
}

/// The events of containers, read by a task of their own.
struct EventStream {
    receiver: mpsc::Receiver<Result<Event, HttpError>>,
    task: JoinHandle<()>,
}

impl EventStream {
    /// Opens the stream; the server starts with the events since `since`.
    fn open(socket: PathBuf, since: Timestamp) -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
        let task = task::spawn(async move {
            if let Err(error) = read_events(&socket, since, &sender).await {
                // Only a dropped stream does not receive it.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { receiver, task }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_events(
    socket: &Path,
    since: Timestamp,
    sender: &mpsc::Sender<Result<Event, HttpError>>,
) -> Result<(), HttpError> {
    // `{"type":["container"]}`
    const FILTERS: &str = "%7B%22type%22%3A%5B%22container%22%5D%7D";
    let (seconds, nanoseconds) = (since.as_second(), since.subsec_nanosecond());
    let target = format!("/events?since={seconds}.{nanoseconds:09}&filters={FILTERS}");
    let mut lines = http::get_lines(socket, &target).await?;
    while let Some(line) = lines.next().await? {
        match serde_json::from_slice(&line) {
            Ok(event) => {
                if sender.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                tracing::debug!("{}: cannot read an event: {error}", socket.display());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{messages::Actor, *};
    use crate::identity::KeyFilter;

    fn event(action: &str, attributes: &[(&str, &str)]) -> Option<RuntimeEvent> {
        let attributes: HashMap<_, _> =
            attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let actor = Actor { id: Some("aaa".to_owned()), attributes: Some(attributes) };
        let event = Event {
            action: Some(action.to_owned()),
            actor: Some(actor),
            time_nanoseconds: Some(1_700_000_000_000_000_000),
        };
        let filter = MetadataFilter { labels: KeyFilter::new(["k"]), ..MetadataFilter::default() };
        DockerClient::from_event(event, &filter)
    }

    #[test]
    fn events_carry_names_exits_and_health() {
        let created = event("create", &[("name", "web"), ("image", "nginx"), ("k", "v")]).unwrap();
        let metadata = created.metadata.unwrap();
        assert_eq!((metadata.name.as_str(), metadata.image.as_deref()), ("web", Some("nginx")));
        assert_eq!(metadata.labels.into_keys().collect::<Vec<_>>(), ["k"]);
        assert!(!created.inspect);

        for (action, key) in [("die", "exitCode"), ("died", "containerExitCode")] {
            let died = event(action, &[("name", "web"), (key, "137")]).unwrap();
            assert_eq!(died.exited.unwrap().code, Some(137));
            assert!(died.inspect);
        }
        let unhealthy = event("health_status: unhealthy", &[]).unwrap();
        assert_eq!((unhealthy.health, unhealthy.metadata), (Some(Health::Unhealthy), None));
        assert!(event("oom", &[]).unwrap().oom);
        for (action, changed) in
            [("update", true), ("pause", true), ("unpause", true), ("start", false)]
        {
            assert_eq!(event(action, &[]).unwrap().settings_changed, changed, "{action}");
        }
        assert_eq!(event("exec_start: sh", &[]), None);
    }

    #[test]
    fn podman_names_infra_containers_after_their_pods() {
        for (name, infra) in [("0123456789ab-infra", true), ("my-infra", false), ("web", false)] {
            let filter = MetadataFilter::default();
            let metadata = PodmanClient::metadata(name, None, [], &filter);
            assert_eq!(metadata.sandbox, Some(infra), "{name}");
        }
    }
}
