//! The messages of CRI, containerd and sinks that Tare and its tests use are generated from the
//! upstream definitions, with the fields that are listed here and no others: decoding skips
//! unlisted fields.
//!
//! `TARE_UPDATE_GOLDEN=1` writes the generated code anew.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use prost_build::Config;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// Messages and enumerations of a package, and the fields of the messages.
type Package = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const SOURCES: [&str; 6] = [
    "cri-api/api.proto",
    "containerd/containers.proto",
    "containerd/namespace.proto",
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
    "prometheus/remote_write_1.proto",
    "prometheus/remote_write_2.proto",
];

const COLLECTOR: (&str, &[Package]) = (
    "collector/src/identity/cri/messages",
    &[
        (
            "runtime.v1",
            &[
                ("ListPodSandboxRequest", &[]),
                ("ListPodSandboxResponse", &["items"]),
                ("PodSandbox", &["id", "metadata", "labels"]),
                ("PodSandboxMetadata", &["name", "uid", "namespace"]),
                ("PodSandboxStatusRequest", &["pod_sandbox_id"]),
                ("PodSandboxStatusResponse", &["status"]),
                ("PodSandboxStatus", &["metadata", "created_at", "labels"]),
                ("ListContainersRequest", &["filter"]),
                ("ContainerFilter", &["id"]),
                ("ListContainersResponse", &["containers"]),
                ("Container", &["id", "pod_sandbox_id", "metadata", "image", "labels"]),
                ("ContainerMetadata", &["name", "attempt"]),
                ("ImageSpec", &["image"]),
                ("ContainerStatusRequest", &["container_id", "verbose"]),
                ("ContainerStatusResponse", &["status", "info"]),
                (
                    "ContainerStatus",
                    &[
                        "metadata",
                        "state",
                        "started_at",
                        "finished_at",
                        "exit_code",
                        "image",
                        "reason",
                        "labels",
                    ],
                ),
                ("ContainerState", &[]),
                ("VersionRequest", &[]),
                ("VersionResponse", &["runtime_name"]),
                ("ListContainerStatsRequest", &[]),
                ("ListContainerStatsResponse", &["stats"]),
                ("ContainerStats", &["attributes", "writable_layer"]),
                ("ContainerAttributes", &["id"]),
                ("FilesystemUsage", &["timestamp", "used_bytes", "inodes_used"]),
                ("UInt64Value", &["value"]),
            ],
        ),
        (
            "containerd.services.namespaces.v1",
            &[
                ("ListNamespacesRequest", &[]),
                ("ListNamespacesResponse", &["namespaces"]),
                ("Namespace", &["name"]),
            ],
        ),
        (
            "containerd.services.containers.v1",
            &[
                ("GetContainerRequest", &["id"]),
                ("GetContainerResponse", &["container"]),
                ("Container", &["id", "labels", "image", "spec"]),
            ],
        ),
        ("google.protobuf", &[("Any", &["value"])]),
    ],
);

const SINKS: (&str, &[Package]) = (
    "collector/src/export/messages",
    &[
        (
            "prometheus",
            &[
                ("WriteRequest", &["timeseries"]),
                ("TimeSeries", &["labels", "samples"]),
                ("Label", &["name", "value"]),
                ("Sample", &["value", "timestamp"]),
            ],
        ),
        (
            "io.prometheus.write.v2",
            &[
                ("Request", &["symbols", "timeseries"]),
                ("TimeSeries", &["labels_refs", "samples", "metadata"]),
                ("Sample", &["value", "timestamp"]),
                ("Metadata", &["type", "help_ref"]),
            ],
        ),
        (
            "opentelemetry.proto.collector.metrics.v1",
            &[
                ("ExportMetricsServiceRequest", &["resource_metrics"]),
                ("ExportMetricsServiceResponse", &["partial_success"]),
                ("ExportMetricsPartialSuccess", &["rejected_data_points", "error_message"]),
            ],
        ),
        (
            "opentelemetry.proto.metrics.v1",
            &[
                ("ResourceMetrics", &["resource", "scope_metrics"]),
                ("ScopeMetrics", &["scope", "metrics"]),
                (
                    "Metric",
                    &["name", "description", "unit", "gauge", "sum", "exponential_histogram"],
                ),
                ("Gauge", &["data_points"]),
                ("Sum", &["data_points", "aggregation_temporality", "is_monotonic"]),
                ("ExponentialHistogram", &["data_points", "aggregation_temporality"]),
                (
                    "NumberDataPoint",
                    &[
                        "attributes",
                        "start_time_unix_nano",
                        "time_unix_nano",
                        "as_double",
                        "as_int",
                    ],
                ),
                (
                    "ExponentialHistogramDataPoint",
                    &[
                        "attributes",
                        "start_time_unix_nano",
                        "time_unix_nano",
                        "count",
                        "sum",
                        "scale",
                        "zero_count",
                        "positive",
                        "min",
                        "max",
                        "zero_threshold",
                    ],
                ),
                ("AggregationTemporality", &[]),
            ],
        ),
        ("opentelemetry.proto.resource.v1", &[("Resource", &["attributes"])]),
        (
            "opentelemetry.proto.common.v1",
            &[
                ("InstrumentationScope", &["name", "version"]),
                ("KeyValue", &["key", "value"]),
                ("AnyValue", &["string_value"]),
            ],
        ),
    ],
);

const TESTS: (&str, &[Package]) = (
    "tests/src/containerd/messages",
    &[(
        "runtime.v1",
        &[
            ("RunPodSandboxRequest", &["config"]),
            ("RunPodSandboxResponse", &["pod_sandbox_id"]),
            ("PodSandboxConfig", &["metadata", "linux"]),
            ("PodSandboxMetadata", &["name", "uid", "namespace"]),
            ("LinuxPodSandboxConfig", &["cgroup_parent", "security_context"]),
            ("LinuxSandboxSecurityContext", &["namespace_options"]),
            ("NamespaceOption", &["network"]),
            ("NamespaceMode", &[]),
            ("StopPodSandboxRequest", &["pod_sandbox_id"]),
            ("StopPodSandboxResponse", &[]),
            ("RemovePodSandboxRequest", &["pod_sandbox_id"]),
            ("RemovePodSandboxResponse", &[]),
            ("CreateContainerRequest", &["pod_sandbox_id", "config", "sandbox_config"]),
            ("CreateContainerResponse", &["container_id"]),
            (
                "ContainerConfig",
                &["metadata", "image", "command", "args", "envs", "labels", "linux"],
            ),
            ("ContainerMetadata", &["name", "attempt"]),
            ("ImageSpec", &["image"]),
            ("KeyValue", &["key", "value"]),
            ("LinuxContainerConfig", &["resources"]),
            ("LinuxContainerResources", &["memory_limit_in_bytes"]),
            ("StartContainerRequest", &["container_id"]),
            ("StartContainerResponse", &[]),
            ("StopContainerRequest", &["container_id", "timeout"]),
            ("StopContainerResponse", &[]),
            ("ContainerStatusRequest", &["container_id"]),
            ("ContainerStatusResponse", &["status"]),
            ("ContainerStatus", &["state"]),
            ("ContainerState", &[]),
        ],
    )],
);

#[test]
fn the_collectors_messages_are_as_generated() -> Result<()> {
    check(COLLECTOR)
}

#[test]
fn the_sinks_messages_are_as_generated() -> Result<()> {
    check(SINKS)
}

#[test]
fn the_tests_messages_are_as_generated() -> Result<()> {
    check(TESTS)
}

fn check((committed, packages): (&str, &[Package])) -> Result<()> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(committed);
    let generated = tempfile::tempdir()?;
    generate(packages, generated.path())?;
    let generated = files(generated.path())?;
    if std::env::var_os("TARE_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        for (name, text) in &generated {
            fs::write(committed.join(name), text)?;
        }
    }
    let update = "TARE_UPDATE_GOLDEN=1 writes it anew";
    ensure!(files(&committed)? == generated, "{} differs; {update}", committed.display());
    Ok(())
}

fn generate(packages: &[Package], directory: &Path) -> Result<()> {
    let upstream = Path::new(env!("CARGO_MANIFEST_DIR")).join("upstream");
    let mut descriptors = protox::compile(SOURCES, [upstream])?;
    retain(&mut descriptors, packages)?;
    let mut config = Config::new();
    config.out_dir(directory).include_file("mod.rs").compile_well_known_types();
    Ok(config.compile_fds(descriptors)?)
}

/// Drops what is not listed. Everything that is listed must exist.
fn retain(descriptors: &mut FileDescriptorSet, packages: &[Package]) -> Result<()> {
    for (package, types) in packages {
        for (name, fields) in *types {
            let of_package = descriptors.file.iter().filter(|file| file.package() == *package);
            let mut messages = of_package.clone().flat_map(|file| &file.message_type);
            let mut enums = of_package.flat_map(|file| &file.enum_type);
            let message = messages.find(|message| message.name() == *name);
            ensure!(
                message.is_some() || enums.any(|one| one.name() == *name),
                "there is no {package}.{name}"
            );
            for field in *fields {
                let mut all = message.iter().flat_map(|message| &message.field);
                ensure!(all.any(|one| one.name() == *field), "there is no {name}.{field}");
            }
        }
    }
    for file in &mut descriptors.file {
        let types = packages.iter().find(|(package, _)| *package == file.package());
        let types = types.map_or(&[][..], |(_, types)| types);
        let fields = |name: &str| types.iter().find(|one| one.0 == name).map(|(_, fields)| fields);
        file.message_type.retain(|message| fields(message.name()).is_some());
        file.enum_type.retain(|one| fields(one.name()).is_some());
        for message in &mut file.message_type {
            let fields = fields(message.name()).copied().unwrap_or_default();
            retain_fields(message, fields);
        }
        file.service.clear();
        // Comments are attached by index.
        file.source_code_info = None;
    }
    descriptors.file.retain(|file| !file.message_type.is_empty());
    Ok(())
}

fn retain_fields(message: &mut DescriptorProto, fields: &[&str]) {
    message.field.retain(|field| fields.contains(&field.name()));
    // The entries of maps are nested messages.
    let fields = &message.field;
    message.nested_type.retain(|nested| {
        let name = format!(".{}", nested.name());
        fields.iter().any(|field| field.type_name().ends_with(&name))
    });
}

fn files(directory: &Path) -> Result<BTreeMap<String, String>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        Ok((name.to_owned(), fs::read_to_string(&path)?))
    };
    fs::read_dir(directory)?.map(read).collect()
}
