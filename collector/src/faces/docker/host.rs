//! `/_ping`, `/version` and `/info`.

use hyper::{
    StatusCode,
    header::{self, HeaderValue},
};
use serde::Serialize;

use super::{catalog::Catalog, version};
use crate::{
    faces::body::json_answer,
    server::answer::{Answer, text},
};

/// The name of this engine, where clients show one.
const NAME: &str = "Tare";

pub(super) fn ping() -> Answer {
    let mut answer = text(StatusCode::OK, "OK");
    let headers = answer.headers_mut();
    let no_store = HeaderValue::from_static("no-cache, no-store, must-revalidate");
    headers.insert(header::CACHE_CONTROL, no_store);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    answer
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version<'a> {
    platform: Platform,
    components: [Component<'a>; 1],
    version: &'static str,
    api_version: &'static str,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: &'static str,
    os: &'static str,
    arch: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_version: Option<&'a str>,
    // Clients print them without asking whether they are there.
    git_commit: &'static str,
    go_version: &'static str,
    build_time: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component<'a> {
    name: &'static str,
    version: &'static str,
    details: Details<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Details<'a> {
    api_version: &'static str,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: &'static str,
    arch: &'static str,
    os: &'static str,
    kernel_version: &'a str,
    experimental: &'static str,
}

pub(super) fn version(catalog: &Catalog) -> Answer {
    let kernel = catalog.published().pair.host_facts().identity.kernel.as_deref();
    let (version, arch) = (env!("CARGO_PKG_VERSION"), architecture(true));
    let (api_version, min_api_version) = (version::NEWEST, version::OLDEST);
    let details = Details {
        api_version,
        min_api_version,
        arch,
        os: "linux",
        kernel_version: kernel.unwrap_or_default(),
        experimental: "false",
    };
    json_answer(&Version {
        platform: Platform { name: NAME },
        components: [Component { name: NAME, version, details }],
        version,
        api_version,
        min_api_version,
        os: "linux",
        arch,
        kernel_version: kernel,
        git_commit: "",
        go_version: "",
        build_time: "",
    })
}

/// `None` is unknown, and not sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info<'a> {
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    name: &'a str,
    server_version: &'static str,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_system: Option<&'a str>,
    #[serde(rename = "NCPU", skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total: Option<u64>,
    cgroup_version: &'static str,
    system_time: jiff::Timestamp,
    experimental_build: bool,
    warnings: Vec<String>,
}

pub(super) fn info(catalog: &Catalog) -> Answer {
    let published = catalog.published();
    let (pair, facts) = (&published.pair, published.pair.host_facts());
    let count = |state| catalog.items().filter(|item| item.state() == state).count();
    let identity = &facts.identity;
    json_answer(&Info {
        id: identity.machine_id.as_deref(),
        containers: catalog.items().count(),
        containers_running: count("running"),
        containers_paused: count("paused"),
        containers_stopped: count("exited"),
        name: identity.hostname.as_deref().unwrap_or_default(),
        server_version: concat!("tare-", env!("CARGO_PKG_VERSION")),
        os_type: "linux",
        architecture: architecture(false),
        kernel_version: identity.kernel.as_deref(),
        operating_system: identity.os_name.as_deref(),
        cpus: pair.newer.host.online_cpus,
        mem_total: pair.newer.host.memory.total_bytes,
        cgroup_version: if pair.layout() == "v2" { "2" } else { "1" },
        system_time: jiff::Timestamp::now(),
        experimental_build: false,
        warnings: Vec::new(),
    })
}

/// The machine's architecture, as Go or as the kernel calls it.
fn architecture(is_go: bool) -> &'static str {
    match (std::env::consts::ARCH, is_go) {
        ("x86_64", true) => "amd64",
        ("aarch64", true) => "arm64",
        (other, _) => other,
    }
}
