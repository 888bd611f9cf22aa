//! Which containers there are: those of the latest sample, and those of the receipts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::Failure;
use crate::{
    identity::{Health, Metadata, Runtime},
    published::Published,
    registry::InstanceId,
    report::started_at,
    sample::{Receipt, Receipts, Usage},
};

/// Digits of a short id. Clients cut ids to it, and fail on shorter ones.
const SHORT_ID_CHARS: usize = 12;

/// Every known container, the newest first.
pub(super) struct Catalog {
    published: Arc<Published>,
    receipts: Receipts,
    entries: Vec<Entry>,
    /// Places in `entries` by id and by name; of containers with the same name, the living one.
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    living: HashMap<InstanceId, usize>,
}

struct Entry {
    id: String,
    name: String,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// In the newer sample.
    Living(usize),
    /// In the receipts.
    Ended(usize),
}

/// One container.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    published: &'a Published,
    entry: &'a Entry,
    usage: &'a Usage,
    receipt: Option<&'a Receipt>,
}

impl Catalog {
    pub(super) fn new(published: Arc<Published>, receipts: Receipts) -> Self {
        let ended: HashSet<_> = receipts.iter().map(|one| one.usage.instance.id).collect();
        let usages = published.pair.newer.usages.iter().enumerate();
        let living = usages.filter(|(_, usage)| !ended.contains(&usage.instance.id));
        let living = living.map(|(at, usage)| (usage, Place::Living(at)));
        // A container that its runtime has removed is unknown, as it is to dockerd.
        let receipts_back = receipts.iter().enumerate().filter(|(_, one)| !one.removed).rev();
        let ended = receipts_back.map(|(at, receipt)| (&receipt.usage, Place::Ended(at)));
        let mut ids = HashSet::new();
        let mut entries: Vec<(Option<Timestamp>, Entry)> = Vec::new();
        for (usage, place) in living.chain(ended) {
            let Some(id) = id(usage) else { continue };
            // A container that was started again is the running one, or else that of its last run.
            if ids.insert(id.clone()) {
                let name = name(usage, &id);
                entries.push((created_at(usage), Entry { id, name, place }));
            }
        }
        entries.sort_by_key(|(created_at, _)| std::cmp::Reverse(*created_at));
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        Self::indexed(published, receipts, entries)
    }

    fn indexed(published: Arc<Published>, receipts: Receipts, entries: Vec<Entry>) -> Self {
        let (mut by_id, mut by_name) = (HashMap::new(), HashMap::new());
        let mut living = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            by_id.insert(entry.id.clone(), at);
            match entry.place {
                Place::Living(usage) => {
                    by_name.insert(entry.name.clone(), at);
                    let usage = published.pair.newer.usages.get(usage);
                    living.extend(usage.map(|usage| (usage.instance.id, at)));
                }
                Place::Ended(_) => {
                    by_name.entry(entry.name.clone()).or_insert(at);
                }
            }
        }
        Self { published, receipts, entries, by_id, by_name, living }
    }

    /// The sample.
    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// All containers, the newest first.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.entries.iter().filter_map(|entry| self.item(entry))
    }

    /// A living container.
    pub(super) fn living(&self, instance: InstanceId) -> Option<Item<'_>> {
        self.item(self.entries.get(*self.living.get(&instance)?)?)
    }

    fn item<'a>(&'a self, entry: &'a Entry) -> Option<Item<'a>> {
        let published = &*self.published;
        let (usage, receipt) = match entry.place {
            Place::Living(at) => (published.pair.newer.usages.get(at)?, None),
            Place::Ended(at) => {
                let receipt = self.receipts.get(at)?;
                (&receipt.usage, Some(receipt))
            }
        };
        Some(Item { published, entry, usage, receipt })
    }

    /// The container with this id, this name, or the only one whose id begins so.
    pub(super) fn find(&self, wanted: &str) -> Result<Item<'_>, Failure> {
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        let exact = self.by_id.get(wanted).or_else(|| self.by_name.get(name));
        let exact = exact.and_then(|at| self.item(self.entries.get(*at)?));
        let begins_so = |item: &Item<'_>| !wanted.is_empty() && item.id().starts_with(wanted);
        let mut found = self.items().filter(begins_so);
        match (exact.or_else(|| found.next()), found.next().filter(|_| exact.is_none())) {
            (Some(item), None) => Ok(item),
            (Some(_), Some(_)) => {
                Err(Failure::bad(&format!("multiple IDs found with provided prefix: {wanted}")))
            }
            (None, _) => Err(Failure::not_found(&format!("No such container: {wanted}"))),
        }
    }
}

impl<'a> Item<'a> {
    /// The full id.
    pub(super) fn id(&self) -> &'a str {
        &self.entry.id
    }

    /// The name without a slash.
    pub(super) fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// The sample that it is in, or that was the latest when it was looked for.
    pub(super) fn published(&self) -> &'a Published {
        self.published
    }

    /// What it used last.
    pub(super) fn usage(&self) -> &'a Usage {
        self.usage
    }

    /// Its receipt, if it has ended.
    pub(super) fn receipt(&self) -> Option<&'a Receipt> {
        self.receipt
    }

    pub(super) fn metadata(&self) -> Option<&'a Metadata> {
        self.usage.metadata.as_deref()
    }

    /// The image, or nothing if it is unknown.
    pub(super) fn image(&self) -> &'a str {
        self.metadata().and_then(|metadata| metadata.image.as_deref()).unwrap_or_default()
    }

    /// The labels that may be published.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.metadata().map(|metadata| metadata.labels.clone()).unwrap_or_default()
    }

    pub(super) fn created_at(&self) -> Option<Timestamp> {
        created_at(self.usage)
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        let usage = self.usage;
        started_at(usage).or(usage.startup.executed_at).or(usage.startup.made_at)
    }

    pub(super) fn exit_code(&self) -> Option<i64> {
        self.receipt?.end?.exit_code
    }

    /// The state, in the Engine's words.
    pub(super) fn state(&self) -> &'static str {
        match (self.receipt, self.usage.readings.state.frozen) {
            (Some(_), _) => "exited",
            (None, Some(true)) => "paused",
            (None, _) => "running",
        }
    }

    /// The state with its duration, such as `Up 5 minutes (healthy)`.
    pub(super) fn status(&self, now: Timestamp) -> String {
        let age = |since: Timestamp| human_duration(now.duration_since(since));
        if let Some(receipt) = self.receipt {
            let code = self.exit_code().map(|code| format!(" ({code})")).unwrap_or_default();
            return format!("Exited{code} {} ago", age(receipt.ended_at));
        }
        let up = self.started_at().map(|since| format!(" {}", age(since))).unwrap_or_default();
        let health = self.metadata().and_then(|metadata| metadata.health);
        let note = match (self.state(), health) {
            ("paused", _) => " (Paused)",
            (_, Some(Health::Healthy)) => " (healthy)",
            (_, Some(Health::Unhealthy)) => " (unhealthy)",
            (_, Some(Health::Starting)) => " (health: starting)",
            (_, None) => "",
        };
        format!("Up{up}{note}")
    }
}

/// The id of a container, of at least [`SHORT_ID_CHARS`]; `None` if it is no container. A runtime
/// without ids has names only: those get an id made of the name.
pub(super) fn id(usage: &Usage) -> Option<String> {
    let identity = usage.instance.identity.as_ref().filter(|_| usage.instance.is_container())?;
    let is_id = identity.id.len() >= SHORT_ID_CHARS
        && identity.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_id { identity.id.clone() } else { hashed(&identity.id) })
}

/// The name of a container, without a slash. One in a pod gets the name that the kubelet used to
/// give it in Docker, since its own is not unique.
pub(super) fn name(usage: &Usage, id: &str) -> String {
    let identity = usage.instance.identity.as_ref();
    let short = || match identity.filter(|identity| identity.id != id) {
        Some(identity) => identity.id.clone(),
        None => id.chars().take(SHORT_ID_CHARS).collect(),
    };
    let Some(metadata) = usage.metadata.as_deref() else { return short() };
    let is_docker = identity.is_some_and(|identity| identity.runtime == Runtime::Docker);
    let pod = metadata.pod.as_ref().filter(|_| !is_docker);
    if let Some(pod) = pod
        && let (Some(name), Some(namespace)) = (&pod.name, &pod.namespace)
    {
        let container = pod.container.as_deref().unwrap_or("POD");
        let uid = pod.uid.as_deref().unwrap_or_default();
        let attempt = metadata.restart_count.unwrap_or(0);
        return format!("k8s_{container}_{name}_{namespace}_{uid}_{attempt}");
    }
    if metadata.name.is_empty() { short() } else { metadata.name.clone() }
}

pub(super) fn created_at(usage: &Usage) -> Option<Timestamp> {
    let reported = usage.metadata.as_deref().and_then(|metadata| metadata.created_at);
    reported.or(usage.startup.made_at).or_else(|| started_at(usage))
}

/// 64 hexadecimal digits of a name: FNV-1a, from four beginnings.
fn hashed(name: &str) -> String {
    let hash = |seed: u64| {
        let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    (0..4).map(|seed| format!("{:016x}", hash(seed))).collect()
}

/// A duration in the words of Docker's clients.
fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_the_words_of_docker() {
        for (seconds, words) in [
            (-5, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn a_name_gets_an_id_that_clients_can_cut() {
        let (one, other) = (hashed("c1"), hashed("c2"));
        assert_eq!((one.len(), hashed("c1")), (64, one.clone()));
        assert_ne!(one[..SHORT_ID_CHARS], other[..SHORT_ID_CHARS]);
    }
}
