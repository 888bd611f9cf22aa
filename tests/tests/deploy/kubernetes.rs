//! Manifests and chart.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{deploy, output, program, tools, yaml};

/// The versions of Kubernetes whose schemas the objects must fit: the oldest that has all fields,
/// and the newest known.
const VERSIONS: [&str; 2] = ["1.31", "1.37"];

/// What `kubectl kustomize` makes of an overlay.
fn overlay(name: &str) -> Result<String> {
    let directory = deploy("kubernetes/overlays").join(name);
    output(program("TARE_KUBECTL")?, &["kustomize".as_ref(), directory.as_os_str()])
}

fn file(text: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let found = tools(&["json".as_ref(), file(text)?.path().as_os_str()])?;
    found.as_array().cloned().context("no list of documents")
}

/// The objects of the chart with these values.
fn chart(values: &Value) -> Result<Vec<Value>> {
    let directory = deploy("helm/tare");
    let values = values.to_string();
    let found = tools(&["helm".as_ref(), directory.as_os_str(), values.as_ref()])?;
    found.as_array().cloned().context("no list of objects")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.with_context(|| format!("no {kind}"))
}

fn pod(objects: &[Value]) -> Result<Value> {
    let mut pod = of_kind(objects, "DaemonSet")?["spec"]["template"]["spec"].clone();
    // The chart writes what kustomize leaves to the default.
    if let Some(container) = pod["containers"][0].as_object_mut() {
        container.remove("imagePullPolicy");
    }
    Ok(pod)
}

#[test]
fn each_overlay_fits_the_strict_schemas_of_two_versions() -> Result<()> {
    const OBJECTS: [&str; 4] = ["Namespace", "ServiceAccount", "DaemonSet", "NetworkPolicy"];
    const WITH_FILE: [&str; 5] =
        ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet", "NetworkPolicy"];
    for (name, kinds) in [
        ("privileged", &OBJECTS[..]),
        ("least-privilege", &OBJECTS),
        ("prometheus-operator", &OBJECTS),
        ("otlp", &WITH_FILE),
    ] {
        let text = overlay(name)?;
        let file = file(&text)?;
        for version in VERSIONS {
            let checked = tools(&["validate".as_ref(), version.as_ref(), file.path().as_os_str()])
                .with_context(|| format!("{name} on {version}"))?;
            ensure!(checked == json!(kinds), "{name}: {checked}");
        }
    }
    Ok(())
}

#[test]
fn each_overlay_is_checked() -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(deploy("kubernetes/overlays"))? {
        names.push(entry?.file_name().display().to_string());
    }
    names.sort();
    ensure!(names == ["least-privilege", "otlp", "privileged", "prometheus-operator"], "{names:?}");
    Ok(())
}

/// Lists sorted by name, and the name of the configuration without its checksum.
fn regardless_of_order(mut pod: Value) -> Value {
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    for list in ["/volumes", "/containers/0/volumeMounts"] {
        if let Some(list) = pod.pointer_mut(list).and_then(Value::as_array_mut) {
            list.sort_by_key(name);
        }
    }
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        if let Some(map) = volume.pointer_mut("/configMap/name") {
            *map = map.as_str().and_then(|name| name.split('-').next()).into();
        }
    }
    pod
}

#[test]
fn the_chart_sends_what_the_overlay_otlp_sends() -> Result<()> {
    let objects = documents(&overlay("otlp")?)?;
    let data = &of_kind(&objects, "ConfigMap")?["data"];
    let egress = &of_kind(&objects, "NetworkPolicy")?["spec"]["egress"];
    let config = &data["tare.toml"];
    ensure!(config.as_str().is_some_and(|text| text.contains("otlp+grpc://")), "{data}");
    let values = json!({ "config": config, "networkPolicy": { "egress": egress } });
    let rendered = chart(&values)?;
    ensure!(of_kind(&rendered, "ConfigMap")?["data"] == *data, "{rendered:#?}");
    ensure!(of_kind(&rendered, "NetworkPolicy")?["spec"]["egress"] == *egress, "{rendered:#?}");
    let (kustomize, helm) =
        (regardless_of_order(pod(&objects)?), regardless_of_order(pod(&rendered)?));
    ensure!(kustomize == helm, "{kustomize:#}\n{helm:#}");
    // Another text has another name, so that the pods start anew.
    let of = |objects: &[Value]| Ok(of_kind(objects, "ConfigMap")?["metadata"]["name"].clone());
    let name: Result<Value> = of(&rendered);
    let other: Result<Value> = of(&chart(&json!({ "config": "interval = \"2s\"" }))?);
    ensure!(name? != other?, "{rendered:#?}");
    Ok(())
}

#[test]
fn the_schema_refuses_an_unknown_field() -> Result<()> {
    let text = overlay("privileged")?.replace("hostPID:", "hostPids:");
    let file = file(&text)?;
    let said = tools(&["validate".as_ref(), VERSIONS[1].as_ref(), file.path().as_os_str()]);
    ensure!(said.is_err(), "{said:?}");
    Ok(())
}

#[test]
fn the_privileged_overlay_and_the_other_differ_in_privileges_only() -> Result<()> {
    let mut privileged = pod(&documents(&overlay("privileged")?)?)?;
    let mut least = pod(&documents(&overlay("least-privilege")?)?)?;
    let of = |pod: &mut Value| pod["containers"][0]["securityContext"].take();
    let (with_all, with_least) = (of(&mut privileged), of(&mut least));
    ensure!(privileged == least, "{privileged}\n{least}");
    ensure!(with_all["privileged"] == true, "{with_all}");
    ensure!(with_least["privileged"].is_null(), "{with_least}");
    ensure!(with_least["capabilities"]["drop"] == json!(["ALL"]), "{with_least}");
    for context in [&with_all, &with_least] {
        ensure!(context["readOnlyRootFilesystem"] == true, "{context}");
    }
    ensure!(privileged["hostPID"] == true, "{privileged}");
    ensure!(privileged["automountServiceAccountToken"] == false, "{privileged}");
    Ok(())
}

#[test]
fn the_operator_scrapes_the_port_of_the_pods() -> Result<()> {
    let objects = documents(&overlay("prometheus-operator")?)?;
    let monitor = of_kind(&objects, "PodMonitor")?;
    let daemon_set = of_kind(&objects, "DaemonSet")?;
    let labels = &daemon_set["spec"]["template"]["metadata"]["labels"];
    ensure!(monitor["spec"]["selector"]["matchLabels"] == *labels, "{monitor}");
    let port = &daemon_set["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"];
    ensure!(monitor["spec"]["podMetricsEndpoints"][0]["port"] == *port, "{monitor}");
    of_kind(&objects, "PrometheusRule")?;
    Ok(())
}

#[test]
fn the_chart_gives_the_same_pods_as_the_overlays() -> Result<()> {
    for (name, values) in
        [("privileged", json!({})), ("least-privilege", json!({ "privileged": false }))]
    {
        let (kustomize, helm) = (pod(&documents(&overlay(name)?)?)?, pod(&chart(&values)?)?);
        ensure!(kustomize == helm, "{name}:\n{kustomize:#}\n{helm:#}");
    }
    let values =
        json!({ "podMonitor": { "enabled": true }, "prometheusRule": { "enabled": true } });
    let objects = chart(&values)?;
    let rule = of_kind(&objects, "PrometheusRule")?;
    let groups = yaml(&deploy("prometheus/rules.yaml"))?["groups"].take();
    ensure!(rule["spec"]["groups"] == groups, "{rule}");
    of_kind(&objects, "PodMonitor")?;
    let kinds = chart(&json!({ "networkPolicy": { "enabled": false } }))?;
    ensure!(of_kind(&kinds, "NetworkPolicy").is_err(), "{kinds:?}");
    Ok(())
}

#[test]
fn the_objects_of_the_chart_fit_the_strict_schemas() -> Result<()> {
    for (values, count) in [
        (json!({}), 3),
        (
            json!({
                "privileged": false, "runtimeDirectory": "/run/crio", "extraArgs": ["--interval=5s"],
                "imagePullSecrets": [{ "name": "registry" }], "podMonitor": { "enabled": true },
                "maxUnavailable": 1, "config": "interval = \"5s\"", "image": { "repository": "registry.test/tare", "tag": "x" },
            }),
            4,
        ),
    ] {
        let objects = chart(&values)?;
        let texts: Vec<_> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let file = file(&texts.concat())?;
        for version in VERSIONS {
            let checked = tools(&["validate".as_ref(), version.as_ref(), file.path().as_os_str()])?;
            ensure!(checked.as_array().is_some_and(|kinds| kinds.len() == count), "{checked}");
        }
        let directory = deploy("helm/tare");
        let values = values.to_string();
        let lint = tools(&["lint".as_ref(), directory.as_os_str(), values.as_ref()])?;
        ensure!(lint["errors"] == json!([]), "{lint:#}");
    }
    Ok(())
}

#[test]
fn the_chart_refuses_wrong_values() -> Result<()> {
    let directory = deploy("helm/tare");
    for values in [
        json!({ "privileged": "yes" }),
        json!({ "priviledged": true }),
        json!({ "extraArgs": ["interval"] }),
        json!({ "podMonitor": { "interval": "soon" } }),
        json!({ "maxUnavailable": 0 }),
        json!({ "image": { "repository": "" } }),
    ] {
        let text = values.to_string();
        let lint = tools(&["lint".as_ref(), directory.as_os_str(), text.as_ref()])?;
        let errors = lint["errors"].to_string();
        ensure!(errors.contains("specifications of the schema"), "{values}: {lint:#}");
    }
    Ok(())
}

#[test]
fn manifests_and_chart_name_the_image_of_this_version() -> Result<()> {
    let expected = format!("tare:{}", env!("CARGO_PKG_VERSION"));
    for objects in [documents(&overlay("privileged")?)?, chart(&json!({}))?] {
        let image = &pod(&objects)?["containers"][0]["image"];
        ensure!(*image == json!(expected), "{image}");
    }
    Ok(())
}
