//! Events of cgroups, in the order in which they happened.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, bail};
use aya::{
    Btf,
    maps::{Map, MapData, RingBuf},
};
use tare_ebpf::event::{self, Event, Made};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    kernel::{
        ended::{self, EndedUsage},
        error::{TRACING, reason},
        load::Loaded,
        mapping::Mapping,
        plan::LifecyclePlan,
    },
    reason::Reason,
};

/// One event of one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// Id of the hierarchy; 0 is cgroup2.
    pub hierarchy: u32,
    /// Inode of the cgroup's directory, unique in its hierarchy.
    pub cgroup_id: u64,
    /// `CLOCK_MONOTONIC`, as of `bpf_ktime_get_ns`.
    pub at_nanoseconds: u64,
    /// What happened.
    pub kind: LifecycleEventKind,
}

/// What happened to a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifecycleEventKind {
    /// It was created.
    Created {
        /// Inode of its parent's directory.
        parent_id: u64,
        /// Below the root of the hierarchy; `None` if it is longer than [`event::PATH_MAX`].
        path: Option<String>,
    },
    /// It was removed.
    Removed,
    /// Its last task, and the last one below it, ended or left.
    Emptied,
    /// It or a cgroup below it has a task again.
    Populated,
    /// A task was moved into it for the first time.
    Attached {
        /// That task's process.
        pid: u32,
    },
    /// The first program was executed in it.
    Executed {
        /// The process.
        pid: u32,
        /// The process's network namespace.
        namespace: u32,
    },
    /// Its first TCP socket listens.
    Listening,
    /// The kernel kills one of its processes because memory is short.
    OomKill {
        /// The process.
        pid: u32,
        /// Its command.
        command: String,
    },
    /// It is being removed, and had used this. [`LifecycleEventKind::Removed`] follows.
    Ended {
        /// What it had used.
        usage: EndedUsage,
        /// Below the root of the hierarchy; `None` in cgroup2.
        path: Option<String>,
    },
}

/// The stream of events (ring buffer, Linux 5.8).
pub struct Events {
    ring: RingBuf<MapData>,
    missing: Vec<Reason>,
    ended: Result<(), Reason>,
    lost: Mapping,
    ready: Option<AsyncFd<OwnedFd>>,
    // Programs that are loaded later find the map by this descriptor.
    _lost_map: MapData,
}

impl Events {
    /// Opens the ring and attaches what writes to it.
    pub(super) fn start(
        plan: &Result<LifecyclePlan, Reason>,
        loaded: &mut Loaded,
        btf: &Btf,
    ) -> Result<Self, Reason> {
        let plan = plan.as_ref()?;
        let mut events = Self::open(loaded).map_err(|error| reason(&error, TRACING))?;
        let ended = plan.ended.as_ref().map_err(Reason::clone);
        events.ended = ended.and_then(|ended| {
            ended.start(loaded, btf)?;
            ended.missing.first().map_or(Ok(()), |reason| Err(reason.clone()))
        });
        if let Err(reason) = loaded.attach(&plan.required, btf) {
            plan.ended.iter().for_each(|ended| loaded.detach(&ended.program));
            return Err(reason);
        }
        events.missing.clone_from(&plan.missing);
        for program in &plan.optional {
            events.missing.extend(loaded.attach(&[*program], btf).err());
        }
        Ok(events)
    }

    fn open(loaded: &mut Loaded) -> Result<Self> {
        let ring = RingBuf::try_from(loaded.take_map("EVENTS")?)?;
        let Map::Array(lost_map) = loaded.take_map("EVENTS_LOST")? else {
            bail!("EVENTS_LOST is not an array")
        };
        let lost = Mapping::of(lost_map.fd(), 1).context("cannot map the count of lost events")?;
        Ok(Self {
            ring,
            missing: Vec::new(),
            ended: Ok(()),
            lost,
            ready: None,
            _lost_map: lost_map,
        })
    }

    /// Waits until there is an event. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the ring cannot be waited for.
    pub async fn wait(&mut self) -> io::Result<()> {
        let ready = match &mut self.ready {
            Some(ready) => ready,
            none => {
                let ring = self.ring.as_fd().try_clone_to_owned()?;
                // SAFETY: the descriptor belongs to the value that registers it, which closes it
                // last.
                let ready = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
                none.insert(ready.map_err(|error| error.into_parts().1)?)
            }
        };
        // The ring is read until it is empty, and reports again when it is not.
        ready.readable().await?.clear_ready();
        Ok(())
    }

    /// The next event. No system call.
    pub fn pop(&mut self) -> Option<LifecycleEvent> {
        loop {
            let record = self.ring.next()?;
            if let Some(event) = parse(&record) {
                return Some(event);
            }
            tracing::debug!(bytes = record.len(), "an event of an unknown kind");
        }
    }

    /// Why some kinds of events are missing.
    pub fn missing(&self) -> &[Reason] {
        &self.missing
    }

    /// Why what removed cgroups had used is not reported, or not all of it.
    pub fn ended(&self) -> Result<(), &Reason> {
        self.ended.as_ref().copied()
    }

    /// Events that found no room in the ring, since the start. No system call.
    pub fn lost(&self) -> u64 {
        self.lost.load(0)
    }
}

fn parse(record: &[u8]) -> Option<LifecycleEvent> {
    let event = Event::from_bytes(record)?;
    let Event { hierarchy, cgroup_id, at_nanoseconds, pid, namespace, .. } = event;
    let kind = match event.kind {
        event::EVENT_MADE => LifecycleEventKind::Created {
            parent_id: event.parent_id,
            path: Made::path(record).and_then(|path| String::from_utf8(path.to_vec()).ok()),
        },
        event::EVENT_REMOVED => LifecycleEventKind::Removed,
        event::EVENT_EMPTIED => LifecycleEventKind::Emptied,
        event::EVENT_POPULATED => LifecycleEventKind::Populated,
        event::EVENT_ATTACHED => LifecycleEventKind::Attached { pid },
        event::EVENT_EXECUTED => LifecycleEventKind::Executed { pid, namespace },
        event::EVENT_LISTENING => LifecycleEventKind::Listening,
        event::EVENT_OOM_KILL => {
            LifecycleEventKind::OomKill { pid, command: command(event.command) }
        }
        event::EVENT_ENDED => {
            let (usage, path) = ended::parse(record)?;
            LifecycleEventKind::Ended { usage, path }
        }
        _ => return None,
    };
    Some(LifecycleEvent { hierarchy, cgroup_id, at_nanoseconds, kind })
}

fn command(words: [u64; 2]) -> String {
    let bytes = words.map(u64::to_ne_bytes).concat();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(event.kind.to_ne_bytes());
        bytes.extend(event.hierarchy.to_ne_bytes());
        for word in [event.cgroup_id, event.parent_id, event.at_nanoseconds] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(event.pid.to_ne_bytes());
        bytes.extend(event.namespace.to_ne_bytes());
        bytes.extend(event.command.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_new_cgroup_carries_its_path_unless_it_is_too_long() {
        let event =
            Event { kind: event::EVENT_MADE, cgroup_id: 7, parent_id: 3, ..Event::default() };
        let mut record = bytes(&event);
        let mut path = [0_u8; event::PATH_MAX];
        path[..11].copy_from_slice(b"/docker/abc");
        record.extend(path);
        let created = parse(&record).unwrap();
        let made = |path: Option<&str>| LifecycleEventKind::Created {
            parent_id: 3,
            path: path.map(str::to_owned),
        };
        assert_eq!((created.cgroup_id, created.kind), (7, made(Some("/docker/abc"))));

        let start = record.len() - event::PATH_MAX;
        record[start..].fill(b'x');
        assert_eq!(parse(&record).unwrap().kind, made(None));
        record.truncate(start);
        assert_eq!(parse(&record).unwrap().kind, made(None));
    }

    #[test]
    fn an_oom_kill_names_its_victim() {
        let mut event = Event { kind: event::EVENT_OOM_KILL, pid: 42, ..Event::default() };
        event.command[0] = u64::from_ne_bytes(*b"java\0\0\0\0");
        let what = LifecycleEventKind::OomKill { pid: 42, command: "java".to_owned() };
        assert_eq!(parse(&bytes(&event)).unwrap().kind, what);
        event.command = [*b"01234567", *b"89abcdef"].map(u64::from_ne_bytes);
        let what = LifecycleEventKind::OomKill { pid: 42, command: "0123456789abcdef".to_owned() };
        assert_eq!(parse(&bytes(&event)).unwrap().kind, what);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_event_or_none(record: Vec<u8>) {
            let _ = parse(&record);
        }
    }
}
