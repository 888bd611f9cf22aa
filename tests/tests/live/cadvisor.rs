//! The same numbers and names as cAdvisor.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::statvfs::statvfs;
use tare_tests::{
    cadvisor::Cadvisor,
    docker::{Container, Run},
    lab::Lab,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// Labels that distinguish rows of one container. CPU time is per CPU only by option.
const PARTS: [&str; 9] = [
    "interface",
    "failure_type",
    "scope",
    "type",
    "node",
    "tcp_state",
    "udp_state",
    "pagesize",
    "ulimit",
];

/// The metrics whose values are compared, by their beginning. Of block I/O cAdvisor has zeros on v1
/// without CFQ, and times of whole devices; of file systems it has zeros with Docker 28.
const COMPARED: [&str; 9] = [
    "container_cpu_",
    "container_hugetlb_",
    "container_memory_",
    "container_network_",
    "container_processes",
    "container_spec_",
    "container_threads",
    "container_ulimits_",
    "machine_",
];

/// Values of one container by metric and part; those of several CPUs are added.
type Rows = BTreeMap<(String, String), f64>;

#[test]
fn cadvisor_has_the_same_numbers_under_every_name() -> Result<()> {
    let lab = Lab::open()?;
    let cadvisor = Cadvisor::start(&lab)?;
    let listener = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:7000").linger())?;
    listener.ready()?;
    let load = format!("send --proto tcp --addr {}:7000 --bytes 10MB", listener.address()?);
    let sender = lab.start(Run::load(&load).linger())?;
    for container in [&listener, &sender] {
        container.outcome()?;
    }
    let spinner =
        lab.start(Run::load("spin --for 180s").option("--cpus", "0.5").option("--memory", "64m"))?;
    let load = "sockets --addr 127.0.0.1,::1 --listen 2 --established 3 --time-wait 4 --udp 5 \
                --queued 6";
    let ipv6 = "net.ipv6.conf.all.disable_ipv6=0";
    let sockets = lab.start(Run::load(load).option("--sysctl", ipv6))?;
    let holder = lab.start(Run::load("allocate --bytes 40MiB --for 120s"))?;
    for container in [&spinner, &sockets, &holder] {
        container.ready()?;
    }
    let daemon = TareDaemon::start(
        &lab.tare,
        &["--namespace-sockets", "counters", "--enable-metrics", "sched"],
    )?;
    ensure_machine(&cadvisor.metrics()?, &daemon.metrics()?)?;
    // First the one whose sockets leave TIME_WAIT after a minute.
    for container in [&sockets, &listener, &sender, &spinner, &holder] {
        // Tare reads the sockets of one namespace after the other, with pauses.
        wait::until("Tare to read the sockets", PATIENCE, || {
            let rows = rows(&daemon.metrics()?, container)?;
            let has = rows.keys().any(|(name, _)| name == "container_network_tcp_usage_total");
            Ok(has.then_some(()))
        })?;
        let before = rows_of_now(&cadvisor, container)?;
        let tare = rows(&daemon.metrics()?, container)?;
        let after = rows_of_now(&cadvisor, container)?;
        compare(&before, &tare, &after).with_context(|| container.name().to_owned())?;
        if container.id() == sockets.id() {
            ensure_sockets(&tare)?;
            ensure_root(&tare, container)?;
        }
    }
    ensure_load(&cadvisor, &daemon, &spinner, 1000.0)
}

/// Whether both have a load average within 2 % of this many thousandths of a task. Each begins to
/// average when it sees the container first.
fn ensure_load(
    cadvisor: &Cadvisor,
    daemon: &TareDaemon,
    container: &Container,
    expected: f64,
) -> Result<()> {
    let key = ("container_cpu_load_average_10s".to_owned(), String::new());
    let load = |metrics: &str| Ok::<_, anyhow::Error>(rows(metrics, container)?.remove(&key));
    let is_right =
        |load: Option<f64>| load.is_some_and(|load| (load - expected).abs() <= expected * 0.02);
    let mut last = None;
    let agreed = wait::until("both load averages", PATIENCE, || {
        let (theirs, ours) = (load(&cadvisor.metrics()?)?, load(&daemon.metrics()?)?);
        last = Some((theirs, ours));
        Ok((is_right(theirs) && is_right(ours)).then_some(()))
    });
    agreed.with_context(|| format!("cAdvisor and Tare: {last:?}"))
}

/// Whether the sockets of the load are all there.
fn ensure_sockets(rows: &Rows) -> Result<()> {
    for (name, part, expected) in [
        ("container_network_tcp_usage_total", "listen", 2.0),
        ("container_network_tcp_usage_total", "established", 6.0),
        ("container_network_tcp_usage_total", "timewait", 4.0),
        ("container_network_tcp6_usage_total", "listen", 2.0),
        ("container_network_udp_usage_total", "listen", 5.0),
        ("container_network_udp6_usage_total", "listen", 5.0),
    ] {
        let found = rows.get(&(name.to_owned(), part.to_owned()));
        ensure!(found == Some(&expected), "{name} {part}: {found:?} instead of {expected}");
    }
    let queued = ("container_network_udp_usage_total".to_owned(), "rxqueued".to_owned());
    ensure!(rows.get(&queued).is_some_and(|bytes| *bytes > 0.0), "no datagram waits");
    Ok(())
}

/// Whether the root's file system is as large as the container itself sees it.
fn ensure_root(rows: &Rows, container: &Container) -> Result<()> {
    let root = statvfs(Path::new("/proc").join(container.pid()?).join("root").as_path())?;
    for (name, expected, allowed) in [
        ("container_fs_limit_bytes", root.blocks() * root.fragment_size(), 0.0),
        ("container_fs_inodes_total", root.files(), 0.0),
        // Others write to it meanwhile.
        ("container_fs_inodes_free", root.files_free(), 5000.0),
    ] {
        let found = rows.get(&(name.to_owned(), String::new())).with_context(|| name.to_owned())?;
        // Less than 2^53.
        #[allow(clippy::cast_precision_loss)]
        let expected = expected as f64;
        ensure!((found - expected).abs() <= allowed, "{name}: {found} instead of {expected}");
    }
    Ok(())
}

/// Whether each number of Tare's lies between those of cAdvisor before and after, or is as old as
/// an interval.
fn compare(before: &Rows, tare: &Rows, after: &Rows) -> Result<()> {
    let not_told = not_told()?;
    let (mut same, mut wrong) = (BTreeSet::new(), Vec::new());
    for (key, least) in before {
        let (name, part) = key;
        if not_told.contains(name) || is_absent(name, part, *least) {
            continue;
        }
        if !COMPARED.iter().any(|family| name.starts_with(family)) {
            let known = tare.keys().any(|(known, _)| known == name);
            if !known && !name.starts_with("container_fs_") {
                wrong.push(format!("Tare has no {name}"));
            }
            continue;
        }
        let most = after.get(key).with_context(|| format!("{name} {part} went"))?;
        let (least, most) = (least.min(*most), least.max(*most));
        let allowed = allowed(name) + (most - least);
        match tare.get(key) {
            // cAdvisor reads the first thread of each process, Tare counts all.
            Some(value) if name.starts_with("container_cpu_schedstat_") && *value >= least => {
                same.insert(name);
            }
            // `ensure_load` waits until what each saw in its own life is the same.
            Some(_) if name == "container_cpu_load_average_10s" => {}
            Some(value) if (least - allowed..=most + allowed).contains(value) => {
                same.insert(name);
            }
            // cAdvisor has 0 for counters that this kernel does not have.
            None if name == "container_network_advance_tcp_stats_total" && most == 0.0 => {}
            value => wrong.push(format!("{name} {part}: {value:?}, cAdvisor: {least} to {most}")),
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(same.len() > 30, "only {} names were compared: {same:?}", same.len());
    let received = ("container_network_receive_bytes_total".to_owned(), "eth0".to_owned());
    ensure!(tare.get(&received) > Some(&0.0), "nothing was compared but zeros");
    println!("{} names are the same", same.len());
    Ok(())
}

/// Whether Tare leaves out on purpose what cAdvisor has: what is unlimited is 0 there, and of NUMA
/// nodes Tare has the sums over sub-cgroups only.
fn is_absent(name: &str, part: &str, value: f64) -> bool {
    let is_limit = name.starts_with("container_spec_") || name == "container_threads_max";
    (is_limit && value == 0.0)
        || (name == "container_memory_numa_pages" && part.contains("container"))
}

/// By how much two readings may differ: as many digits as text has, and pages that the kernel
/// counts late (32 for each CPU).
fn allowed(name: &str) -> f64 {
    match name {
        "container_memory_numa_pages" => 128.0,
        "container_memory_failures_total" | "container_memory_failcnt" => 1e-6,
        _ if name.starts_with("container_memory_") => 512.0 * 1024.0,
        _ => 1e-6,
    }
}

/// The names that Tare does not have, for which `docs/cadvisor.md` gives reasons.
fn not_told() -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/names/absent.txt");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect())
}

/// Whether both say the same of the machine.
fn ensure_machine(cadvisor: &str, tare: &str) -> Result<()> {
    let (cadvisor, tare) = (machine(cadvisor)?, machine(tare)?);
    let not_told = not_told()?;
    for ((name, labels), value) in &cadvisor {
        let told = !not_told.contains(name) && name != "machine_scrape_error";
        // No modules are known to both.
        if told && !name.starts_with("machine_dimm_") {
            let found = tare.get(&(name.clone(), labels.clone()));
            ensure!(found == Some(value), "{name} {labels}: {found:?}, cAdvisor says {value}");
        }
    }
    ensure!(cadvisor.len() > 10, "only {cadvisor:?}");
    Ok(())
}

/// The rows of the machine, without the labels that name it.
fn machine(metrics: &str) -> Result<Rows> {
    let mut rows = Rows::new();
    for line in metrics.lines().filter(|line| line.starts_with("machine_")) {
        let (name, rest) = line.split_once(['{', ' ']).with_context(|| line.to_owned())?;
        let (labels, values) = rest.rsplit_once("} ").unwrap_or(("", rest));
        let names = ["boot_id=", "machine_id=", "system_uuid="];
        let mut labels: Vec<_> = labels
            .split(',')
            .filter(|label| !names.iter().any(|name| label.starts_with(name)))
            .collect();
        labels.sort_unstable();
        let value = values.split(' ').next().unwrap_or_default();
        let value = value.parse().with_context(|| line.to_owned())?;
        rows.insert((name.to_owned(), labels.join(",")), value);
    }
    Ok(rows)
}

/// cAdvisor's rows of a container, read after this call.
fn rows_of_now(cadvisor: &Cadvisor, container: &Container) -> Result<Rows> {
    // Each is read once a second; one more for delays.
    std::thread::sleep(Duration::from_secs(2));
    wait::until("cAdvisor to see the container", PATIENCE, || {
        let rows = swapped(rows(&cadvisor.metrics()?, container)?);
        Ok((!rows.is_empty()).then_some(rows))
    })
}

/// cAdvisor has the queues of UDP sockets the wrong way round.
fn swapped(rows: Rows) -> Rows {
    let swap = |((name, part), value): ((String, String), f64)| {
        let part = match (name.contains("_udp"), &*part) {
            (true, "rxqueued") => "txqueued".to_owned(),
            (true, "txqueued") => "rxqueued".to_owned(),
            _ => part,
        };
        ((name, part), value)
    };
    rows.into_iter().map(swap).collect()
}

/// The rows of one container in a text exposition.
fn rows(metrics: &str, container: &Container) -> Result<Rows> {
    let mut rows = Rows::new();
    let name = format!("name=\"{}\"", container.name());
    for line in metrics.lines().filter(|line| line.starts_with("container_")) {
        let Some((metric, rest)) = line.split_once('{') else { continue };
        let (labels, values) = rest.rsplit_once("} ").with_context(|| line.to_owned())?;
        if !labels.split(',').any(|label| label == name) {
            continue;
        }
        let parts = PARTS.iter().filter_map(|part| {
            let start = format!("{part}=\"");
            labels.split(',').find_map(|label| label.strip_prefix(&start)?.strip_suffix('"'))
        });
        let part = parts.collect::<Vec<_>>().join(" ");
        // cAdvisor adds the time of its reading.
        let value = values.split(' ').next().unwrap_or_default();
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        *rows.entry((metric.to_owned(), part)).or_default() += value;
    }
    Ok(rows)
}
