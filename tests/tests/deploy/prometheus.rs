//! Rules and dashboards.

use std::{collections::BTreeSet, fs, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{deploy, output, program, yaml};

fn promtool(args: &[&std::ffi::OsStr]) -> Result<String> {
    output(program("TARE_PROMETHEUS_DIR")?.join("promtool"), args)
}

/// All rules of the file.
fn rules(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().into_iter().flatten();
    groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() -> Result<()> {
    promtool(&["check".as_ref(), "rules".as_ref(), deploy("prometheus/rules.yaml").as_os_str()])?;
    let tests = deploy("prometheus/rules.test.yaml");
    promtool(&["test".as_ref(), "rules".as_ref(), tests.as_os_str()])?;
    Ok(())
}

#[test]
fn each_alert_has_a_runbook_and_is_tested_firing_and_quiet() -> Result<()> {
    let file = yaml(&deploy("prometheus/rules.yaml"))?;
    let tests = yaml(&deploy("prometheus/rules.test.yaml"))?;
    let tests = tests["tests"].as_array().context("tests")?;
    let names: BTreeSet<&str> = tests.iter().filter_map(|test| test["name"].as_str()).collect();
    let alerts: Vec<_> =
        rules(&file).into_iter().filter(|rule| rule.get("alert").is_some()).collect();
    ensure!(alerts.len() > 15, "{alerts:?}");
    for alert in alerts {
        let name = alert["alert"].as_str().context("a name")?;
        for verb in ["fires", "does not fire"] {
            ensure!(names.contains(&*format!("{name} {verb}")), "no test that {name} {verb}");
        }
        for annotation in ["summary", "runbook"] {
            let text = alert["annotations"][annotation].as_str().unwrap_or_default();
            ensure!(text.len() > 20, "{name} has no {annotation}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(["critical", "warning", "info"].contains(&severity), "{name} is {severity:?}");
    }
    Ok(())
}

#[test]
fn the_operator_and_the_chart_have_the_same_rules() -> Result<()> {
    let groups = yaml(&deploy("prometheus/rules.yaml"))?["groups"].take();
    let operator = deploy("kubernetes/overlays/prometheus-operator/prometheusrule.yaml");
    ensure!(yaml(&operator)?["spec"]["groups"] == groups, "{} differs", operator.display());
    let chart = deploy("helm/tare/rules.yaml");
    ensure!(yaml(&chart)?["groups"] == groups, "{} differs", chart.display());
    Ok(())
}

/// Name of the dashboard and expressions of all its panels.
fn dashboards() -> Result<Vec<(String, Vec<String>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(deploy("grafana"))? {
        let path = entry?.path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        let panels = dashboard["panels"].as_array().context("no panels")?;
        let targets =
            panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        let queries = targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned);
        all.push((path.display().to_string(), queries.collect()));
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
        ensure!(ids.len() == panels.len(), "{}: panels share an id", path.display());
    }
    ensure!(all.len() == 4, "{} dashboards", all.len());
    Ok(all)
}

#[test]
fn promtool_parses_each_query_of_the_dashboards() -> Result<()> {
    let mut rules = Vec::new();
    for (dashboard, queries) in dashboards()? {
        ensure!(queries.len() > 10, "{dashboard} has {} queries", queries.len());
        for query in queries {
            let expr = query.replace("$__rate_interval", "1m");
            let expr = ["instance", "namespace", "pod", "container", "name"]
                .iter()
                .fold(expr, |expr, name| expr.replace(&format!("\"${name}\""), "\".*\""));
            ensure!(!expr.contains('$'), "{dashboard}: a variable is left in {expr}");
            rules.push(json!({ "record": format!("query:{}", rules.len()), "expr": expr }));
        }
    }
    let mut file = tempfile::NamedTempFile::new()?;
    // JSON is YAML.
    let text = json!({ "groups": [{ "name": "dashboards", "rules": rules }] }).to_string();
    file.write_all(text.as_bytes())?;
    promtool(&["check".as_ref(), "rules".as_ref(), file.path().as_os_str()])?;
    Ok(())
}
