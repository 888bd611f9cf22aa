//! The network namespaces in use, and what their devices carried.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::error::is_gone;
use crate::cgroup::{KeptFile, ReadError};

use crate::network::netdev::{Interfaces, LINE_BYTES_MAX, carried, parse_net_dev};
use crate::network::outside::{Carried, Outside, PeerNumber};
pub use tare_model::NamespaceId;

/// How long a reading may stand. Drops and errors are each end's own, and a device may be added: of
/// both the other ends tell nothing.
pub const READING_AGE_MAX: Duration = Duration::from_secs(10);

/// Fewer than this are read each time: that costs less than to look (`docs/cost.md`).
const WATCHED_MIN: usize = 3;

/// The network namespaces of the containers that are alive.
///
/// Each has one open `/proc/PID/net/dev`, which is still readable when the process ended, and which
/// keeps the namespace and its devices alive: call [`Namespaces::retain`] when a container ends.
///
/// A namespace whose devices all have their other ends in our own namespace is read only when
/// those carried something, and every [`READING_AGE_MAX`]; all others are read each time.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    host: Option<NamespaceId>,
    open: HashMap<NamespaceId, Namespace>,
    outside: Outside,
    /// Whether pairs may lead into namespaces of which that is not known yet.
    undescribed: bool,
    /// Whether pairs lead into so many that it pays to look at them.
    watched: bool,
}

#[derive(Debug)]
struct Namespace {
    devices: KeptFile,
    /// Its `/proc/PID/ns/net`, until its number is known.
    handle: Option<File>,
    number: Option<PeerNumber>,
    reading: Option<Reading>,
    /// What was read before that, to be read into again.
    spare: Option<Arc<Interfaces>>,
}

/// What was read last, and whether it may stand for a while.
#[derive(Debug)]
struct Reading {
    interfaces: Arc<Interfaces>,
    /// What the other ends had carried just before, if they tell of every device.
    carried: Option<Carried>,
    /// Whether that was so at the reading before, too. What a device received is counted before
    /// it may be dropped, so that one more reading finds the drops.
    settled: bool,
    /// When it must be read again. It moves in steps of [`READING_AGE_MAX`].
    due: Instant,
}

impl Namespaces {
    /// No namespace yet.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            host: host_namespace(proc_root),
            open: HashMap::new(),
            outside: Outside::default(),
            undescribed: false,
            watched: false,
        }
    }

    /// Learns the network namespace of a process, and opens its devices unless they are open.
    /// `None` if the process ended or moved meanwhile.
    ///
    /// A runtime moves a container's first process into its namespace only after it made the
    /// cgroup; asked too early, the answer is the namespace of the runtime.
    ///
    /// # Errors
    ///
    /// Processes of others need `CAP_SYS_PTRACE` (`fs/proc/namespaces.c`, `proc_ns_get_link`).
    pub fn track(&mut self, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
        let Some(id) = namespace_of(&self.proc_root, pid)? else { return Ok(None) };
        if self.open.contains_key(&id) {
            return Ok(Some(id));
        }
        let process = self.proc_root.join(pid.to_string());
        let handle = File::open(process.join("ns/net")).ok();
        let handle = handle.filter(|file| file.metadata().is_ok_and(|data| data.ino() == id.0));
        let Some(devices) = KeptFile::open_held(&process.join("net/dev"))? else { return Ok(None) };
        // The file is of the namespace that the process was in when it was opened.
        if namespace_of(&self.proc_root, pid)?.is_some_and(|now| now != id) {
            return Ok(None);
        }
        self.open
            .insert(id, Namespace { devices, handle, number: None, reading: None, spare: None });
        self.undescribed = true;
        Ok(Some(id))
    }

    /// Looks from outside which namespaces carried something. Call it before each round of
    /// [`Namespaces::latest`]; it may wait while someone configures a network device.
    pub fn dump_links(&mut self) {
        if !self.undescribed && !self.watched {
            self.outside.forget();
            return;
        }
        let other_links = self.outside.look();
        if self.undescribed || other_links {
            self.describe();
        }
    }

    /// The devices of a namespace, without `lo`: read now, or as read before if they carried
    /// nothing since.
    ///
    /// # Errors
    ///
    /// [`ReadError::Vanished`] for a namespace that is not open (any more).
    pub fn latest(
        &mut self,
        id: NamespaceId,
        buffer: &mut Vec<u8>,
    ) -> Result<Arc<Interfaces>, ReadError> {
        let namespace = self.open.get_mut(&id).ok_or(ReadError::Vanished)?;
        let now = Instant::now();
        let outside = namespace.number.and_then(|number| self.outside.carried(number));
        if let Some(reading) = &namespace.reading
            && reading.stands(outside, now)
        {
            return Ok(Arc::clone(&reading.interfaces));
        }
        let interfaces = namespace.read_anew(buffer)?;
        let last = namespace.reading.take();
        if let Some(last) = &last {
            namespace.spare = Some(Arc::clone(&last.interfaces));
        }
        // Devices were added or removed, and not all have their other ends where that shows.
        self.undescribed |= outside.is_none_or(|outside| outside.pairs != interfaces.len())
            && last.as_ref().is_none_or(|last| last.interfaces.len() != interfaces.len());
        let reading = Reading::new(id, Arc::clone(&interfaces), outside, last, now);
        namespace.reading = Some(reading);
        Ok(interfaces)
    }

    /// Reads the devices of a namespace, without `lo`, whatever they carried.
    ///
    /// # Errors
    ///
    /// As [`Namespaces::latest`].
    pub fn read(&self, id: NamespaceId, buffer: &mut Vec<u8>) -> Result<Interfaces, ReadError> {
        self.open.get(&id).ok_or(ReadError::Vanished)?.read(buffer)
    }

    /// Closes the namespaces that nobody uses.
    pub fn retain(&mut self, mut is_used: impl FnMut(NamespaceId) -> bool) {
        self.open.retain(|id, _| is_used(*id));
    }

    /// The host's namespace; `None` if it cannot be told.
    pub fn host(&self) -> Option<NamespaceId> {
        self.host
    }

    fn describe(&mut self) {
        self.outside.describe();
        let mut watched = 0;
        for namespace in self.open.values_mut() {
            if let Some(handle) = &namespace.handle {
                namespace.number = self.outside.number(handle);
            }
            if let Some(number) = namespace.number {
                namespace.handle = None;
                watched += usize::from(self.outside.reaches(number));
            }
        }
        self.undescribed = false;
        self.watched = watched >= WATCHED_MIN;
        let open = self.open.len();
        tracing::debug!("{watched} of {open} network namespaces have pairs that end here");
    }
}

impl Namespace {
    fn read(&self, buffer: &mut Vec<u8>) -> Result<Interfaces, ReadError> {
        let mut interfaces = Vec::new();
        parse_net_dev(self.devices.read_records(buffer, LINE_BYTES_MAX)?, &mut interfaces);
        Ok(interfaces)
    }

    /// Reads into the memory of the reading before the last, unless somebody still holds it.
    fn read_anew(&mut self, buffer: &mut Vec<u8>) -> Result<Arc<Interfaces>, ReadError> {
        let text = self.devices.read_records(buffer, LINE_BYTES_MAX)?;
        let mut spare = self.spare.take();
        if let Some(interfaces) = spare.as_mut().and_then(Arc::get_mut) {
            parse_net_dev(text, interfaces);
            return Ok(spare.unwrap_or_default());
        }
        let mut interfaces = Interfaces::default();
        parse_net_dev(text, &mut interfaces);
        Ok(Arc::new(interfaces))
    }
}

impl Reading {
    fn new(
        id: NamespaceId,
        interfaces: Arc<Interfaces>,
        outside: Option<Carried>,
        last: Option<Self>,
        now: Instant,
    ) -> Self {
        // What passes a device unseen by the other end shows here for ever: so may packets that a
        // program redirects into it (`bpf_redirect_peer`).
        let devices = Carried { pairs: interfaces.len(), traffic: carried(&interfaces) };
        let carried = outside.filter(|outside| *outside == devices);
        let settled = last.as_ref().is_some_and(|last| last.carried == carried);
        let due = last.map_or_else(|| now + phase(id), |last| last.due);
        let due = if due > now { due } else { now.max(due + READING_AGE_MAX) };
        Self { interfaces, carried, settled, due }
    }

    fn stands(&self, outside: Option<Carried>, now: Instant) -> bool {
        self.carried.is_some() && self.carried == outside && self.settled && now < self.due
    }
}

/// When a namespace's turn is, so that not all are read at once: neighbouring numbers are spread
/// by the golden ratio.
fn phase(id: NamespaceId) -> Duration {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = id.0.wrapping_mul(GOLDEN) >> 32;
    READING_AGE_MAX.mul_f64(part as f64 / f64::from(u32::MAX))
}

/// The host's first process is in it, and so are kernel threads, which a security module may leave
/// readable where it hides the first process. Without the host's processes there is neither.
fn host_namespace(proc_root: &Path) -> Option<NamespaceId> {
    let of = |pid| namespace_of(proc_root, pid).ok().flatten();
    of(1).or_else(|| {
        let name = fs::read_to_string(proc_root.join("2/comm")).ok()?;
        of(2).filter(|_| name.trim_end() == "kthreadd")
    })
}

/// `None` if the process ended.
pub fn namespace_of(proc_root: &Path, pid: u32) -> Result<Option<NamespaceId>, ReadError> {
    let path = proc_root.join(pid.to_string()).join("ns/net");
    match fs::metadata(&path) {
        Ok(metadata) => Ok(Some(NamespaceId(metadata.ino()))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(ReadError::from_io(&path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;
    use crate::network::InterfaceCounters;
    use crate::network::rtnetlink::Traffic;

    const ID: NamespaceId = NamespaceId(4_026_532_000);

    /// A device that received so much, and what its other end tells of it.
    fn device(rx_bytes: u64) -> (Arc<Interfaces>, Option<Carried>) {
        let counters = InterfaceCounters { rx_bytes, ..InterfaceCounters::default() };
        let traffic = Traffic { rx_bytes, ..Traffic::default() };
        let interfaces = Arc::new(vec![("eth0".to_owned(), counters)]);
        (interfaces, Some(Carried { pairs: 1, traffic }))
    }

    #[test]
    fn a_reading_stands_while_the_other_end_tells_the_same() {
        let now = Instant::now();
        let (interfaces, outside) = device(100);
        let read = |last| Reading::new(ID, Arc::clone(&interfaces), outside, last, now);
        let first = read(None);
        assert!(!first.stands(outside, now), "drops may follow");
        let second = read(Some(first));
        assert!(second.stands(outside, now));
        assert!(!second.stands(device(101).1, now) && !second.stands(None, now));
        assert!(second.due <= now + READING_AGE_MAX && !second.stands(outside, second.due));
        // After its turn it stands again, until its next one.
        let (due, at) = (second.due, second.due + Duration::from_secs(1));
        let third = Reading::new(ID, interfaces, outside, Some(second), at);
        assert!(third.stands(outside, at) && third.due == due + READING_AGE_MAX);
    }

    #[test]
    fn a_reading_of_which_the_other_end_tells_not_all_never_stands() {
        let now = Instant::now();
        let (interfaces, _) = device(100);
        let outside = device(60).1;
        let more = device(100).1.map(|one| Carried { pairs: 2, ..one });
        for outside in [outside, more, None] {
            let first = Reading::new(ID, Arc::clone(&interfaces), outside, None, now);
            let second = Reading::new(ID, Arc::clone(&interfaces), outside, Some(first), now);
            assert!(!second.stands(outside, now), "{outside:?}");
        }
    }

    #[test]
    fn the_turns_of_namespaces_are_spread() {
        let phases = (0..100).map(|number| phase(NamespaceId(ID.0 + number)).as_secs());
        let mut turns = [0; 10];
        for second in phases {
            turns[second as usize % 10] += 1;
        }
        assert!(turns.iter().all(|turn| (5..=15).contains(turn)), "{turns:?}");
    }

    #[test]
    fn a_namespace_is_read_until_nobody_uses_it() {
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.track(process::id()).unwrap().unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(own.to_str(), Some(format!("net:[{}]", id.0).as_str()));
        let mut buffer = Vec::new();
        let devices = namespaces.read(id, &mut buffer).unwrap();
        let table = fs::read_to_string("/proc/self/net/dev").unwrap();
        assert_eq!(devices.len(), table.lines().skip(2).filter(|l| !l.contains("lo:")).count());

        namespaces.retain(|used| used == id);
        namespaces.latest(id, &mut buffer).unwrap();
        namespaces.retain(|_| false);
        let error = namespaces.latest(id, &mut buffer).unwrap_err();
        assert!(matches!(error, ReadError::Vanished));
    }

    #[test]
    fn the_file_of_an_ended_process_is_still_read() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut namespaces = Namespaces::new(Path::new("/proc"));
        let id = namespaces.track(child.id()).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(namespaces.track(child.id()).unwrap(), None);
        namespaces.read(id, &mut Vec::new()).unwrap();
    }

    #[test]
    fn an_unreadable_host_is_unknown() {
        assert_eq!(Namespaces::new(Path::new("/nonexistent")).host(), None);
    }
}
