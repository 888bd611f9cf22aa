//! `tare run`: what it serves, and how it treats its clients.

use std::{
    io::{Read as _, Write as _},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    docker::{Container, Run},
    http,
    lab::Lab,
    process,
    stores::{Prometheus, promtool},
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};

/// Gauges of cAdvisor whose names end as those of counters or histograms should.
const GAUGES_OF_CADVISOR: [&str; 4] = [
    "container_fs_inodes_total",
    "machine_dimm_count",
    "machine_node_hugepages_count",
    "machine_thread_siblings_count",
];

/// The ids of all BPF programs or maps of the host.
fn bpf_ids(kind: &str) -> Result<Vec<u64>> {
    let mut bpftool = Command::new("bpftool");
    bpftool.args(["--json", kind, "show"]);
    let shown: Value = serde_json::from_str(&process::output(bpftool, PATIENCE)?)?;
    let all = shown.as_array().context("bpftool shows no list")?;
    Ok(all.iter().filter_map(|one| one["id"].as_u64()).collect())
}

/// The ids that a process holds, by its descriptors.
fn held(pid: u32, field: &str) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(field));
        ids.extend(found.and_then(|id| id.trim().parse::<u64>().ok()));
    }
    Ok(ids)
}

#[test]
fn nothing_is_left_in_the_kernel_after_a_kill_and_a_new_one_starts() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &[])?;
    let (programs, maps) = (held(daemon.id(), "prog_id:")?, held(daemon.id(), "map_id:")?);
    ensure!(!programs.is_empty() && !maps.is_empty(), "it holds no programs or no maps");
    let there = bpf_ids("prog")?;
    ensure!(programs.iter().all(|id| there.contains(id)), "{programs:?} in {there:?}");
    daemon.signal(Signal::SIGKILL)?;
    daemon.finish()?;
    wait::until("programs and maps to go", PATIENCE, || {
        let (programs_left, maps_left) = (bpf_ids("prog")?, bpf_ids("map")?);
        let gone = !programs.iter().any(|id| programs_left.contains(id))
            && !maps.iter().any(|id| maps_left.contains(id));
        Ok(gone.then_some(()))
    })?;
    TareDaemon::start(&lab.tare, &[])?;
    Ok(())
}

#[test]
fn it_ends_within_two_seconds_with_an_open_stream_of_events() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &[])?;
    let mut events = listen(&daemon)?;
    let began = Instant::now();
    let done = daemon.terminate()?;
    ensure!(done.status.success(), "{done:?}");
    ensure!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    events.read_to_end(&mut Vec::new()).context("the stream of events has no end")?;
    Ok(())
}

/// An open stream of events.
fn listen(daemon: &TareDaemon) -> Result<std::os::unix::net::UnixStream> {
    let mut stream = http::connect(daemon.socket())?;
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: tare\r\n\r\n")?;
    let mut begun = Vec::new();
    while !String::from_utf8_lossy(&begun).contains("events of tare") {
        let mut part = [0; 1024];
        let length = stream.read(&mut part)?;
        ensure!(length > 0, "no events: {}", String::from_utf8_lossy(&begun));
        begun.extend(&part[..length]);
    }
    Ok(stream)
}

/// The events received so far. They are read as they arrive: the daemon cuts off clients that do
/// not read, and other containers may cause any number of events.
pub(crate) struct EventReader(Arc<Mutex<String>>);

impl EventReader {
    pub(crate) fn start(daemon: &TareDaemon) -> Result<Self> {
        let mut stream = listen(daemon)?;
        let events = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&events);
        std::thread::spawn(move || {
            let mut part = [0; 16 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut part) {
                let piece = String::from_utf8_lossy(&part[..length]);
                text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&piece);
            }
        });
        Ok(Self(events))
    }

    /// The events of one name about a container.
    pub(crate) fn about(&self, container: &Container, name: &str) -> Vec<String> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, name) =
            (format!("\"id\":\"{}\"", container.id()), format!("event: {name}\ndata: "));
        // The last event may be incomplete.
        let whole = events.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let ours = whole.split("\n\n").filter(|event| event.contains(&id));
        ours.filter_map(|event| Some(event.split_once(&name)?.1.to_owned())).collect()
    }
}

#[test]
fn events_report_the_start_and_the_end_of_a_container() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "200ms"])?;
    let events = EventReader::start(&daemon)?;
    // Existing containers are known after a sample.
    let samples = daemon.metric("tare_samples_total")?;
    wait::until("two samples", PATIENCE, || {
        Ok((daemon.metric("tare_samples_total")? >= samples + 2.0).then_some(()))
    })?;
    let container = lab.start(Run::load("spin --for 300ms"))?;
    container.outcome()?;
    wait::until("its start and its end", PATIENCE, || {
        let all = ["created", "started", "ended"].map(|name| events.about(&container, name).len());
        ensure!(all.iter().all(|count| *count <= 1), "reported more than once: {all:?}");
        Ok((all == [1, 1, 1]).then_some(()))
    })?;
    let receipt = daemon.json(&format!("/api/v1/containers/{}", container.id()))?;
    ensure!(receipt["state"] == "ended" && receipt["ended_at"].is_string(), "{receipt}");
    let used = receipt["cpu"]["usage_seconds"].as_f64();
    ensure!(used.is_some_and(|used| used > 0.0), "{receipt}");
    Ok(())
}

#[test]
fn events_report_a_new_container_long_before_the_next_sample() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "1h"])?;
    let events = EventReader::start(&daemon)?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let data = wait::until("its creation", PATIENCE, || {
        Ok(events.about(&container, "created").into_iter().next())
    })?;
    let data: Value = serde_json::from_str(data.lines().next().context("no data")?)?;
    ensure!(data["runtime"] == "docker" && data["made_at"].is_string(), "{data}");
    ensure!(data["cgroup"].as_str().is_some_and(|path| path.contains(container.id())), "{data}");
    ensure!(events.about(&container, "started").is_empty(), "there was a sample");
    ensure!(daemon.metric("tare_samples_total")? < 2.0, "there was another sample");
    Ok(())
}

#[test]
fn history_grows_with_each_sample_and_ends_with_the_latest() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("spin --for 600s"))?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "100ms"])?;
    let path = format!("/api/v1/history?container={}", container.name());
    let history = wait::until("ten samples", PATIENCE, || {
        let answer = daemon.get(&path)?;
        let history = answer.json()?;
        Ok((history["times"].as_array().map_or(0, Vec::len) >= 10).then_some(history))
    })?;
    let cpu = &history["series"]["cpu_usage_nanoseconds"];
    let cpu: Vec<u64> = cpu.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    ensure!(cpu.len() == history["times"].as_array().map_or(0, Vec::len), "{history}");
    ensure!(cpu.is_sorted() && cpu.first() < cpu.last(), "a spinning container: {cpu:?}");
    let stepped = daemon.json(&format!("{path}&step=0.5"))?;
    let count = |history: &Value| history["times"].as_array().map_or(0, Vec::len);
    ensure!(count(&stepped) * 2 < count(&history) + 4, "{stepped}");
    for (wrong, status) in [("", 400), ("?container=", 404), ("?container=x&from=never", 400)] {
        let answer = daemon.get(&format!("/api/v1/history{wrong}"))?;
        ensure!(answer.status == status, "{wrong}: {answer:?}");
    }
    Ok(())
}

#[test]
fn misbehaving_clients_do_not_disturb_others() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("serve"))?;
    let daemon = TareDaemon::start(&lab.tare, &["--max-connections", "70"])?;
    let before = daemon.metric("process_resident_memory_bytes")?;
    let long_header = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 10 << 20]].concat();
    for (request, statuses) in [
        (long_header.as_slice(), &[431, 400][..]),
        (b"BREW /coffee HTTP/1.1\r\nHost: x\r\n\r\n", &[405]),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &[405]),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &[413]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", &[400]),
        (b"GET /no/such/path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[404]),
        (b"GET /api/v1/containers/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &[400]),
    ] {
        let status = http::send(daemon.socket(), request)?;
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        ensure!(statuses.contains(&status), "{shown}: {status}");
    }
    // A client that never completes its request.
    let mut slow_sender = http::connect(daemon.socket())?;
    slow_sender.write_all(b"GET /metrics HTTP/1.1\r\nX-Long: ")?;
    // Fifty clients that do not read the responses.
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = http::connect(daemon.socket())?;
        for _ in 0..200 {
            stream.write_all(b"GET /api/v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n")?;
        }
        slow.push(stream);
    }
    let samples = daemon.metric("tare_samples_total")?;
    std::thread::scope(|scope| -> Result<()> {
        let socket = daemon.socket();
        let scrape = || http::get(socket, "/metrics", &[("Accept-Encoding", "gzip")]);
        let scrapes: Vec<_> = (0..15).map(|_| scope.spawn(scrape)).collect();
        for scrape in scrapes {
            let answer = scrape.join().map_err(|_| anyhow::anyhow!("a scrape panicked"))??;
            ensure!(answer.header("content-encoding") == Some("gzip"), "{:?}", answer.headers);
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(3));
    let sampled = daemon.metric("tare_samples_total")? - samples;
    ensure!(sampled >= 2.0, "only {sampled} samples in 3 s");
    let after = daemon.metric("process_resident_memory_bytes")?;
    ensure!(after < before + f64::from(32 << 20), "memory grew from {before} to {after}");
    // Clients that never read are cut off in the end.
    wait::until("slow clients to be cut off", Duration::from_secs(30), || {
        Ok((daemon.metric("tare_http_timeouts_total")? >= 50.0).then_some(()))
    })?;
    drop(slow);
    wait::until("a client that sends a byte a second to be cut off", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(1));
        Ok(slow_sender.write_all(b"x").is_err().then_some(()))
    })?;
    ensure!(daemon.get("/readyz")?.status == 200, "it is not ready any more");
    Ok(())
}

#[test]
fn prometheus_scrapes_it_and_the_rules_of_kubernetes_mixin_find_values() -> Result<()> {
    let lab = Lab::open()?;
    let labels = [
        ("io.kubernetes.pod.name", "shop-1"),
        ("io.kubernetes.pod.namespace", "prod"),
        ("io.kubernetes.container.name", "web"),
    ];
    let limited = Run::load("spin --for 600s").option("--cpus", "1");
    let run = labels
        .iter()
        .fold(limited, |run, (name, value)| run.option("--label", &format!("{name}={value}")));
    let _container = lab.start(run)?;
    let target = free_address()?;
    let daemon = TareDaemon::start(&lab.tare, &["--listen", &target, "--label-set", "kubelet"])?;
    let file = lab.scratch.path().join("metrics");
    let metrics = daemon.metrics()?;
    ensure!(GAUGES_OF_CADVISOR.iter().any(|name| metrics.contains(name)), "{metrics}");
    let is_of_cadvisor = |line: &&str| GAUGES_OF_CADVISOR.iter().any(|name| line.contains(name));
    let others: Vec<_> = metrics.lines().filter(|line| !is_of_cadvisor(line)).collect();
    std::fs::write(&file, others.join("\n") + "\n")?;
    let said = promtool(&["check", "metrics"], Some(&file))?;
    ensure!(said.is_empty(), "promtool: {said}");
    let prometheus = Prometheus::scraping(&lab.scratch.subdirectory()?, &target, &[])?;
    let selector = "job=\"cadvisor\", image!=\"\", container!=\"\", container!=\"POD\"";
    let pod = "pod=\"shop-1\", namespace=\"prod\"";
    for query in [
        format!(
            "sum by (namespace, pod, container) \
             (rate(container_cpu_usage_seconds_total{{{selector}, {pod}}}[5s])) > 0"
        ),
        format!("container_memory_working_set_bytes{{{selector}, {pod}}} > 0"),
        format!("container_memory_rss{{{selector}, {pod}}} >= 0"),
        format!("container_memory_cache{{{selector}, {pod}}} >= 0"),
        format!("sum by (pod) (rate(container_network_receive_bytes_total{{{pod}}}[5s])) >= 0"),
        format!("sum by (pod) (rate(container_network_transmit_packets_total{{{pod}}}[5s])) >= 0"),
        format!("container_spec_cpu_quota{{{pod}}} / container_spec_cpu_period{{{pod}}} == 1"),
        format!("time() - container_last_seen{{{pod}}} < 5"),
        format!("time() - container_start_time_seconds{{{pod}}} > 0"),
        "machine_cpu_cores > 0 and machine_memory_bytes > 0".to_owned(),
        "up == 1 and scrape_samples_scraped > 20".to_owned(),
    ] {
        ensure_answered(prometheus.address(), &query)?;
    }
    Ok(())
}

/// Waits until a Prometheus has values for a query.
fn ensure_answered(address: &str, query: &str) -> Result<()> {
    let url = format!("http://{address}");
    wait::until(query, PATIENCE, || {
        // Prometheus may still be starting.
        let values = promtool(&["query", "instant", &url, query], None);
        Ok(values.ok().filter(|values| !values.is_empty()))
    })?;
    Ok(())
}

#[test]
fn prometheus_takes_native_histograms_with_the_counts_of_the_classic_ones() -> Result<()> {
    let lab = Lab::open()?;
    let data = lab.scratch.subdirectory()?;
    let gate = lab.gate()?;
    let load = Run::load("write --bytes 4MiB --block 4KiB --path /data/file --mode direct");
    let writer = lab.start(load.mount(&data, "/data").behind(&gate).linger())?;
    let target = free_address()?;
    let daemon = TareDaemon::start(&lab.tare, &["--listen", &target, "--interval", "200ms"])?;
    gate.open()?;
    writer.outcome()?;
    let row = format!("name=\"{}\",operation=\"write\"", writer.name());
    let counted = |metrics: &str, what: &str| {
        let name = format!("tare_container_block_latency_seconds_{what}{{");
        let is_it = |line: &&str| line.starts_with(&name) && line.contains(&row);
        let lines = metrics.lines().filter(is_it);
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).next_back()
    };
    let count = wait::until("the writes to be counted", PATIENCE, || {
        let before = counted(&daemon.metrics()?, "count");
        std::thread::sleep(Duration::from_secs(1));
        let after = counted(&daemon.metrics()?, "count");
        Ok(after.filter(|after| *after >= 900.0 && Some(*after) == before))
    })?;
    let options = ["--enable-feature=native-histograms"];
    let directory = lab.scratch.subdirectory()?;
    let prometheus = Prometheus::scraping(&directory, &target, &options)?;
    let histogram = format!("tare_container_block_latency_seconds{{{row}}}");
    for query in [
        format!("histogram_count({histogram}) == {count}"),
        format!("histogram_sum({histogram}) > 0"),
        // Some operation was in neither the first nor the last bucket.
        format!("histogram_fraction({}, 16, {histogram}) > 0", 2_f64.powi(-18)),
        format!("histogram_quantile(0.5, {histogram}) < 1"),
        "container_cpu_usage_seconds_total > 0 and on() up == 1".to_owned(),
    ] {
        ensure_answered(prometheus.address(), &query)?;
    }
    Ok(())
}
