//! Which container has the metrics of a network namespace.

use std::collections::HashSet;

use tare_model::{Container, NamespaceId, Network};

use crate::sample::Usage;

/// A container as a candidate for its network namespace.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    /// `None` if unknown, and on the host's network: its devices belong to no container.
    namespace: Option<NamespaceId>,
    is_sandbox: bool,
    cgroup_id: Option<u64>,
}

impl Candidate {
    pub(crate) fn new(container: &Container) -> Self {
        let Network { namespace, host_namespace, .. } = container.network;
        Self {
            namespace: namespace.filter(|_| host_namespace != Some(true)),
            is_sandbox: container.sandbox == Some(true),
            cgroup_id: container.cgroup_id,
        }
    }

    /// The same of a usage, without making its row. `host` is the host's network namespace.
    pub(crate) fn of_usage(usage: &Usage, host: Option<NamespaceId>) -> Self {
        Self {
            namespace: usage.namespace.filter(|namespace| Some(*namespace) != host),
            is_sandbox: usage.metadata.as_deref().and_then(|it| it.sandbox) == Some(true),
            cgroup_id: usage.instance.cgroup_id,
        }
    }

    /// Whether it may become the owner.
    pub(crate) fn has_namespace(self) -> bool {
        self.namespace.is_some()
    }
}

/// For each container, whether it owns its network namespace: the pod's sandbox, or else the oldest
/// container. `docker run --network container:…` and pods share a namespace, and a sum over
/// containers must count its devices once.
///
/// The ids of cgroups grow (`fs/kernfs/dir.c`, `__kernfs_new_node`), and the container that made
/// the namespace is older than those that joined it.
pub(crate) fn network_owners(candidates: &[Candidate]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| {
        let Candidate { is_sandbox, cgroup_id, .. } = candidates[*index];
        (!is_sandbox, cgroup_id.is_none(), cgroup_id)
    });
    let mut owned = HashSet::new();
    let mut owners = vec![false; candidates.len()];
    for index in order {
        owners[index] =
            candidates[index].namespace.is_some_and(|namespace| owned.insert(namespace));
    }
    owners
}
