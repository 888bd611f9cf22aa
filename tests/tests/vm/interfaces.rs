//! Devices whose other ends are on the machine are read only after they carried traffic.

use anyhow::{Result, ensure};
use tare_tests::report::Row;

use crate::{
    machine::{Container, Driver, Machine, rows},
    namespace::{DEVICE, Device, Namespace, sh, until_quiet},
};

const COUNT: usize = 4;

fn end(at: usize) -> String {
    format!("end{at}")
}

fn shown(row: &Row) -> Result<Device> {
    let at = |field: &str| row.u64(&format!("/network/interfaces/{DEVICE}/{field}"));
    Ok(Device {
        rx_bytes: at("rx_bytes")?,
        rx_packets: at("rx_packets")?,
        tx_bytes: at("tx_bytes")?,
        tx_packets: at("tx_packets")?,
    })
}

#[test]
fn devices_with_their_other_ends_here_are_exact_at_once() -> Result<()> {
    let machine = Machine::take()?;
    let namespaces: [Namespace; COUNT] = all(|at| Namespace::wired(&end(at)))?;
    let places: [Container; COUNT] = all(|_| Container::new(Driver::Cgroupfs))?;
    let mut loads = Vec::new();
    for (place, namespace) in places.iter().zip(&namespaces) {
        let mut load = machine.start_in(place, Some(namespace), "serve", None)?;
        load.ready()?;
        until_quiet(namespace)?;
        loads.push(load);
    }
    let tare = machine.tare.option("--log-level", "debug");
    let mut tare = tare.stream("200ms")?;
    for round in 1..=3 {
        for (busy, namespace) in namespaces.iter().enumerate() {
            // Out of the machine's end, and out of the container's.
            sh(&format!("tare-load frame --count {round} --device {}", end(busy)))?;
            ensure_exact(&mut tare, &places, &namespaces)?;
            namespace.sh(&format!("tare-load frame --count {round} --device {DEVICE}"))?;
            ensure_exact(&mut tare, &places, &namespaces)?;
        }
    }
    let log = tare.interrupt()?.stderr;
    let watched = format!("{COUNT} of {COUNT} network namespaces have veth peers here");
    ensure!(log.contains(&watched), "the namespaces are not watched: {log}");
    Ok(())
}

fn ensure_exact(
    tare: &mut tare_tests::tare::Stream,
    places: &[Container; COUNT],
    namespaces: &[Namespace; COUNT],
) -> Result<()> {
    let rows = rows(tare, places.each_ref())?;
    for (at, (row, namespace)) in rows.iter().zip(namespaces).enumerate() {
        let (got, want) = (shown(row)?, namespace.device()?);
        ensure!(got == want, "container {at}: {got:?} instead of {want:?}");
    }
    Ok(())
}

fn all<T, const N: usize>(make: impl Fn(usize) -> Result<T>) -> Result<[T; N]> {
    let made: Vec<T> = (0..N).map(make).collect::<Result<_>>()?;
    made.try_into().map_err(|_| anyhow::anyhow!("not {N}"))
}
