//! The cgroups of a sample, by cAdvisor's names.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tare_model::{Container, Host};

use super::{
    Refusal,
    request::{IdType, Options},
};
use crate::{
    output::{Scope, select},
    published::Published,
    registry::InstanceId,
    report::{ReportOptions, started_at},
    sample::Usage,
};

/// Everything that a sample knows, and the sample before.
pub(super) struct Catalog {
    pub(super) published: Arc<Published>,
    pub(super) host: Host,
    /// By name.
    items: Vec<Item>,
}

/// A container, a pod or the root.
pub(super) struct Item {
    /// `None` for pods and the root, of which no history is kept.
    pub(super) instance: Option<InstanceId>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) newer: Reading,
    pub(super) older: Option<Reading>,
}

/// What one sample says of it.
pub(super) struct Reading {
    pub(super) at: Timestamp,
    pub(super) row: Container,
    /// CPU time, as exact as history has it.
    pub(super) cpu_nanoseconds: Option<u64>,
}

impl Catalog {
    pub(super) fn new(published: &Arc<Published>, scope: Scope) -> Self {
        let options = ReportOptions { parents: true, ..ReportOptions::FRAME };
        let builder = published.pair.builder(options);
        let before = published.pair.before();
        let before_builder = before.as_ref().map(|before| before.builder(options));
        let (newer, older) = (&published.pair.newer, before.as_ref().map(|before| &before.newer));
        let mut items = Vec::new();
        for (id, row) in builder.rows(|kind| select::in_scope(kind, scope)) {
            let Some(usage) = newer.usage(id) else { continue };
            let then = older.and_then(|sample| Some((sample.time, sample.usage(id)?)));
            let then = then.zip(before_builder.as_ref());
            items.push(Item {
                instance: Some(id),
                created_at: created_at(usage),
                newer: Reading::new(newer.time, row, Some(usage)),
                older: then.map(|((at, usage), builder)| {
                    Reading::new(at, builder.container(usage), Some(usage))
                }),
            });
        }
        let mut parents: HashMap<String, Reading> = HashMap::new();
        if let (Some(builder), Some(sample)) = (&before_builder, older) {
            for row in &builder.frame.parents {
                let reading = Reading::new(sample.time, row.clone(), None);
                parents.insert(row.cgroup.clone(), reading);
            }
        }
        for row in &builder.frame.parents {
            items.push(Item {
                instance: None,
                created_at: row.started_at,
                older: parents.remove(&row.cgroup),
                newer: Reading::new(newer.time, row.clone(), None),
            });
        }
        items.sort_by(|one, other| one.name().cmp(other.name()));
        Self { published: Arc::clone(published), host: builder.frame.host, items }
    }

    /// The cgroup of this path.
    pub(super) fn named(&self, name: &str) -> Result<&Item, Refusal> {
        let found = self.items.binary_search_by(|item| item.name().cmp(name));
        let item = found.ok().and_then(|at| self.items.get(at));
        item.ok_or_else(|| Refusal(format!("unknown container {name:?}")))
    }

    /// The cgroup of this path and those below it.
    pub(super) fn at_or_below(&self, name: &str) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| is_at_or_below(item.name(), name))
    }

    /// Those below a cgroup that are not below another one in between.
    pub(super) fn children<'a>(&'a self, parent: &'a Item) -> impl Iterator<Item = &'a Item> {
        let mut last: Option<&str> = None;
        let below = self.at_or_below(parent.name()).filter(|item| item.name() != parent.name());
        below.filter(move |item| {
            let is_nested = last.is_some_and(|last| is_at_or_below(item.name(), last));
            if !is_nested {
                last = Some(item.name());
            }
            !is_nested
        })
    }

    /// All containers of a runtime.
    pub(super) fn of_runtime<'a>(&'a self, runtime: &str) -> impl Iterator<Item = &'a Item> {
        self.items.iter().filter(move |item| item.runtime() == Some(runtime))
    }

    /// The container of a runtime with this id or name, or the only one that begins so.
    pub(super) fn aliased(&self, runtime: &str, wanted: &str) -> Result<&Item, Refusal> {
        let is = |item: &&Item| item.aliases().any(|alias| alias == wanted);
        if let Some(item) = self.of_runtime(runtime).find(is) {
            return Ok(item);
        }
        let begins = |item: &&Item| item.aliases().any(|alias| alias.starts_with(wanted));
        let mut found = self.of_runtime(runtime).filter(begins);
        let title = if runtime == "podman" { "Podman" } else { "Docker" };
        match (found.next(), found.next()) {
            (Some(item), None) => Ok(item),
            (None, _) => Err(Refusal(format!("unable to find {title} container {wanted:?}"))),
            _ => Err(Refusal(format!(
                "unable to find container. Container {wanted:?} is not unique"
            ))),
        }
    }

    /// What a request of version 2 asks for; never nothing.
    pub(super) fn requested(&self, name: &str, options: &Options) -> Result<Vec<&Item>, Refusal> {
        match (options.id_type, options.is_recursive) {
            (IdType::Name, false) => Ok(vec![self.named(name)?]),
            (IdType::Name, true) => {
                let found: Vec<_> = self.at_or_below(name).collect();
                if found.is_empty() {
                    return Err(Refusal(format!("unknown container: {name:?}")));
                }
                Ok(found)
            }
            (IdType::Runtime(runtime), false) => {
                Ok(vec![self.aliased(runtime, name.trim_start_matches('/'))?])
            }
            (IdType::Runtime(runtime), true) if name == "/" => {
                Ok(self.of_runtime(runtime).collect())
            }
            (IdType::Runtime(runtime), true) => Err(Refusal(format!(
                "invalid request for {runtime} container {name:?} with subcontainers"
            ))),
        }
    }
}

impl Item {
    /// The path of its cgroup, which is its name.
    pub(super) fn name(&self) -> &str {
        &self.newer.row.cgroup
    }

    /// Its runtime, if it is a container.
    pub(super) fn runtime(&self) -> Option<&str> {
        self.instance.and(self.newer.row.runtime.as_deref())
    }

    /// Its name and its id.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        let row = &self.newer.row;
        row.name.as_deref().into_iter().chain(self.runtime().map(|_| row.id.as_str()))
    }
}

impl Reading {
    fn new(at: Timestamp, row: Container, usage: Option<&Usage>) -> Self {
        let exact = usage.and_then(|usage| usage.readings.cpu.usage_nanoseconds);
        let rounded = row.cpu.usage_seconds.map(nanoseconds);
        Self { at, cpu_nanoseconds: exact.or(rounded), row }
    }
}

/// Seconds as cAdvisor counts them.
pub(super) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// When a container was made.
pub(super) fn created_at(usage: &Usage) -> Option<Timestamp> {
    let reported = usage.metadata.as_deref().and_then(|metadata| metadata.created_at);
    reported.or(usage.startup.made_at).or_else(|| started_at(usage))
}

fn is_at_or_below(name: &str, above: &str) -> bool {
    let rest = name.strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_another_only_at_a_slash() {
        for (name, above) in [("/a/b", "/a"), ("/a", "/a"), ("/a", "/"), ("/", "/")] {
            assert!(is_at_or_below(name, above), "{name} {above}");
        }
        for (name, above) in [("/ab", "/a"), ("/a", "/a/b"), ("/", "/a")] {
            assert!(!is_at_or_below(name, above), "{name} {above}");
        }
    }
}
