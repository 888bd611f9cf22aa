//! A headless Chromium, driven over its `DevTools` protocol.

use std::{
    env, fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, SysconfVar, sysconf},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    wait::{self, PATIENCE},
    websocket::WebSocket,
};

/// A browser with one page; killed on drop.
pub struct Browser {
    socket: WebSocket,
    session: String,
    calls: u64,
    /// What the page wrote to its console, and errors that nothing caught.
    console: Vec<String>,
    group: Group,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut command = Command::new("chromium-headless-shell");
        command.args(["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]);
        command.args(["--window-size=1280,900"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Chromium is several processes, which end together.
        command.process_group(0);
        let group = Group(command.spawn().context("start chromium-headless-shell")?);
        let file: PathBuf = profile.path().join("DevToolsActivePort");
        let address = wait::until("Chromium to listen", PATIENCE, || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines = text.split_once('\n').filter(|(_, path)| !path.is_empty());
            Ok(lines.map(|(port, path)| (format!("127.0.0.1:{port}"), path.trim().to_owned())))
        });
        let (address, path) = address?;
        let (session, console) = (String::new(), Vec::new());
        let socket = WebSocket::open_tcp(&address, &path, &[])?;
        let mut browser = Self { socket, session, calls: 0, console, group, _profile: profile };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let target = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target)?;
        let session = attached["sessionId"].as_str().context("no session")?;
        session.clone_into(&mut browser.session);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}))?;
        }
        Ok(browser)
    }

    /// Opens an address.
    pub fn open(&mut self, address: &str) -> Result<()> {
        let loaded = self.call("Page.navigate", json!({"url": address}))?;
        ensure!(loaded.get("errorText").is_none(), "{address}: {loaded}");
        Ok(())
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params)?;
        ensure!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true. What it asks about may not be there yet.
    pub fn until(&mut self, expression: &str) -> Result<()> {
        let mut last = None;
        let found = wait::until(expression, PATIENCE, || {
            let value = self.value(expression);
            let is_true = value.as_ref().is_ok_and(|value| *value == Value::Bool(true));
            last = Some(value);
            Ok(is_true.then_some(()))
        });
        found.with_context(|| format!("at last: {last:?}"))
    }

    /// Presses a key, such as `Enter` or `t`.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { key };
        let text = if text.chars().count() == 1 { text } else { "" };
        self.call("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": key, "text": text}))?;
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}))?;
        Ok(())
    }

    /// Types a text where the focus is.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({"text": text})).map(drop)
    }

    /// CPU seconds of all its processes so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let group = self.group.0.id().to_string();
        let mut ticks = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' '));
            let fields: Vec<&str> = fields.into_iter().flatten().collect();
            if fields.get(2) == Some(&group.as_str()) {
                let numbers = fields.iter().skip(11).take(2);
                ticks += numbers.filter_map(|number| number.parse::<u64>().ok()).sum::<u64>();
            }
        }
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
        Ok(ticks as f64 / per_second as f64)
    }

    /// Whether the person prefers dark colours.
    pub fn prefer_dark(&mut self, is_dark: bool) -> Result<()> {
        let value = if is_dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": value});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]})).map(drop)
    }

    /// CPU seconds of the page's main thread so far: scripts, layout and painting.
    pub fn main_thread_seconds(&mut self) -> Result<f64> {
        self.call("Performance.enable", json!({"timeDomain": "threadTicks"}))?;
        let answer = self.call("Performance.getMetrics", json!({}))?;
        let metrics = answer["metrics"].as_array().context("no metrics")?;
        let tasks = metrics.iter().find(|metric| metric["name"] == "TaskDuration");
        tasks.and_then(|metric| metric["value"].as_f64()).context("no duration of tasks")
    }

    /// What axe-core (`TARE_AXE`) finds wrong for people who do not use eyes or a mouse.
    pub fn accessibility(&mut self) -> Result<Vec<String>> {
        let path = env::var_os("TARE_AXE").context("TARE_AXE is not set: the file axe.min.js")?;
        self.value(&format!("{};1", fs::read_to_string(path)?))?;
        let run = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => \
                   violations.flatMap(({id, nodes}) => nodes.map((node) => \
                   id + ' ' + node.target.join(' ') + ': ' + node.failureSummary)))";
        let found: Vec<String> = serde_json::from_value(self.value(run)?)?;
        Ok(found)
    }

    /// What went wrong in the page, besides requests that failed.
    pub fn console(&mut self) -> Result<&[String]> {
        // Reads what has arrived.
        self.value("1")?;
        Ok(&self.console)
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let mut request = json!({"id": self.calls, "method": method, "params": params});
        if !self.session.is_empty() {
            request["sessionId"] = self.session.clone().into();
        }
        self.socket.send(&request.to_string())?;
        loop {
            let mut message = self.socket.message().context(method.to_owned())?;
            if message["id"] == self.calls {
                ensure!(message.get("error").is_none(), "{method}: {message}");
                return Ok(message["result"].take());
            }
            let is_noted = match message["method"].as_str() {
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled") => true,
                Some("Log.entryAdded") => message["params"]["entry"]["source"] != "network",
                _ => false,
            };
            if is_noted {
                self.console.push(message.to_string());
            }
        }
    }
}

/// All processes of a browser; killed on drop.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // They may have ended already.
        if let Ok(id) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}
