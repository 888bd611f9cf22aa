//! CPU, memory and processes compared with their files.

use anyhow::{Result, ensure};

use crate::machine::{Container, Driver, Machine, rows};

/// Checks that Tare's number is between two readings of the kernel's.
fn between(what: &str, before: u64, reported: u64, after: u64) -> Result<()> {
    ensure!((before..=after).contains(&reported), "{what}: {reported}, from {before} to {after}");
    Ok(())
}

/// No kernel ticks less often, and this machine has one CPU. Microseconds.
const TICK: u64 = 10_000;

#[test]
fn cpu_time_is_what_the_kernel_says() -> Result<()> {
    let machine = Machine::take()?;
    let place = Container::new(Driver::Systemd)?;
    let mut load = machine.start(&place, "spin --for 600s", None)?;
    load.ready()?;
    let mut tare = machine.stream()?;
    tare.fresh_with(&[place.id()])?;
    let look = || -> Result<[u64; 3]> {
        let [usage, user, system] = ["usage", "user", "system"]
            .map(|part| place.field("cpu.stat", &format!("{part}_usec")));
        Ok([usage?, user?, system?])
    };
    let mut last = [0; 3];
    for _ in 0..5 {
        let before = look()?;
        let [row] = rows(&mut tare, [&place])?;
        let after = look()?;
        let microseconds = |part: &str| -> Result<u64> {
            // Hours of microseconds at most: exact in an f64.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok((row.f64(&format!("/cpu/{part}_seconds"))? * 1e6).round() as u64)
        };
        let found = [microseconds("usage")?, microseconds("user")?, microseconds("system")?];
        println!("{before:?}, {found:?}, {after:?}");
        between("usage", before[0], found[0], after[0])?;
        // The kernel divides the usage by ticks, anew for each reader, none of whom sees a part
        // fall: so readers may differ. They may by a tick here, where every tick meets the load.
        for part in [1, 2] {
            let [least, most] = [before[part].saturating_sub(TICK), after[part] + TICK];
            between("a part", least, found[part], most)?;
            ensure!(found[part] >= last[part], "{found:?} after {last:?}");
        }
        // Each of the three is cut to whole microseconds.
        between("the sum", found[0].saturating_sub(1), found[1] + found[2], found[0])?;
        last = found;
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
