//! CPU, memory and processes compared with their files.

use anyhow::{Result, ensure};

use crate::machine::{Container, Driver, Machine, rows};

/// Checks that Tare's number is between two readings of the kernel's.
fn between(what: &str, before: u64, reported: u64, after: u64) -> Result<()> {
    ensure!((before..=after).contains(&reported), "{what}: {reported}, from {before} to {after}");
    Ok(())
}

#[test]
fn cpu_time_is_what_the_kernel_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Systemd)?;
    let mut load = machine.start(&place, "spin --for 600s", None)?;
    load.ready()?;
    let mut tare = machine.stream()?;
    tare.fresh_with(&[place.id()])?;
    for (field, word) in [("usage", "usage_usec"), ("user", "user_usec"), ("system", "system_usec")]
    {
        let before = place.field("cpu.stat", word)?;
        let [row] = rows(&mut tare, [&place])?;
        let after = place.field("cpu.stat", word)?;
        let reported = row.f64(&format!("/cpu/{field}_seconds"))?;
        // Hours of microseconds at most: exact in an f64.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        between(field, before, (reported * 1e6).round() as u64, after)?;
    }
    Ok(())
}

#[test]
fn throttling_is_what_the_kernel_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    std::fs::write(place.file("cpu.max"), "30000 100000")?;
    let mut load = machine.start(&place, "spin --for 600s", None)?;
    load.ready()?;
    let mut tare = machine.stream()?;
    tare.fresh_with(&[place.id()])?;
    for (field, word) in [("periods", "nr_periods"), ("throttled_periods", "nr_throttled")] {
        let before = place.field("cpu.stat", word)?;
        let [row] = rows(&mut tare, [&place])?;
        let after = place.field("cpu.stat", word)?;
        between(field, before, row.u64(&format!("/cpu/{field}"))?, after)?;
        ensure!(after > 0, "no {field}: {row:?}");
    }
    Ok(())
}

#[test]
fn memory_is_what_the_kernel_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    std::fs::write(place.file("memory.max"), "100M")?;
    let mut load = machine.start(&place, "allocate --bytes 32MiB --for 600s", None)?;
    load.ready()?;
    let mut tare = machine.stream()?;
    let before = place.number("memory.current")?;
    let [row] = rows(&mut tare, [&place])?;
    let after = place.number("memory.current")?;
    // Nothing runs in it; the kernel may reclaim memory.
    between("usage", before.min(after), row.u64("/memory/usage_bytes")?, before.max(after))?;
    let rss = row.u64("/memory/rss_bytes")?;
    ensure!((32 << 20..40 << 20).contains(&rss), "{row:?}");
    between("anon", rss, place.field("memory.stat", "anon")?, rss)?;
    ensure!(row.u64("/memory/limit_bytes")? == 100 << 20, "{row:?}");
    ensure!(row.u64("/memory/oom_kills")? == 0, "{row:?}");
    Ok(())
}

#[test]
fn processes_and_limits_are_what_the_kernel_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Cgroupfs)?;
    std::fs::write(place.file("pids.max"), "50")?;
    let mut loads = Vec::new();
    for _ in 0..3 {
        let mut load = machine.start(&place, "serve", None)?;
        load.ready()?;
        loads.push(load);
    }
    let mut tare = machine.stream()?;
    let [row] = rows(&mut tare, [&place])?;
    ensure!(row.u64("/pids/current")? == place.number("pids.current")?, "{row:?}");
    ensure!(row.u64("/pids/current")? == 3 && row.u64("/pids/limit")? == 50, "{row:?}");
    Ok(())
}
