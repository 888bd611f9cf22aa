//! Other things to look at: hierarchies, clock, daemons, block devices.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tare_model::State;
use tare_parsers::io::Device;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    cgroup::Hierarchies,
    config::Common,
    devices::Devices,
    doctor::diagnosis::{CgroupWalk, Cgroups, Check, CountedDevice, Daemon, Hierarchy},
    families::walked::WalkStatus,
    host::{HostFacts, HostRoot},
    identity::{RuntimeApi, RuntimeGroup, RuntimeSockets, Socket},
    kernel::{Bios, Kernel},
    reason::{Circumstances, Reason},
};

/// What a daemon may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The host's container daemons.
const DAEMONS: [(&str, RuntimeApi); 4] = [
    ("docker", RuntimeApi::Docker),
    ("containerd", RuntimeApi::Containerd),
    ("cri-o", RuntimeApi::CriO),
    ("podman", RuntimeApi::Podman),
];

/// The hierarchies with their controllers, cgroup2 first.
pub(super) fn cgroups(hierarchies: &Hierarchies) -> Cgroups {
    let unified = hierarchies.unified.as_ref().map(|path| Hierarchy {
        path: path.display().to_string(),
        version: 2,
        id: Some(0),
        controllers: hierarchies.unified_controllers.clone(),
    });
    let legacy = hierarchies.legacy.iter().map(|hierarchy| Hierarchy {
        path: hierarchy.path.display().to_string(),
        version: 1,
        id: hierarchy.id,
        controllers: Some(hierarchy.controllers.clone()),
    });
    Cgroups {
        layout: hierarchies.layout(),
        hierarchies: unified.into_iter().chain(legacy).collect(),
    }
}

/// The walk over all cgroups, and what comes from files beside it.
pub(super) fn cgroup_walk(status: WalkStatus<'_>, circumstances: &Circumstances) -> CgroupWalk {
    let check = match status.way {
        Ok(way) => Check::on(way.as_str()),
        Err(reason) => {
            Check::new(State::Off, Some("files are read".to_owned()), reason, circumstances)
        }
    };
    let all = status.layout.map(|layout| {
        [
            ("cpu_time", &layout.cpu),
            ("throttling", &layout.throttling),
            ("memory", &layout.memory),
            ("pids", &layout.pids),
            ("pressure", &layout.pressure),
            ("settings", &layout.settings),
            ("state", &layout.state),
        ]
    });
    let files = all.into_iter().flatten().filter_map(|(name, covered)| {
        let reason = covered.0.as_ref().err()?;
        Some((name, reason.to_string()))
    });
    CgroupWalk { check, files: files.collect() }
}

/// The clock of `bpf_ktime_get_ns`, which is read at each block request.
pub(super) fn clock(sys_root: &Path, circumstances: &Circumstances) -> Check {
    let file = sys_root.join("devices/system/clocksource/clocksource0/current_clocksource");
    let name = fs::read_to_string(&file).unwrap_or_default();
    let degraded = |found, reason| Check::new(State::Degraded, found, &reason, circumstances);
    match name.trim() {
        "" => degraded(None, Reason::UnknownClock),
        // To read one of these is an access to a device outside of the CPU, about a microsecond.
        slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies") => {
            degraded(Some(slow.to_owned()), Reason::SlowClock { clock: slow.into() })
        }
        name => Check::on(name),
    }
}

/// The container daemons whose sockets exist, and whether they accept a connection.
pub(super) async fn daemons(common: &Common) -> Vec<Daemon> {
    let root = HostRoot::new(&common.proc_root);
    let mut places: Vec<(&'static str, PathBuf)> = Vec::new();
    for (name, api) in DAEMONS {
        for sockets in (RuntimeGroup { api, user: None }).default_sockets(None) {
            // The last one is below /run. /var/run is a link, which leads elsewhere from outside of
            // the host's root.
            places.extend(sockets.last().map(|path| (name, root.path(&path.to_string_lossy()))));
        }
    }
    let RuntimeSockets { docker, podman, cri } = &common.sockets;
    for (socket, names) in
        [(cri, &["containerd", "cri-o"][..]), (podman, &["podman"]), (docker, &["docker"])]
    {
        if let Socket::Path(path) = socket {
            places.retain(|(name, _)| !names.contains(name));
            places.insert(0, (names[0], path.clone()));
        }
    }
    let mut found = Vec::new();
    for (name, path) in places {
        let state = match timeout(CONNECT_TIMEOUT, UnixStream::connect(&path)).await {
            Ok(Ok(_)) => "answers".to_owned(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "does not answer".to_owned(),
        };
        found.push(Daemon { name, socket: path.display().to_string(), state });
    }
    found
}

/// How the I/O of each block device is counted.
pub(super) fn block_devices(common: &Common, kernel: &Kernel) -> BTreeMap<String, CountedDevice> {
    let mut devices = Devices::new(&common.sys_root);
    let leaves: Vec<String> = devices.bio_leaves().map(|device| device.to_string()).collect();
    let disks = HostFacts::read(&common.proc_root, &common.sys_root).disks;
    let how = |numbers: &str, devices: &mut Devices| -> Result<&'static str, Reason> {
        let block = kernel.block.as_ref()?;
        let device = parse_device(numbers).map(|device| devices.get(device).clone());
        let device = device.unwrap_or_default();
        match &block.bios {
            _ if device.stacked => Ok("below"),
            _ if device.requests => Ok("requests"),
            Bios::Counted(_) if leaves.iter().any(|leaf| leaf == numbers) => Ok("bios"),
            Bios::Failed(reason) | Bios::NotNeeded(Err(reason)) => Err(reason.clone()),
            Bios::NotNeeded(Ok(_)) | Bios::Counted(_) => Err(Reason::NoRequests),
        }
    };
    let counted = disks.into_iter().map(|(numbers, disk)| {
        let found = how(&numbers, &mut devices);
        let device = CountedDevice {
            name: disk.name,
            counted: found.as_ref().ok().copied(),
            reason: found.err().map(|reason| reason.to_string()),
        };
        (numbers, device)
    });
    counted.collect()
}

fn parse_device(numbers: &str) -> Option<Device> {
    let (major, minor) = numbers.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_clocks_are_reported() {
        let sys = tempfile::tempdir().unwrap();
        let place = sys.path().join("devices/system/clocksource/clocksource0");
        fs::create_dir_all(&place).unwrap();
        let state_with = |name: &str| {
            fs::write(place.join("current_clocksource"), name).unwrap();
            clock(sys.path(), &Circumstances::default()).state
        };
        assert_eq!(state_with("tsc\n"), State::On);
        assert_eq!(state_with("hpet\n"), State::Degraded);
        let none = clock(Path::new("/nonexistent"), &Circumstances::default());
        assert_eq!(none.found, None);
    }

    #[test]
    fn devices_are_pairs_of_numbers() {
        assert_eq!(parse_device("254:0"), Some(Device { major: 254, minor: 0 }));
        assert_eq!(parse_device("254"), None);
    }
}
