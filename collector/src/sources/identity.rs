//! Names and images.

use crate::{
    identity::{Group, Status},
    reason::Reason,
    sources::{Gap, Inputs, SourceStatus},
};

/// Decides the source: the cgroup's path, and the daemons that answer of those that made what is
/// here.
pub(super) fn source(inputs: &Inputs<'_>) -> SourceStatus {
    let (mut sources, mut gaps) = (vec!["cgroup path".to_owned()], Vec::new());
    for (group, status) in &inputs.daemons {
        let name = name(*group);
        match status {
            Some(Status::Connected) => sources.push(name),
            Some(Status::Connecting) => {
                gaps.push(Reason::DaemonConnecting { daemon: name.into() }.into());
            }
            Some(Status::Failed(error)) => {
                gaps.push(Reason::DaemonAway { error: error.as_str().into() }.into());
            }
            None => gaps.push(Gap::from(Reason::DaemonNotAsked { daemon: name.into() })),
        }
    }
    SourceStatus::new(sources.join(", "), gaps)
}

fn name(Group { daemon, user }: Group) -> String {
    match user {
        Some(user) => format!("{} of user {user}", daemon.as_str()),
        None => daemon.as_str().to_owned(),
    }
}
