//! The names that Kubernetes asks of a runtime, of real containers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::pods;
use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    containerd::{ContainerMetadata, Containerd, PodNetwork, PodSandboxMetadata},
    docker::Run,
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Without the controller of huge pages nobody counts them.
const HUGE_PAGES: [&str; 2] =
    ["container_hugetlb_max_usage_bytes", "container_hugetlb_usage_bytes"];

/// On cgroup v1 `memory.stat` does not have it.
const V2: [&str; 1] = ["container_memory_kernel_usage"];

/// Docker would walk through all files to tell it.
const CONTAINERD: [&str; 1] = ["container_fs_usage_bytes"];

const WRITTEN: u64 = 8 << 20;

#[test]
fn a_pod_of_containerd_and_a_container_of_docker_have_every_name() -> Result<()> {
    const UID: &str = "7b2d8e1f-6c4e-4d3b-8f70-1e2c3d4b5a60";
    let lab = Lab::open()?;
    let programs = pods::programs(None)?;
    let mut containerd = Containerd::start_with(&lab.scratch, &lab.image, programs)?;
    let socket = containerd.socket();
    let socket = socket.to_str().context("the socket's path is not UTF-8")?;
    // Before the load: the kernel's programs count from here.
    let daemon = TareDaemon::start(&lab.tare, &["--cri-socket", socket])?;
    let metadata = PodSandboxMetadata {
        name: "web-0".to_owned(),
        uid: UID.to_owned(),
        namespace: "shop".to_owned(),
    };
    let parent = format!("/kubepods/burstable/pod{UID}");
    let pod = containerd.run_pod_on(PodNetwork::Own, metadata, &parent)?;
    let metadata = ContainerMetadata { name: "app".to_owned(), attempt: 0 };
    let write = format!("write --bytes {WRITTEN} --path /written --mode buffered --fsync");
    let load: Vec<_> = write.split(' ').chain(["--linger"]).collect();
    let app = containerd.create(&pod, metadata, &[], 256 << 20, &load)?;
    containerd.start_container(&app)?;
    let quota = Run::load(&write).linger();
    let quota = ["--cpus=0.5", "--memory=256m", "--memory-reservation=64m", "--pids-limit=50"]
        .into_iter()
        .filter_map(|option| option.split_once('='))
        .fold(quota, |run, (name, value)| run.option(name, value));
    let docker = lab.start(quota)?;
    docker.outcome()?;
    limit(&app)?;
    let is_unified = !Path::new("/sys/fs/cgroup/memory").exists();
    let has_huge_pages = Path::new("/sys/fs/cgroup/hugetlb").exists() || is_unified;
    let mut expected = names()?;
    ensure!(expected.len() == 56, "{expected:?}");
    let without = |names: &mut BTreeSet<String>, absent: &[&str]| {
        names.retain(|name| !absent.contains(&name.as_str()));
    };
    if !has_huge_pages {
        without(&mut expected, &HUGE_PAGES);
    }
    if !is_unified {
        without(&mut expected, &V2);
    }
    // Sizes are asked for once a minute.
    wait::until("every name of the pod", 2 * PATIENCE, || {
        thread::sleep(Duration::from_secs(1));
        let missing = difference(&expected, &daemon.metrics()?, &[&app, &pod]);
        println!("missing of the pod: {missing:?}");
        Ok(missing.is_empty().then_some(()))
    })?;
    let metrics = daemon.metrics()?;
    let used = metrics.lines().find(|line| {
        line.starts_with("container_fs_usage_bytes{") && line.contains(&format!("/{app}\""))
    });
    let used: f64 = used.and_then(|line| line.rsplit(' ').next()).context("no usage")?.parse()?;
    #[allow(clippy::cast_precision_loss)]
    let written = WRITTEN as f64;
    ensure!(used >= written, "{used} of {written}");
    without(&mut expected, &CONTAINERD);
    let missing = difference(&expected, &metrics, &[docker.id()]);
    ensure!(missing.is_empty(), "Docker: {missing:?}");
    Ok(())
}

/// Sets what the kubelet sets at the pod, and CRI has no word for.
fn limit(id: &str) -> Result<()> {
    let cgroup = |controller: &str| -> Result<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let root =
            Some(root.join(controller)).filter(|path| path.exists()).unwrap_or_else(|| root.into());
        find(&root, id).with_context(|| format!("no cgroup of {id} below {}", root.display()))
    };
    let set = |controller: &str, files: [&str; 2], value: &str| {
        let directory = cgroup(controller)?;
        let file = files.iter().map(|name| directory.join(name)).find(|path| path.exists());
        let file = file.with_context(|| format!("none of {files:?}"))?;
        fs::write(&file, value).with_context(|| file.display().to_string())
    };
    set("pids", ["pids.max", "pids.max"], "50")?;
    set("memory", ["memory.soft_limit_in_bytes", "memory.low"], "67108864")?;
    set("cpu", ["cpu.cfs_quota_us", "cpu.max"], "50000")
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries.filter(|entry| entry.path().is_dir()).find_map(|entry| {
        let is_it = entry.file_name().to_string_lossy().contains(name);
        if is_it { Some(entry.path()) } else { find(&entry.path(), name) }
    })
}

/// The names that no row of these containers has.
fn difference(names: &BTreeSet<String>, metrics: &str, ids: &[&str]) -> Vec<String> {
    let found: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| ids.iter().any(|id| line.contains(&format!("{id}\""))))
        .filter_map(|line| line.split_once('{').map(|(name, _)| name))
        .collect();
    names.iter().filter(|name| !found.contains(name.as_str())).cloned().collect()
}

fn names() -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/names/cri-1.37.txt");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}
