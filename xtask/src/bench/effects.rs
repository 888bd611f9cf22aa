//! What others feel: the same work with and without Tare, in pairs.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::groups::{Groups, hierarchies};
use super::plan::{Plan, shuffle};
use super::program::{Program, ask, command, pause, scratch};
use super::raw::{Missing, Run};
use super::sampling::{Load, populate};
use super::tools::{Built, Daemon, SETTLE};
use crate::packages::{Needed, install};

/// Cgroups that Tare samples meanwhile.
const OTHERS: usize = 1000;

const CALLED: [Needed; 2] = [("iperf3", &["iperf3"]), ("fio", &["fio"])];

/// For how long each work is done.
const WORK: &str = "2";

/// Where iperf3 meets itself.
const PORT: &str = "15201";

/// What runs beside the work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Beside {
    Nothing,
    /// Nothing once more: what chance does.
    Again,
    /// `tare run`, which counts what programs pass to sockets.
    Payload,
    /// `tare run --net-level l3`, which counts packets.
    Packets,
}

/// One kind of work, done once.
#[derive(Deserialize, Serialize)]
pub(crate) struct Effect {
    pub(crate) beside: Beside,
    /// What one round measures belongs together.
    pub(crate) round: usize,
    /// What was measured, by names with their units.
    pub(crate) found: BTreeMap<String, f64>,
}

/// Does all work beside everything.
pub(crate) fn run(built: &Built, plan: &Plan, into: &mut Run) -> Result<()> {
    println!("Work with and without Tare");
    if let Err(error) = install(&CALLED) {
        into.missing(Missing::part("iperf3 and fio", &error))?;
    }
    let others = Groups::make(OTHERS)?;
    let _processes = populate(built, &others, Load::Idle)?;
    for round in 0..plan.pairs {
        for beside in
            shuffle(vec![Beside::Nothing, Beside::Again, Beside::Payload, Beside::Packets])
        {
            let options: Option<&[&str]> = match beside {
                Beside::Nothing | Beside::Again => None,
                Beside::Payload => Some(&[]),
                Beside::Packets => Some(&["--net-level", "l3"]),
            };
            let daemon = options.map(|options| Daemon::launch(built, options)).transpose()?;
            pause(SETTLE)?;
            let mut found = BTreeMap::new();
            for (what, work) in WORKS {
                match work(built) {
                    Ok(more) => found.extend(more),
                    Err(error) => into.missing(Missing::part(what, &error))?,
                }
            }
            drop(daemon);
            println!("  round {}, {beside:?}: {found:.1?}", round + 1);
            into.effects.push(Effect { beside, round, found });
        }
    }
    Ok(())
}

/// Does all of it once, whatever is found.
pub(crate) fn work(built: &Built) -> Result<()> {
    for (what, work) in WORKS {
        work(built).with_context(|| what.to_owned())?;
    }
    Ok(())
}

type Found = Vec<(String, f64)>;
type Work = fn(&Built) -> Result<Found>;

const WORKS: [(&str, Work); 4] =
    [("TCP ping-pong", ping), ("cgroup mkdir", mkdir), ("iperf3", iperf3), ("fio", fio)];

fn ping(built: &Built) -> Result<Found> {
    let found = ask(&mut command(&built.probe, ["ping", "--for", &format!("{WORK}s")]))?;
    quantiles("TCP round trip", &found)
}

fn mkdir(built: &Built) -> Result<Found> {
    let cgroup2 = hierarchies()?.into_iter().find(|one| one.controllers.is_none());
    let mount = cgroup2.context("no cgroup2 hierarchy")?.mount;
    let mut mkdir = command(&built.probe, ["mkdir", "--count", "1000", "--below"]);
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

fn iperf3(_: &Built) -> Result<Found> {
    let server =
        command("iperf3", ["--server", "--one-off", "--bind", "127.0.0.1", "--port", PORT]);
    let _server = Program::start("iperf3", &server, None)?;
    let mut client = command("iperf3", ["--client", "127.0.0.1", "--port", PORT, "--json"]);
    client.args(["--time", WORK]);
    let found = connected(&mut client)?;
    let bits = found.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(vec![("iperf3, Gbit/s".to_owned(), bits.context("iperf3 tells no speed")? / 1e9)])
}

/// Runs iperf3 as soon as its server listens.
fn connected(client: &mut Command) -> Result<Value> {
    const ATTEMPTS: u32 = 50;
    client.stderr(Stdio::null());
    for _ in 0..ATTEMPTS {
        let found = ask(client)?;
        match found.get("error") {
            None => return Ok(found),
            Some(error) if !error.to_string().contains("refused") => bail!("iperf3: {error}"),
            Some(_) => sleep(Duration::from_millis(50)),
        }
    }
    bail!("the server of iperf3 does not listen")
}

fn fio(_: &Built) -> Result<Found> {
    let file = scratch("fio")?;
    let mut fio = command("fio", ["--name=bench", "--rw=randread", "--bs=4k", "--size=64m"]);
    fio.args(["--direct=1", "--ioengine=psync", "--time_based", "--output-format=json"]);
    fio.arg(format!("--runtime={WORK}")).arg(format!("--filename={}", file.display()));
    let found = ask(&mut fio)?;
    let number = |path: &str| {
        let number = found.pointer(path).and_then(Value::as_f64);
        number.with_context(|| format!("fio does not tell {path}"))
    };
    Ok(vec![
        ("fio 4k random reads, 1/s".to_owned(), number("/jobs/0/read/iops")?),
        ("fio 4k random reads, mean, ns".to_owned(), number("/jobs/0/read/lat_ns/mean")?),
    ])
}
