//! Charts over times that the daemon has no longer in memory, but in its recording.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tare_tests::{
    browser::Browser,
    docker::Run,
    lab::Lab,
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};

/// Pixels of the heatmap that are drawn in its left and its right half, without its axes.
const HALVES: &str = "(() => { const canvas = document.querySelector('.heat canvas'); \
    const { width, height } = canvas; const pen = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true }); \
    pen.drawImage(canvas, 0, 0); \
    const left = 80 * devicePixelRatio, middle = (left + width) / 2; \
    const drawn = (from, to) => { const { data } = pen.getImageData(from, 0, to - from, height - 30 * devicePixelRatio); \
    let count = 0; for (let i = 3; i < data.length; i += 4) if (data[i]) count++; return count; }; \
    return [drawn(left, middle), drawn(middle, width)]; })()";

#[test]
fn charts_go_back_beyond_memory() -> Result<()> {
    let lab = Lab::open()?;
    let (address, record) = (free_address()?, lab.scratch.subdirectory()?);
    let record = record.to_str().context("no UTF-8")?;
    let args = ["--listen", &address, "--interval", "500ms", "--history", "4s", "--record", record];
    let daemon = TareDaemon::start(&lab.tare, &args)?;
    let files = lab.scratch.subdirectory()?;
    // It writes once, when the daemon knows it.
    let gate = lab.gate()?;
    let writer = Run::load("write --path /files/written --bytes 32MiB --block 64KiB").linger();
    let writer = lab.start(writer.behind(&gate).mount(&files, "/files"))?;
    wait::until("two samples of the container", PATIENCE, || {
        let path = format!("/api/v1/history?container={}", writer.name());
        let answer = daemon.get(&path)?;
        let times = if answer.status == 200 { answer.json()?["times"].clone() } else { json!([]) };
        Ok(times.as_array().is_some_and(|times| times.len() >= 2).then_some(()))
    })?;
    gate.open()?;
    writer.outcome()?;
    sleep(Duration::from_secs(12));

    let mut page = Browser::start()?;
    page.open(&format!("http://{address}/c/{}?seconds=40", writer.name()))?;
    let note = "document.querySelector('.ranges .note').textContent";
    page.until(&format!("{note}.includes('from the recording, then from memory')"))?;
    // What was written before the daemon's memory begins is in the chart and in the heatmap.
    page.until(&format!("{HALVES}[0] + {HALVES}[1] > 50"))?;
    let written = "[...document.querySelectorAll('.chart')].find((chart) => chart.textContent.startsWith('Block I/O')).classList.contains('unknown')";
    ensure!(page.value(written)? == false, "the chart of block I/O knows nothing");
    // Only what is in memory: nothing was written meanwhile.
    page.open(&format!("http://{address}/c/{}?seconds=3", writer.name()))?;
    page.until("document.querySelectorAll('.uplot canvas').length >= 7")?;
    page.until(&format!("{note} === ''"))?;
    ensure!(page.value(HALVES)? == json!([0, 0]), "nothing was written");
    // Back by keys: the address says which time it is, and the note where it comes from.
    for _ in 0..6 {
        page.press("[")?;
    }
    page.until("location.search.includes('to=')")?;
    page.until(&format!("{note}.startsWith('from the recording')"))?;
    let (now, started) = (
        "[...document.querySelectorAll('.ranges button')].find((b) => b.textContent === 'Now').ariaPressed",
        "false",
    );
    ensure!(page.value(now)? == started);
    page.press("End")?;
    page.until(&format!("{now} === 'true' && !location.search.includes('to=')"))?;
    let console = page.console()?;
    ensure!(console.is_empty(), "{console:#?}");
    Ok(())
}
