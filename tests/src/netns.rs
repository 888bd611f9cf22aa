//! The network of a container, from outside and from inside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{docker::Container, process::output, wait::PATIENCE};

/// The network namespace of a running container.
#[derive(Clone, Debug)]
pub struct Netns {
    pid: String,
}

impl Netns {
    /// Of this container, which must run.
    pub fn of(container: &Container) -> Result<Self> {
        let pid = container.pid()?;
        ensure!(pid != "0", "{} does not run", container.name());
        Ok(Self { pid })
    }

    /// Runs `PROGRAM ARGS…` of the host in it; arguments are separated by spaces.
    pub fn run(&self, command: &str) -> Result<String> {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--net", "--target", &self.pid]).args(command.split_whitespace());
        output(nsenter, PATIENCE)
    }

    /// Its inode number.
    pub fn inode(&self) -> Result<String> {
        let link = PathBuf::from("/proc").join(&self.pid).join("ns/net");
        let link = fs::read_link(&link).with_context(|| link.display().to_string())?;
        Ok(link.display().to_string())
    }

    /// MAC address of a device.
    pub fn mac(&self, device: &str) -> Result<String> {
        let link = self.run(&format!("ip -o link show dev {device}"))?;
        let mac = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        mac.map(str::to_owned).with_context(|| format!("no MAC address: {link}"))
    }

    /// Name of the host's end of `eth0`.
    pub fn host_end(&self) -> Result<String> {
        let link = self.run("ip -o link show dev eth0")?;
        // `5: eth0@if6: …`
        let index = link.split_once("@if").and_then(|(_, rest)| rest.split_once(':'));
        let (index, _) = index.with_context(|| format!("no other end: {link}"))?;
        for entry in fs::read_dir("/sys/class/net").context("/sys/class/net")? {
            let path = entry?.path();
            let found = fs::read_to_string(path.join("ifindex")).unwrap_or_default();
            if found.trim() == index {
                let name = path.file_name().and_then(|name| name.to_str());
                return name.map(str::to_owned).context("a device's name");
            }
        }
        anyhow::bail!("the host has no device {index}")
    }

    /// Keeps the kernel's own IPv6 messages from the host's end of `eth0` and its bridge, so that
    /// nothing is on the wire but what the test sends.
    pub fn silence_host_end(&self) -> Result<()> {
        let end = self.host_end()?;
        let bridge = fs::read_link(format!("/sys/class/net/{end}/master"));
        let bridge = bridge.context("the bridge")?;
        let bridge = bridge.file_name().and_then(|name| name.to_str()).context("its name")?;
        for device in [end.as_str(), bridge] {
            let switch = Path::new("/proc/sys/net/ipv6/conf").join(device).join("disable_ipv6");
            fs::write(&switch, "1").with_context(|| switch.display().to_string())?;
        }
        Ok(())
    }
}

/// Enters two containers into each other's neighbour tables, so that no ARP is needed.
pub fn introduce(a: &Container, b: &Container) -> Result<()> {
    for (from, to) in [(a, b), (b, a)] {
        let (mac, address) = (Netns::of(to)?.mac("eth0")?, to.address()?);
        let add = format!("ip neigh replace {address} lladdr {mac} dev eth0 nud permanent");
        Netns::of(from)?.run(&add)?;
    }
    Ok(())
}
