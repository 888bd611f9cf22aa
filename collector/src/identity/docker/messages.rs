//! The JSON of the Docker Engine API, as far as it is used.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::identity::metadata::{ExitStatus, Health};

/// An entry of `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedContainer {
    pub(super) id: Option<String>,
    pub(super) names: Option<Vec<String>>,
    pub(super) image: Option<String>,
    pub(super) labels: Option<HashMap<String, String>>,
}

/// `GET /containers/ID/json`. Docker's file of a container, `config.v2.json`, has the same fields.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::identity) struct InspectResponse {
    pub(super) name: Option<String>,
    pub(super) restart_count: Option<u64>,
    created: Option<String>,
    path: Option<String>,
    args: Option<Vec<String>>,
    /// The id of the image.
    pub(super) image: Option<String>,
    pub(super) config: Option<Config>,
    pub(super) state: Option<State>,
    host_config: Option<HostConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    pub(super) image: Option<String>,
    pub(super) labels: Option<HashMap<String, String>>,
    pub(super) env: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) exit_code: Option<i64>,
    #[serde(rename = "OOMKilled")]
    pub(super) oom_killed: Option<bool>,
    pub(super) health: Option<HealthState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthState {
    status: Option<String>,
}

/// A line of `GET /events`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    pub(super) action: Option<String>,
    pub(super) actor: Option<Actor>,
    #[serde(rename = "timeNano")]
    pub(super) time_nanoseconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Actor {
    #[serde(rename = "ID")]
    pub(super) id: Option<String>,
    pub(super) attributes: Option<HashMap<String, String>>,
}

impl ListedContainer {
    /// The container's own name: legacy links add names with a second slash.
    pub(super) fn name(&self) -> Option<&str> {
        let mut names = self.names.iter().flatten().map(|name| without_slash(name));
        names.find(|name| !name.contains('/'))
    }
}

impl InspectResponse {
    pub(super) fn created_at(&self) -> Option<Timestamp> {
        self.created.as_deref().and_then(parse_time)
    }

    /// The program and its arguments.
    pub(super) fn command(&mut self) -> Vec<String> {
        let path = self.path.take().filter(|path| !path.is_empty());
        path.into_iter().chain(self.args.take().into_iter().flatten()).collect()
    }

    pub(super) fn network_mode(&mut self) -> Option<String> {
        self.host_config.take()?.network_mode.filter(|mode| !mode.is_empty())
    }
}

impl State {
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.started_at.as_deref().and_then(parse_time)
    }

    pub(super) fn health(&self) -> Option<Health> {
        Health::parse(self.health.as_ref()?.status.as_deref()?)
    }

    /// How the last run ended; `None` while the container runs, since Docker keeps the time and the
    /// exit code of the run before.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        let exited_at = self.finished_at.as_deref().and_then(parse_time)?;
        let (exit_code, oom_killed) = (self.exit_code, self.oom_killed);
        let ended = self.started_at().is_none_or(|started_at| started_at <= exited_at);
        ended.then_some(ExitStatus { exited_at, exit_code, oom_killed })
    }
}

/// Docker puts a slash before names.
pub(super) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Docker writes the year 1 for what has not happened.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| time.as_second() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_of_the_last_run_only() {
        let state = |finished: &str| State {
            started_at: Some("2026-01-16T13:55:22Z".to_owned()),
            finished_at: Some(finished.to_owned()),
            exit_code: Some(3),
            ..State::default()
        };
        assert!(state("").started_at().is_some());
        assert_eq!(state("0001-01-01T00:00:00Z").exit_status(), None);
        assert_eq!(state("2026-01-16T13:55:21Z").exit_status(), None);
        let end = state("2026-01-16T13:55:23Z").exit_status().unwrap();
        assert_eq!(end.exit_code, Some(3));
        assert_eq!(parse_time("nonsense"), None);
    }
}
