//! Containers that come and go while Tare runs.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    process::Finished,
    programs::Programs,
    scratch::{Cgroup, cgroup2_mount},
    wait::{self, PATIENCE},
};

fn ensure_quiet(done: &Finished) -> Result<()> {
    ensure!(done.status.success(), "after Ctrl-C: {}: {}", done.status, done.stderr);
    ensure!(done.stderr.is_empty(), "it complained: {}", done.stderr);
    Ok(())
}

#[test]
fn containers_that_come_and_go_disturb_nothing() -> Result<()> {
    let lab = Lab::open()?;
    let staying = lab.start(Run::load("serve"))?;
    let mut tare = lab.tare.stream("100ms")?;
    tare.fresh_with(&[staying.id()])?;

    thread::scope(|scope| {
        let churn = || -> Result<()> {
            for n in 0..15 {
                // Some end by themselves, some are killed.
                let load = if n % 2 == 0 { "sleep --for 20ms" } else { "serve" };
                lab.start(Run::load(load).option("--network", "none"))?.remove();
            }
            Ok(())
        };
        let threads = [scope.spawn(churn), scope.spawn(churn)];
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread that starts containers died"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;

    let row = tare.fresh()?.row(staying.id())?;
    ensure!(row.u64("/memory/usage_bytes")? > 0, "{row:?}");
    ensure_quiet(&tare.interrupt()?)
}

#[test]
fn cgroups_that_come_and_go_disturb_nothing() -> Result<()> {
    let lab = Lab::open()?;
    let mount = cgroup2_mount()?;
    let mut tare = lab.tare.stream("100ms")?;
    tare.report()?;
    for _ in 0..300 {
        let parent = Cgroup::below(&mount)?;
        Cgroup::below(parent.path())?;
    }
    tare.fresh()?;
    ensure_quiet(&tare.interrupt()?)
}

#[test]
fn a_container_that_starts_later_is_found() -> Result<()> {
    let lab = Lab::open()?;
    let mut tare = lab.tare.stream("200ms")?;
    tare.report()?;
    let late = lab.start(Run::load("serve"))?;
    let row = tare.fresh_with(&[late.id()])?.row(late.id())?;
    wait::until("the name of a container that started later", PATIENCE, || {
        let row = tare.report()?.row(late.id())?;
        Ok((row.get("/name")? == late.name()).then_some(()))
    })?;
    ensure!(row.u64("/network/sockets/rx_bytes")? == 0, "{row:?}");
    let id = late.id().to_owned();
    late.remove();
    wait::until("a removed container to leave the report", PATIENCE, || {
        Ok(tare.report()?.find(&id).is_none().then_some(()))
    })
}

#[test]
fn no_program_is_left_in_the_kernel() -> Result<()> {
    let lab = Lab::open()?;
    let _container = lab.start(Run::load("sleep --for 600s"))?;
    let mut tare = lab.tare.stream("100ms")?;
    tare.report()?.require("network_sockets")?;
    let programs = Programs::held_by(tare.id())?;
    ensure_quiet(&tare.interrupt()?)?;
    programs.gone()
}
