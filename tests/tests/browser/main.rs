//! The page in a real Chromium, of a real daemon, with real containers.

mod hostile;
mod many;
mod past;

use std::{fs, net::TcpListener};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tare_tests::{browser::Browser, docker::Run, lab::Lab, tare_daemon::TareDaemon};

/// The names in the list, from top to bottom, as an expression.
const NAMES: &str = "[...document.querySelectorAll('.list tbody tr:not(.space):not([hidden]) th a')].map((a) => a.textContent)";

/// What axe-core finds must be nothing, in light and in dark colours.
fn ensure_accessible(page: &mut Browser, what: &str) -> Result<()> {
    for is_dark in [false, true] {
        page.prefer_dark(is_dark)?;
        page.until(&format!("matchMedia('(prefers-color-scheme: dark)').matches === {is_dark}"))?;
        let wrong = page.accessibility()?;
        ensure!(wrong.is_empty(), "{what}, dark: {is_dark}: {wrong:#?}");
    }
    page.prefer_dark(false)
}

/// Shows only rows with this text. Other containers of the host may fill the list.
fn filter(page: &mut Browser, text: &str) -> Result<()> {
    page.press("Escape")?;
    page.press("/")?;
    page.type_text(text)?;
    page.press("Enter")
}

#[test]
fn a_person_looks_at_containers() -> Result<()> {
    let lab = Lab::open()?;
    let directory = tempfile::tempdir()?;
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, "sesame\n")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let file = tokens.to_str().context("no UTF-8")?;
    let args = ["--listen", &listen, "--token-file", file, "--interval", "500ms"];
    let daemon = TareDaemon::start(&lab.tare, &args)?;

    let hostile = "com.docker.compose.project=<img src=x onerror=\"document.title='hit'\">";
    let busy = lab.start(Run::load("spin --for 600s").option("--cpus", "0.2"))?;
    let quiet = lab.start(Run::load("serve").option("--label", hostile))?;
    let (busy_name, quiet_name) = (busy.name(), quiet.name());
    let place = |name: &str| format!("{NAMES}.indexOf('{name}')");

    let mut page = Browser::start()?;
    page.open(&format!("http://{listen}/"))?;

    // The daemon needs a key.
    page.until("document.querySelector('dialog.login[open]') !== null")?;
    page.type_text("wrong")?;
    page.press("Enter")?;
    page.until("document.querySelector('.error').textContent.includes('not accept')")?;
    page.type_text("sesame")?;
    page.press("Enter")?;
    page.until("document.querySelector('.status').textContent === 'live'")?;

    // The list, sorting and filter.
    let (ours, _) = busy_name.rsplit_once('-').context("no prefix")?;
    filter(&mut page, ours)?;
    page.until(&format!("{0} >= 0 && {0} < {1}", place(busy_name), place(quiet_name)))?;
    page.value("[...document.querySelectorAll('thead button')].find((b) => b.textContent === 'CPU').click()")?;
    page.until(&format!("{} > {} && {1} >= 0", place(busy_name), place(quiet_name)))?;
    let sorted = page.value("document.querySelector('thead th[aria-sort]').ariaSort")?;
    ensure!(sorted == "ascending", "{sorted}");
    page.press("N")?;
    page.until(&format!("{NAMES}.join() === {NAMES}.sort().join()"))?;
    filter(&mut page, busy_name)?;
    page.until(&format!("{NAMES}.join() === '{busy_name}'"))?;
    filter(&mut page, ours)?;

    ensure_accessible(&mut page, "the list")?;

    // The tree, with a project whose name looks like HTML.
    page.press("t")?;
    page.until(&format!("{NAMES}.some((name) => name.startsWith('compose <img src=x'))"))?;
    ensure!(page.value("document.querySelector('img')")?.is_null());
    page.press("t")?;

    // A container that starts and ends while the page looks.
    let short = lab.start(Run::load("spin --for 1500ms"))?;
    let short_name = short.name();
    page.until(&format!("{} >= 0", place(short_name)))?;
    page.until(&format!("{} < 0", place(short_name)))?;
    let events = "[...document.querySelectorAll('.events li')].map((li) => li.textContent)";
    for what in ["started", "ended exit code 0"] {
        page.until(&format!("{events}.some((text) => text.includes('{short_name} {what}'))"))?;
    }
    page.press("e")?;
    page.until(&format!("{} >= 0", place(short_name)))?;
    page.press("e")?;

    // One that needs more memory than it may have.
    let hungry = Run::load("allocate --bytes 200MiB --for 60s").option("--memory", "32m");
    let hungry = lab.start(hungry.option("--memory-swap", "32m"))?;
    let killed = format!("{} ran out of memory, killed tare-load", hungry.name());
    page.until(&format!("{events}.some((text) => text.includes('{killed}'))"))?;

    // A container's page, its charts, and a link to it that works by itself.
    filter(&mut page, busy_name)?;
    page.until(&format!("{NAMES}.join() === '{busy_name}'"))?;
    page.press("Enter")?;
    page.until(&format!("location.pathname === '/c/{busy_name}'"))?;
    let charts = "document.querySelectorAll('.uplot canvas').length";
    page.until(&format!("{charts} >= 7"))?;
    page.value("location.reload()")?;
    page.until(&format!(
        "document.querySelector('h1')?.textContent === '{busy_name}' && {charts} >= 7"
    ))?;
    let used = "[...document.querySelectorAll('.u-value')].map((v) => v.textContent)";
    page.until(&format!("{used}.some((text) => /^[1-9][0-9.]* %$/.test(text))"))?;
    page.until("document.querySelector('.chart .note').textContent === 'quota 20.0 %'")?;
    ensure_accessible(&mut page, "a container")?;
    page.press("Escape")?;
    page.until("document.querySelector('.list') !== null")?;

    // The daemon restarts.
    daemon.terminate()?;
    page.until("document.querySelector('.status').textContent === 'reconnecting…'")?;
    let daemon = TareDaemon::start(&lab.tare, &args)?;
    page.until("document.querySelector('.status').textContent === 'live'")?;
    filter(&mut page, ours)?;
    page.until(&format!("{} >= 0", place(quiet_name)))?;

    // The key is withdrawn.
    fs::write(&tokens, "another\n")?;
    daemon.signal(Signal::SIGHUP)?;
    page.until("document.querySelector('dialog.login[open]') !== null")?;

    ensure!(page.value("document.title")? == "Tare");
    let console = page.console()?;
    ensure!(console.is_empty(), "{console:#?}");
    Ok(())
}
