//! The source of names and images.

use crate::{
    families::source::{Gap, SourceStatus},
    identity::{ConnectionStatus, RuntimeGroup},
    reason::Reason,
};

/// The cgroup path, and the runtimes that answer. A status is `None` if the socket is off.
pub fn source(statuses: &[(RuntimeGroup, Option<ConnectionStatus>)]) -> SourceStatus {
    let (mut sources, mut gaps) = (vec!["cgroup path".to_owned()], Vec::new());
    for (group, status) in statuses {
        let name = name(*group);
        match status {
            Some(ConnectionStatus::Connected) => sources.push(name),
            Some(ConnectionStatus::Connecting) => {
                gaps.push(Reason::DaemonConnecting { daemon: name.into() }.into());
            }
            Some(ConnectionStatus::Failed(reasons)) => {
                gaps.extend(reasons.iter().cloned().map(Gap::from));
            }
            None => gaps.push(Gap::from(Reason::DaemonNotAsked { daemon: name.into() })),
        }
    }
    SourceStatus::new(sources.join(", "), gaps)
}

fn name(RuntimeGroup { api, user }: RuntimeGroup) -> String {
    match user {
        Some(user) => format!("{} of user {user}", api.as_str()),
        None => api.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tare_model::Source;

    use super::*;
    use crate::identity::RuntimeApi;

    #[test]
    fn a_daemon_that_answers_is_a_source_and_the_others_are_gaps() {
        let group = |api, user| RuntimeGroup { api, user };
        let missing = Reason::NoDaemonSocket { daemon: "CRI", paths: "/a".into() };
        let failed = ConnectionStatus::Failed(vec![missing]);
        let source = Source::from(&source(&[
            (group(RuntimeApi::Docker, None), Some(ConnectionStatus::Connected)),
            (group(RuntimeApi::Podman, Some(1000)), Some(ConnectionStatus::Connecting)),
            (group(RuntimeApi::Containerd, None), None),
            (group(RuntimeApi::CriO, None), Some(failed)),
        ]));
        assert_eq!(source.source.as_deref(), Some("cgroup path, Docker Engine API"));
        let reason = "Podman API of user 1000 has not answered yet; CRI of containerd is not asked; \
                      no CRI socket at /a";
        assert_eq!(source.reason.as_deref(), Some(reason));
        let codes = ["daemon_connecting", "switched_off", "no_daemon_socket"];
        assert_eq!(source.reason_codes, codes);
    }
}
