//! Types, lints and unit tests of the page. Building Tare needs none of this.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{cmd, project, results::Tally};

/// Runs every check, with tools that npm installs below `target`.
pub(crate) fn run() -> Result<Tally> {
    let tools = install()?;
    let page = page();
    let tool = |name: &str| Command::new(tools.join("node_modules/.bin").join(name));
    let mut types = tool("tsc");
    types.arg("--project").arg(&page);
    let mut lint = tool("oxlint");
    lint.args(["--deny", "correctness", "--deny", "suspicious", "--ignore-pattern", "uPlot.js"]);
    // A property that is assigned once is simpler than a listener.
    lint.args(["--allow", "unicorn/prefer-add-event-listener"]).arg(&page);
    let mut units = Command::new("node");
    units.arg("--test").arg(page.join("tests/page.test.js"));
    let mut tally = Tally::default();
    for check in [&mut types, &mut lint, &mut units] {
        match cmd::run(check) {
            Ok(()) => tally.add(Tally::one_passed()),
            Err(error) => {
                eprintln!("{error:#}");
                tally.add(Tally::one_failed());
            }
        }
    }
    Ok(tally)
}

/// The checker of accessibility that the tests in a browser load.
pub(crate) fn axe() -> Result<PathBuf> {
    Ok(install()?.join("node_modules/axe-core/axe.min.js"))
}

fn page() -> PathBuf {
    project::root().join("collector/src/faces/page")
}

/// Installs what `package.json` lists, and returns where.
fn install() -> Result<PathBuf> {
    for program in ["node", "npm"] {
        if cmd::find(program).is_none() {
            bail!("{program} is missing: please install Node 20 or later");
        }
    }
    let tools = project::target().join("web");
    fs::create_dir_all(&tools).with_context(|| format!("make {}", tools.display()))?;
    let list = tools.join("package.json");
    fs::copy(page().join("package.json"), &list)
        .with_context(|| format!("write {}", list.display()))?;
    let quiet = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
    cmd::run(Command::new("npm").args(quiet).current_dir(&tools))?;
    Ok(tools)
}
