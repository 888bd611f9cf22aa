//! The effect on other programs: the same work with and without Tare, in pairs.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    missing::Missing,
    plan::{Load, Plan, shuffle},
    program::{Program, ask, command, scratch},
    sampling::populate,
    test_cgroups::{TestCgroups, hierarchies},
    tools::{Binaries, SETTLE, TareRun},
};
use crate::{
    packages::{Needed, install},
    wait::{pause, until},
};

/// Cgroups that Tare samples during the work.
const OTHERS: usize = 1000;

const CALLED: [Needed; 2] = [("iperf3", &["iperf3"]), ("fio", &["fio"])];

/// Seconds for each kind of work.
const WORK: &str = "2";

/// Port of iperf3's server.
const PORT: &str = "15201";

/// What runs in the background of the work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Background {
    Nothing,
    /// Nothing once more, which shows the noise.
    Again,
    /// `tare run`, which counts payload at sockets.
    Payload,
    /// `tare run --net-level l3`, which counts packets.
    Packets,
}

/// All kinds of work, done once.
#[derive(Deserialize, Serialize)]
pub(crate) struct Effect {
    pub(crate) background: Background,
    /// Measurements of the same round are compared.
    pub(crate) round: usize,
    /// Measurements by name; the name contains the unit.
    pub(crate) found: BTreeMap<String, f64>,
}

/// Does all work with each background.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Vec<Effect>,
    missing: &mut Missing,
) -> Result<()> {
    println!("Work with and without Tare");
    if let Err(error) = install(&CALLED) {
        missing.add("iperf3 and fio", &error)?;
    }
    let others = TestCgroups::make(OTHERS)?;
    let _processes = populate(binaries, &others, Load::Idle)?;
    for round in 0..plan.pairs {
        for background in shuffle(vec![
            Background::Nothing,
            Background::Again,
            Background::Payload,
            Background::Packets,
        ]) {
            let options: Option<&[&str]> = match background {
                Background::Nothing | Background::Again => None,
                Background::Payload => Some(&[]),
                Background::Packets => Some(&["--net-level", "l3"]),
            };
            let daemon = options.map(|options| TareRun::launch(binaries, options)).transpose()?;
            pause(SETTLE)?;
            let mut found = BTreeMap::new();
            for (what, work) in WORKS {
                match work(binaries) {
                    Ok(more) => found.extend(more),
                    Err(error) => missing.add(what, &error)?,
                }
            }
            drop(daemon);
            println!("  round {}, {background:?}: {found:.1?}", round + 1);
            into.push(Effect { background, round, found });
        }
    }
    Ok(())
}

/// Does all work once and ignores the measurements.
pub(crate) fn work(binaries: &Binaries) -> Result<()> {
    for (what, work) in WORKS {
        work(binaries).with_context(|| what.to_owned())?;
    }
    Ok(())
}

type Found = Vec<(String, f64)>;
type Work = fn(&Binaries) -> Result<Found>;

const WORKS: [(&str, Work); 4] =
    [("TCP ping-pong", ping), ("cgroup mkdir", mkdir), ("iperf3", iperf3), ("fio", fio)];

fn ping(binaries: &Binaries) -> Result<Found> {
    let found = ask(&mut command(&binaries.bench, ["ping", "--for", &format!("{WORK}s")]))?;
    quantiles("TCP round trip", &found)
}

fn mkdir(binaries: &Binaries) -> Result<Found> {
    let cgroup2 = hierarchies()?.into_iter().find(|one| one.controllers.is_none());
    let mount = cgroup2.context("no cgroup2 hierarchy")?.mount;
    let mut mkdir = command(&binaries.bench, ["mkdir", "--count", "1000", "--below"]);
    quantiles("cgroup mkdir", &ask(mkdir.arg(mount))?)
}

fn quantiles(what: &str, found: &Value) -> Result<Found> {
    ["p50", "p99"]
        .into_iter()
        .map(|quantile| {
            let time = found[format!("{quantile}_ns")].as_f64().context("no time")?;
            Ok((format!("{what}, {quantile}, ns"), time))
        })
        .collect()
}

fn iperf3(_: &Binaries) -> Result<Found> {
    let server =
        command("iperf3", ["--server", "--one-off", "--bind", "127.0.0.1", "--port", PORT]);
    let _server = Program::start("iperf3", &server, None)?;
    let mut client = command("iperf3", ["--client", "127.0.0.1", "--port", PORT, "--json"]);
    client.args(["--time", WORK]);
    let found = connected(&mut client)?;
    let bits = found.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(vec![("iperf3, Gbit/s".to_owned(), bits.context("iperf3 reports no rate")? / 1e9)])
}

/// Runs iperf3 as soon as its server listens.
fn connected(client: &mut Command) -> Result<Value> {
    client.stderr(Stdio::null());
    until("the server of iperf3", Duration::from_secs(3), || {
        let found = ask(client)?;
        match found.get("error") {
            None => Ok(Some(found)),
            Some(error) if error.to_string().contains("refused") => Ok(None),
            Some(error) => bail!("iperf3: {error}"),
        }
    })
}

fn fio(_: &Binaries) -> Result<Found> {
    let file = scratch("fio")?;
    let mut fio = command("fio", ["--name=bench", "--rw=randread", "--bs=4k", "--size=64m"]);
    fio.args(["--direct=1", "--ioengine=psync", "--time_based", "--output-format=json"]);
    fio.arg(format!("--runtime={WORK}")).arg(format!("--filename={}", file.display()));
    let found = ask(&mut fio)?;
    let number = |path: &str| {
        let number = found.pointer(path).and_then(Value::as_f64);
        number.with_context(|| format!("fio reports no {path}"))
    };
    Ok(vec![
        ("fio 4k random reads, 1/s".to_owned(), number("/jobs/0/read/iops")?),
        ("fio 4k random reads, mean, ns".to_owned(), number("/jobs/0/read/lat_ns/mean")?),
    ])
}
