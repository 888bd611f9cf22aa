//! Names that would be HTML, or that hide or turn text around: they are text in the page.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    browser::Browser,
    docker::Run,
    lab::Lab,
    process::Process,
    scratch::{Cgroup, cgroup2_mount, unique_name},
    tare_daemon::TareDaemon,
    tcp::free_address,
};

use crate::{NAMES, filter};

const IMAGE: &str = "<img src=x onerror=document.title='hit'>";
const SCRIPT: &str = "<script>document.title='hit'</script>";
/// A direction that turns what follows around, a bell, an escape and an isolate that never ends.
const UNSEEN: &str = "\u{202e}txt\u{7}\u{1b}[31m\u{2066}";
const SEEN: &str = r"\u{202e}txt\u{7}\u{1b}[31m\u{2066}";

#[test]
fn hostile_names_are_text() -> Result<()> {
    let lab = Lab::open()?;
    let label = |key: &str, value: &str| format!("{key}={value}");
    let hostile = format!("{SCRIPT}{UNSEEN}");
    let project = label("com.docker.compose.project", &hostile);
    let service = label("com.docker.compose.service", &hostile);
    let composed = Run::load("serve").option("--label", &project).option("--label", &service);
    let composed = lab.start(composed)?;
    let pod = Run::load("spin --for 600s")
        .option("--label", &label("io.kubernetes.pod.name", &hostile))
        .option("--label", &label("io.kubernetes.pod.namespace", IMAGE))
        .option("--label", &label("io.kubernetes.container.name", &hostile));
    let pod = lab.start(pod.option("--cpus", "0.1"))?;
    let top = unique_name();
    let top = Cgroup::named(&cgroup2_mount()?.join(&top))?;
    // The processes end first.
    let (mut cgroups, mut processes) = (Vec::new(), Vec::new());
    for name in [IMAGE, UNSEEN, "javascript:alert(1)", "\"'`;--%2f%00&lt;"] {
        let cgroup = Cgroup::named(&top.path().join(name))?;
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let process = Process::spawn(sleep)?;
        cgroup.take(process.id())?;
        processes.push(process);
        cgroups.push(cgroup);
    }
    let address = free_address()?;
    let args = ["--listen", &address, "--scope", "all", "--interval", "500ms"];
    let _daemon = TareDaemon::start(&lab.tare, &args)?;
    let mut page = Browser::start()?;
    page.open(&format!("http://{address}/"))?;
    page.until("document.querySelector('.status')?.textContent === 'live'")?;

    // The list.
    let top = top.path().file_name().and_then(|name| name.to_str()).context("no UTF-8")?;
    filter(&mut page, top)?;
    let named = |name: &str| format!("{NAMES}.some((name) => name.endsWith({name:?}))");
    for name in [&format!("/{IMAGE}"), &format!("/{SEEN}")] {
        page.until(&named(name))?;
    }
    // The tree, and what pods and projects are called in it.
    page.press("t")?;
    filter(&mut page, "document.title")?;
    for name in [format!("compose {SCRIPT}{SEEN}"), format!("pod {IMAGE}/{SCRIPT}{SEEN}")] {
        page.until(&named(&name))?;
    }
    page.press("t")?;
    // The page of a cgroup, by its link, and by the address alone.
    filter(&mut page, &format!("{top}/{IMAGE}"))?;
    page.until(&format!("{NAMES}.length === 1"))?;
    page.press("Home")?;
    page.press("Enter")?;
    let title = format!("document.querySelector('h1')?.textContent.endsWith({IMAGE:?})");
    let charts = "document.querySelectorAll('.uplot canvas').length >= 7";
    for _ in 0..2 {
        page.until(&format!("{title} && {charts}"))?;
        page.value("location.reload()")?;
    }
    // Those of the containers.
    for container in [&composed, &pod] {
        page.open(&format!("http://{address}/c/{}", container.name()))?;
        let facts = "[...document.querySelectorAll('.facts dd')].map((fact) => fact.textContent)";
        page.until(&format!(
            "{facts}.some((fact) => fact.includes({:?}))",
            format!("{SCRIPT}{SEEN}")
        ))?;
    }
    // The timeline.
    page.open(&format!("http://{address}/"))?;
    lab.docker.client(["kill", pod.name()])?;
    let events = "[...document.querySelectorAll('.events li')].map((li) => li.textContent)";
    page.until(&format!("{events}.some((text) => text.includes('{} ended'))", pod.name()))?;

    let foreign = "document.querySelectorAll('img, script:not([src]), iframe, object').length";
    ensure!(page.value(foreign)? == 0, "something became HTML");
    ensure!(page.value("document.title")? == "Tare");
    let console = page.console()?;
    ensure!(console.is_empty(), "{console:#?}");
    Ok(())
}
