//! `tare record export`: Prometheus's own tool and a parser of CSV read the totals of the
//! recording.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tare_tests::{docker::Run, lab::Lab, stores::promtool};

/// The metric that is compared.
const METRIC: &str = "container_cpu_usage_seconds_total";

#[test]
fn other_programs_read_the_totals_of_a_recording() -> Result<()> {
    let lab = Lab::open()?;
    let busy = lab.start(Run::load("spin --for 600s").option("--cpus", "0.3"))?;
    let job = lab.start(Run::load("spin --for 2s"))?;
    let path = |name: &str| -> Result<String> {
        let path = lab.scratch.path().join(name);
        Ok(path.to_str().context("the scratch directory's name is not UTF-8")?.to_owned())
    };
    let recording = path("load.tare")?;
    let args = ["record", "--interval", "200ms", "--duration", "4s", "--output", &recording];
    let done = lab.tare.run(&args)?;
    ensure!(done.status.success(), "{done:?}");
    let args = ["snapshot", "--replay", &recording, "--format", "json"];
    let last: Value = serde_json::from_str(&lab.tare.run(&args)?.stdout)?;
    let total = |list: &str, id: &str| {
        let mut rows = last[list].as_array().into_iter().flatten();
        rows.find(|row| row["id"] == id)?["cpu"]["usage_seconds"].as_f64()
    };
    let expected = BTreeMap::from([
        (busy.name(), total("containers", busy.id()).context("no row")?),
        (job.name(), total("ended", job.id()).context("no receipt")?),
    ]);

    let export = |format: &str, file: &str| -> Result<String> {
        let file = path(file)?;
        let args = ["record", "export", &recording, "--format", format, "--output", &file];
        let done = lab.tare.run(&args)?;
        ensure!(done.status.success(), "{done:?}");
        Ok(file)
    };
    let csv = fs::read_to_string(export("csv", "load.csv")?)?;
    let mut found: BTreeMap<&str, f64> = BTreeMap::new();
    let lines = csv.lines().filter(|line| line.contains(METRIC) && line.contains("cpu=total"));
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let value = line.rsplit(',').next().context("no value")?.parse()?;
        found.insert(fields[1], value);
    }
    for (name, total) in &expected {
        ensure!(found.get(name) == Some(total), "{name}: {total}, in CSV {found:?}");
    }

    let text = export("openmetrics", "load.txt")?;
    let blocks = path("blocks")?;
    promtool(&["tsdb", "create-blocks-from", "openmetrics", &text, &blocks], None)?;
    fs::create_dir_all(format!("{blocks}/wal"))?;
    for (name, total) in &expected {
        let series = format!("{{__name__=\"{METRIC}\",name=\"{name}\",cpu=\"total\"}}");
        let dump = promtool(&["tsdb", "dump", &format!("--match={series}"), &blocks], None)?;
        let mut values = dump.lines().filter_map(|line| {
            let mut words = line.rsplit(' ');
            let (_, value) = (words.next()?, words.next()?);
            value.parse::<f64>().ok()
        });
        ensure!(values.any(|value| value == *total), "{name}: {total}, not in {dump}");
    }

    let trace: Value =
        serde_json::from_str(&fs::read_to_string(export("perfetto", "load.json")?)?)?;
    let events = trace["traceEvents"].as_array().context("no events")?;
    let process = |name: &str| {
        let is_it = |event: &&Value| event["ph"] == "M" && event["args"]["name"] == name;
        events.iter().find(is_it).map(|event| event["pid"].clone())
    };
    let of = |pid: &Value, name: &str| {
        events.iter().filter(|event| event["pid"] == *pid && event["name"] == name).count()
    };
    let busy = process(busy.name()).context("no track of the busy container")?;
    ensure!(of(&busy, "cpu_percent") > 5, "{} counters", of(&busy, "cpu_percent"));
    let job = process(job.name()).context("no track of the job")?;
    ensure!(of(&job, "ended") == 1, "{} ends", of(&job, "ended"));
    Ok(())
}
