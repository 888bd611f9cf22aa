//! Templates, columns and filters; templates give the same text as Docker.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    process::Process,
    wait::PATIENCE,
};

/// Attempts until nothing changes between the two commands.
const TRIES: usize = 8;

/// Templates that Docker knows, every placeholder and function among them.
const TEMPLATES: [&str; 5] = [
    "{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.NetIO}} {{.BlockIO}} \
     {{.MemPerc}} {{.PIDs}}",
    "table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\\t{{.MemPerc}}\\t{{.NetIO}}\\t{{.PIDs}}",
    "{{json .}}",
    "{{.Name | upper}} {{lower .Name}} {{title .Name}} {{pad .PIDs 2 3}}|{{truncate .Name 7}} \
     {{split .Name \"-\"}} {{join (split .Name \"-\") \"+\"}} {{json .MemPerc}}",
    "table {{join (split .Name \"-\") \"/\"}}|{{upper .ID}}\\t\\t{{- .PIDs -}} x{{/* no */}}\\ny\\t",
];

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn containers(lab: &Lab) -> Result<[Container; 3]> {
    Ok([
        lab.start(Run::load("serve").option("--memory", "64m").option("--label", "tier=front"))?,
        lab.start(Run::load("serve").option("--network", "none").option("--label", "tier=back"))?,
        lab.start(Run::load("allocate --bytes 20MiB --for 600s").option("--network", "none"))?,
    ])
}

#[test]
fn templates_give_the_text_of_docker() -> Result<()> {
    let lab = Lab::open()?;
    let containers = containers(&lab)?;
    containers[2].ready()?;
    // By name, by full id and by the beginning of one.
    let wanted = [containers[0].name(), containers[1].id(), &containers[2].id()[..10]];
    for template in TEMPLATES {
        let args = [&["stats", "--no-stream", "--format", template], &wanted[..]].concat();
        let mut said = Vec::new();
        for _ in 0..TRIES {
            let docker = lines(&lab.docker.client(&args)?);
            let done = lab.tare.run(&args)?;
            ensure!(done.status.success() && done.stderr.is_empty(), "{template}: {done:?}");
            let tare = lines(&done.stdout);
            if docker == tare {
                ensure!(docker.len() >= containers.len(), "{template}: {docker:?}");
                said.clear();
                break;
            }
            said.push(format!("Docker {docker:#?}\ntare {tare:#?}"));
        }
        if let Some(said) = said.last() {
            bail!("{template}: never the same in {TRIES} tries, at last\n{said}");
        }
    }
    Ok(())
}

#[test]
fn filters_and_columns_choose_what_is_shown() -> Result<()> {
    let lab = Lab::open()?;
    let [front, back, other] = containers(&lab)?;
    let shown = |filters: &[&str]| -> Result<BTreeSet<String>> {
        let mut args = vec!["stats", "--no-stream", "--interval", "200ms", "--format", "{{.Name}}"];
        filters.iter().for_each(|filter| args.extend(["--filter", filter]));
        let done = lab.tare.run(&args)?;
        ensure!(done.status.success(), "{done:?}");
        Ok(lines(&done.stdout))
    };
    let names = |all: &[&Container]| all.iter().map(|one| one.name().to_owned()).collect();
    let (image, glob) = (format!("image={}*", lab.image()), format!("name=*{}", back.name()));
    let all: BTreeSet<String> = names(&[&front, &back, &other]);
    ensure!(shown(&[&image])? == all, "{:?}", shown(&[&image])?);
    ensure!(shown(&[&image, "runtime=docker", "state=running"])? == all, "its runtime and state");
    ensure!(shown(&[&image, "label=tier"])? == names(&[&front, &back]), "those with a label");
    ensure!(shown(&[&image, "label=tier=back"])? == names(&[&back]), "those with its value");
    ensure!(shown(&[&glob])? == names(&[&back]), "those by name");
    ensure!(shown(&[&format!("id={}", &front.id()[..8])])? == names(&[&front]), "those by id");
    ensure!(shown(&[&image, "runtime=podman"])?.is_empty(), "none of Podman's is here");

    let args = ["stats", "--no-stream", "--columns", "name,memory-limit,image", "--filter", &image];
    let done = lab.tare.run(&args)?;
    let header = done.stdout.lines().next().context("a header")?;
    let titles: Vec<_> =
        header.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
    ensure!(titles == ["NAME", "MEM LIMIT", "IMAGE"], "{done:?}");
    let row = done.stdout.lines().find(|line| line.starts_with(front.name()));
    let row = row.with_context(|| format!("no row of {} in {done:?}", front.name()))?;
    ensure!(row.contains(" 64MiB ") && row.contains(lab.image()), "{row}");
    Ok(())
}

#[test]
fn all_shows_what_ended_too() -> Result<()> {
    let lab = Lab::open()?;
    let staying = lab.start(Run::load("serve"))?;
    let template = "{{.Name}} {{.State}}";
    let args = ["stats", "--all", "--interval", "200ms", "--format", template];
    let mut tare = Process::spawn(lab.tare.command(&args))?;
    tare.next_line(PATIENCE)?;
    let ending = lab.start(Run::load("sleep --for 1s"))?;
    let mut wanted =
        BTreeSet::from([format!("{} running", staying.name()), format!("{} ended", ending.name())]);
    for _ in 0..1000 {
        wanted.remove(&tare.next_line(PATIENCE)?);
        if wanted.is_empty() {
            return Ok(());
        }
    }
    bail!("never said in 1000 lines: {wanted:?}")
}

#[test]
fn an_unknown_name_gets_the_nearest_as_a_suggestion() -> Result<()> {
    let lab = Lab::open()?;
    let container = lab.start(Run::load("serve"))?;
    let wrong = format!("x{}", container.name());
    let done = lab.tare.run(&["stats", "--no-stream", &wrong])?;
    let said = done.stderr.trim();
    ensure!(done.status.code() == Some(1) && done.stdout.is_empty(), "{done:?}");
    ensure!(
        said.contains(&wrong) && said.contains(&format!("mean {}", container.name())),
        "{said}"
    );
    Ok(())
}
