//! Dashboards: each query finds values in a Prometheus that scrapes Tare under load.

use std::{collections::BTreeSet, fs, path::Path, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{
    docker::Run,
    lab::Lab,
    stores::{Prometheus, promtool},
    tare_daemon::TareDaemon,
    tcp::free_address,
};

/// Long enough for rates over `WINDOW` after a load has begun.
const SCRAPED: Duration = Duration::from_secs(14);

/// For `$__rate_interval`.
const WINDOW: &str = "10s";

/// All queries of a dashboard, with every variable set to "All".
fn queries(path: &Path) -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.filter_map(|target| target["expr"].as_str()).map(|query| {
        let query = query.replace("$__rate_interval", WINDOW);
        ["instance", "namespace", "pod", "container", "name"]
            .iter()
            .fold(query, |query, name| query.replace(&format!("\"${name}\""), "\".*\""))
    });
    Ok(queries.collect())
}

#[test]
fn each_query_of_the_dashboards_finds_values() -> Result<()> {
    let lab = Lab::open()?;
    let data = lab.scratch.subdirectory()?;
    let target = free_address()?;
    let daemon = TareDaemon::start(&lab.tare, &["--listen", &target])?;
    let prometheus = Prometheus::scraping(&lab.scratch.subdirectory()?, &target, &[])?;
    let slowed = Run::load("spin --threads 2 --for 600s").option("--cpus", "0.2");
    let _slowed = lab.start(slowed.option("--memory", "64m").option("--pids-limit", "32"))?;
    let listener = lab.start(Run::load("listen --proto tcp --addr 0.0.0.0:7000").linger())?;
    let send = format!("send --proto tcp --addr {}:7000 --bytes 10MiB", listener.address()?);
    let _sender = lab.start(Run::load(&send).linger())?;
    let over = lab.start(Run::load("spin --for 100ms"))?;
    over.outcome()?;
    let write = "write --bytes 4MiB --block 4KiB --path /data/file --mode direct";
    let writer = lab.start(Run::load(write).mount(&data, "/data").linger())?;
    writer.outcome()?;
    let read = "read --bytes 4MiB --path /data/file --mode direct";
    let reader = lab.start(Run::load(read).mount(&data, "/data").linger())?;
    reader.outcome()?;
    sleep(SCRAPED);

    let mut empty = BTreeSet::new();
    let mut asked = 0;
    let url = format!("http://{}", prometheus.address());
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana"))? {
        for query in queries(&entry?.path())? {
            asked += 1;
            if promtool(&["query", "instant", "--", &url, &query], None)?.is_empty() {
                empty.insert(query);
            }
        }
    }
    ensure!(asked > 80, "only {asked} queries");
    ensure!(empty.is_empty(), "no values for {empty:#?} in\n{}", daemon.metrics()?);
    Ok(())
}
