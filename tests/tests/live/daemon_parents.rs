//! Rows of `/metrics` for the cgroups above containers: real pods, and the host.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    containerd::{ContainerMetadata, Containerd, PodSandboxMetadata},
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

const UID: &str = "5c7d9e1f-2a4b-4c6d-8e0f-1a3b5c7d9e1f";

/// The labels and the value of the row of a cgroup.
fn row(metrics: &str, name: &str, id: &str) -> Option<(String, f64)> {
    let id = format!("id=\"{id}\"");
    let rows = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let mut found = rows.filter(|row| row.split(',').any(|label| label == id));
    let (labels, value) = found.next()?.rsplit_once("} ")?;
    Some((labels.to_owned(), value.parse().ok()?))
}

/// The value of that row.
pub(crate) fn value(metrics: &str, name: &str, id: &str) -> Result<f64> {
    let found = row(metrics, name, id).with_context(|| format!("no {name} of {id}: {metrics}"))?;
    Ok(found.1)
}

/// CPU seconds of a cgroup from its own file, on v1 or v2.
pub(crate) fn cpu_seconds(path: &str) -> Result<f64> {
    let files = [
        ("cpuacct/", "cpuacct.usage", 1e9),
        ("cpu,cpuacct/", "cpuacct.usage", 1e9),
        ("", "cpu.stat", 1e6),
    ];
    for (root, file, units) in files {
        let file = Path::new("/sys/fs/cgroup").join(root).join(&path[1..]).join(file);
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let number = text.split_ascii_whitespace().find_map(|word| word.parse::<f64>().ok());
        return Ok(number.with_context(|| format!("{}: {text}", file.display()))? / units);
    }
    anyhow::bail!("no CPU time of {path}")
}

/// User, nice, system, irq and softirq of all CPUs, in seconds.
fn host_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let times = stat.lines().next().context("an empty /proc/stat")?;
    let times: Vec<f64> = times.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let time = |at: usize| times.get(at).copied().context("/proc/stat is short");
    Ok((time(0)? + time(1)? + time(2)? + time(5)? + time(6)?) / 100.0)
}

#[test]
fn pods_have_rows_from_the_files_of_their_cgroups() -> Result<()> {
    let lab = Lab::open()?;
    let mut containerd = Containerd::start(&lab.scratch, &lab.image)?;
    let socket = containerd.socket();
    let path = socket.to_str().context("the socket's path is not UTF-8")?;
    let tare = lab.tare.option("--cri-socket", path);
    let daemon = TareDaemon::start(&tare, &["--interval", "200ms", "--label-set", "kubelet"])?;
    let metadata = PodSandboxMetadata {
        name: "web-0".to_owned(),
        uid: UID.to_owned(),
        namespace: "shop".to_owned(),
    };
    let cgroup = format!("/kubepods/burstable/pod{UID}");
    let pod = containerd.run_pod(metadata, &cgroup)?;
    let metadata = ContainerMetadata { name: "app".to_owned(), attempt: 0 };
    let load = ["spin", "--for", "600s"];
    let app = containerd.create(&pod, metadata, &[], 256 << 20, &load)?;
    containerd.start_container(&app)?;
    let app = format!("{cgroup}/{app}");
    const CPU: &str = "container_cpu_usage_seconds_total";
    let named =
        "container=\"\",id=\"CGROUP\",image=\"\",name=\"\",namespace=\"shop\",pod=\"web-0\"";
    let named = format!("{},cpu=\"total\"", named.replace("CGROUP", &cgroup));
    let (before, metrics) = wait::until("the named row of a busy pod", PATIENCE, || {
        let before = cpu_seconds(&cgroup)?;
        // By then the sample is younger than `before`.
        let samples = daemon.metric("tare_samples_total")?;
        let metrics = wait::until("a further sample", PATIENCE, || {
            let metrics = daemon.metrics()?;
            let further = daemon.metric("tare_samples_total")? > samples + 1.0;
            Ok(further.then_some(metrics))
        })?;
        let busy = row(&metrics, CPU, &app).is_some_and(|(_, used)| used > 0.3);
        let is_named = row(&metrics, CPU, &cgroup).is_some_and(|(labels, _)| labels == named);
        Ok((busy && is_named).then_some((before, metrics)))
    })?;
    let after = cpu_seconds(&cgroup)?;
    let used = value(&metrics, CPU, &cgroup)?;
    ensure!((before - 0.01..=after + 0.01).contains(&used), "{before}, {used}, {after}");
    ensure!(used >= value(&metrics, CPU, &app)?, "its container used more: {metrics}");
    let working_set = value(&metrics, "container_memory_working_set_bytes", &cgroup)?;
    ensure!(working_set > 0.0, "no memory: {metrics}");
    for name in ["tare_container_info", "container_oom_events_total"] {
        ensure!(row(&metrics, name, &cgroup).is_none(), "{name} counts the pod: {metrics}");
    }
    let json = daemon.json("/api/v1/containers")?.to_string();
    ensure!(!json.contains(&format!("\"cgroup\":\"{cgroup}\"")), "a pod is no container: {json}");
    drop(containerd);
    wait::until("the pod's row to go", PATIENCE, || {
        Ok(row(&daemon.metrics()?, CPU, &cgroup).is_none().then_some(()))
    })
}

#[test]
fn the_root_has_the_hosts_numbers() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    let before = host_cpu_seconds()?;
    let samples = daemon.metric("tare_samples_total")?;
    let metrics = wait::until("a further sample", PATIENCE, || {
        let further = daemon.metric("tare_samples_total")? > samples + 1.0;
        Ok(further.then_some(daemon.metrics()?))
    })?;
    let after = host_cpu_seconds()?;
    let used = value(&metrics, "container_cpu_usage_seconds_total", "/")?;
    ensure!((before - 0.1..=after + 0.1).contains(&used), "{before}, {used}, {after}");
    let (labels, usage) = row(&metrics, "container_memory_usage_bytes", "/").context("usage")?;
    ensure!(labels == "id=\"/\",image=\"\",name=\"\"", "{labels}");
    let working_set = value(&metrics, "container_memory_working_set_bytes", "/")?;
    let machine = metrics.lines().find_map(|line| {
        line.strip_prefix("machine_memory_bytes{")?.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    ensure!(0.0 < working_set && working_set <= usage, "{working_set} of {usage}");
    ensure!(Some(usage) < machine, "{usage} of {machine:?}");
    Ok(())
}
