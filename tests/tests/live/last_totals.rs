//! Last totals that the kernel's side takes itself, for containers whose cgroups are gone before
//! anybody can read their files.

use std::{
    collections::HashMap,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use tare_tests::{
    binaries,
    docker::{Container, Run},
    lab::Lab,
    lives::{Life, Lives, Place, ensure_exact},
    process::Process,
    report::Row,
    tare_daemon::TareDaemon,
    wait::{self, PATIENCE},
};

/// The receipts of a daemon, when there are as many.
fn receipts(daemon: &TareDaemon, wanted: &[&str]) -> Result<Vec<Row>> {
    wait::until("all receipts", PATIENCE, || {
        let ended = daemon.json("/api/v1/ended")?;
        let rows = ended.as_array().context("no list")?.iter().cloned().map(Row::from);
        let mut by_id: HashMap<String, Row> =
            rows.filter_map(|row| Some((row.str("/id").ok()?.to_owned(), row))).collect();
        Ok(wanted.iter().map(|id| by_id.remove(*id)).collect())
    })
}

#[test]
fn what_ended_while_tare_stood_still_is_known_to_the_nanosecond() -> Result<()> {
    let lab = Lab::open()?;
    let daemon = TareDaemon::start(&lab.tare, &["--interval", "500ms"])?;
    let all = Lives::new()?;
    daemon.signal(Signal::SIGSTOP)?;
    let mut lives = Vec::new();
    for number in 0..20 {
        let place = if number % 2 == 0 { Place::Container } else { Place::SubCgroup };
        let load = ["spin --for 20ms --threads 3", "allocate --bytes 6MiB --for 1ms"];
        lives.push(all.run(number, place, load[number as usize / 2 % 2])?);
    }
    let run = Run::load("spin --for 50ms").option("--network", "none");
    let containers: Vec<Container> =
        (0..2).map(|_| lab.start(run.clone())).collect::<Result<_>>()?;
    let outcomes = containers.iter().map(Container::outcome).collect::<Result<Vec<_>>>()?;
    // Docker removes the cgroups of a container that has ended.
    thread::sleep(Duration::from_secs(1));
    daemon.signal(Signal::SIGCONT)?;
    let ids: Vec<&str> = lives.iter().map(|life| life.id.as_str()).collect();
    for (life, row) in lives.iter().zip(receipts(&daemon, &ids)?) {
        ensure_exact(life, &row)?;
    }
    let ids: Vec<&str> = containers.iter().map(Container::id).collect();
    for (outcome, row) in outcomes.iter().zip(receipts(&daemon, &ids)?) {
        let used = row.f64("/cpu/usage_seconds")?;
        let seen = outcome["cpu_seconds"].as_f64().context("no CPU time")?;
        // Starting it takes CPU time too.
        ensure!((seen..seen + 1.0).contains(&used), "{used} s, the load saw {seen} s: {row:?}");
        for family in ["cpu", "memory", "pids"] {
            ensure!(row.str(&format!("/finality/{family}/state"))? == "final", "{family}: {row:?}");
        }
        ensure!(row.u64("/memory/peak_bytes")? > 0, "{row:?}");
    }
    Ok(())
}

#[test]
fn hundreds_of_short_lives_on_a_busy_machine_have_their_cpu_time() -> Result<()> {
    short_lives(200)
}

#[test]
#[ignore = "takes some minutes; cargo test -p tare-tests --features live --test live -- --ignored"]
fn ten_thousand_short_lives_on_a_busy_machine_have_their_cpu_time() -> Result<()> {
    short_lives(10_000)
}

/// So many lives of 5 to 100 ms, while eight other threads want all CPUs.
fn short_lives(count: u64) -> Result<()> {
    const WORKERS: usize = 8;
    let lab = Lab::open()?;
    let kept = (count * 2).to_string();
    let tare = lab.tare.option("--receipts", &kept);
    let daemon = TareDaemon::start(&tare, &["--interval", "1s"])?;
    let mut busy = Command::new(binaries::load()?);
    busy.args(["spin", "--threads", "8", "--for", "3600s"]);
    let _busy = Process::spawn(busy)?;
    let all = Lives::new()?;
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let work = || -> Result<Vec<Life>> {
        let mut lives = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(lives);
            }
            let place = if number % 4 == 3 { Place::SubCgroup } else { Place::Container };
            // All lengths, in no order.
            let length = 5 + number * 37 % 96;
            let load = match number % 3 {
                0 => format!("spin --for {length}ms --threads {}", 1 + number % 5),
                1 => format!("allocate --bytes {}KiB --for {length}ms", 64 << (number % 7)),
                _ => format!("sleep --for {length}ms"),
            };
            lives.push(all.run(number, place, &load)?);
        }
    };
    let lives = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let mut lives = Vec::new();
        for worker in workers {
            lives.extend(worker.join().map_err(|_| anyhow!("a worker died"))??);
        }
        Ok::<_, anyhow::Error>(lives)
    })?;
    println!("{count} lives in {:.1} s", begun.elapsed().as_secs_f64());
    let ids: Vec<&str> = lives.iter().map(|life| life.id.as_str()).collect();
    let rows = receipts(&daemon, &ids)?;
    let checked = lives.iter().zip(rows).map(|(life, row)| ensure_exact(life, &row));
    let wrong: Vec<_> = checked.filter_map(Result::err).collect();
    ensure!(wrong.is_empty(), "{} of {count} are wrong: {:#?}", wrong.len(), wrong.first());
    Ok(())
}
