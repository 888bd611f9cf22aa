//! Network namespaces, and a pair of veth devices between two of them.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tare_tests::{
    process::{Process, output},
    wait::{self, PATIENCE},
};

/// The name of each namespace's device, as in a container.
pub(crate) const DEVICE: &str = "eth0";

/// What every Ethernet frame has before its IP packet.
pub(crate) const ETHERNET: u64 = 14;

/// Longer than the kernel takes to announce a new device's addresses.
const QUIET: Duration = Duration::from_millis(1500);

/// Counters of a device as `/proc/net/dev` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

impl Device {
    /// Growth since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes - earlier.rx_bytes,
            rx_packets: self.rx_packets - earlier.rx_packets,
            tx_bytes: self.tx_bytes - earlier.tx_bytes,
            tx_packets: self.tx_packets - earlier.tx_packets,
        }
    }

    /// A device of the namespace of a process.
    pub(crate) fn of(pid: &str, name: &str) -> Result<Self> {
        let file = format!("/proc/{pid}/net/dev");
        let text = fs::read_to_string(&file).context(file)?;
        let line =
            text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
        let line = line.with_context(|| format!("no {name} in {text}"))?;
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let numbers = numbers.with_context(|| line.to_owned())?;
        let at = |i: usize| numbers.get(i).copied().context("too few columns");
        Ok(Self { rx_bytes: at(0)?, rx_packets: at(1)?, tx_bytes: at(8)?, tx_packets: at(9)? })
    }
}

/// A network namespace, kept by a process that sleeps in it.
pub(crate) struct Namespace(Process);

impl Namespace {
    /// Makes it.
    pub(crate) fn new() -> Result<Self> {
        let mut command = Command::new("/bin/unshare");
        command.args(["-n", "sleep", "1000"]);
        let holder = Process::spawn(command)?;
        let own = fs::read_link("/proc/self/ns/net")?;
        let link = format!("/proc/{}/ns/net", holder.id());
        wait::until("a new network namespace", PATIENCE, || {
            Ok(fs::read_link(&link).ok().filter(|found| *found != own))
        })?;
        Ok(Self(holder))
    }

    /// Makes one whose device has its other end on the machine, under this name. The link carries
    /// nothing and is removed with the namespace.
    pub(crate) fn wired(end: &str) -> Result<Self> {
        let made = Self::new()?;
        let own = std::process::id();
        made.sh(&format!(
            "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
             ip link add {DEVICE} type veth
             ip link set veth0 netns {own}
             ip link set {DEVICE} up"
        ))?;
        sh(&format!(
            "ip link set veth0 name {end}
             echo 1 >/proc/sys/net/ipv6/conf/{end}/disable_ipv6
             ip link set {end} up"
        ))?;
        Ok(made)
    }

    /// The process that keeps it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its device's counters.
    pub(crate) fn device(&self) -> Result<Device> {
        Device::of(&self.id().to_string(), DEVICE)
    }

    /// Runs a shell command in it.
    pub(crate) fn sh(&self, script: &str) -> Result<()> {
        let mut command = Command::new("/bin/nsenter");
        command.args(["-t", &self.id().to_string(), "-n", "/bin/sh", "-ec", script]);
        output(command, PATIENCE).map(drop)
    }
}

/// Runs a shell command on the machine.
pub(crate) fn sh(script: &str) -> Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script]);
    output(command, PATIENCE).map(drop)
}

/// Two namespaces with a wire between them and addresses 10.0.0.1, 10.0.0.2, `fd00::1`, `fd00::2`.
///
/// Both ends have the same hardware address and need no neighbour discovery: once the devices are
/// up, the link carries nothing but the loads.
pub(crate) fn pair() -> Result<[Namespace; 2]> {
    let both = [Namespace::new()?, Namespace::new()?];
    let [a, b] = &both;
    // With busybox, the kernel chooses the name of the other end.
    a.sh(&format!("ip link add {DEVICE} type veth && ip link set veth0 netns {}", b.id()))?;
    b.sh(&format!("ip link set veth0 name {DEVICE}"))?;
    for (namespace, last) in [(a, 1), (b, 2)] {
        namespace.sh(&format!(
            "ip link set lo up
             echo 0 >/proc/sys/net/ipv6/conf/{DEVICE}/accept_dad
             echo 0 >/proc/sys/net/ipv6/conf/{DEVICE}/router_solicitations
             ip link set {DEVICE} address 02:00:00:00:00:01
             ip link set {DEVICE} arp off
             ip link set {DEVICE} up
             ip addr add 10.0.0.{last}/24 dev {DEVICE}
             ip addr add fd00::{last}/64 dev {DEVICE}"
        ))?;
    }
    until_quiet(a)?;
    Ok(both)
}

/// Two namespaces with addresses 10.0.0.1 and 10.0.0.2. The first has a wire to the machine, the
/// second a device of this kind on the machine's end.
///
/// All have the same hardware address where possible, and need no neighbour discovery. Packets of
/// an ipvlan device (mode L3) are routed by the machine.
pub(crate) fn pair_over(kind: &str) -> Result<[Namespace; 2]> {
    let end = format!("to-{kind}");
    let both = [Namespace::wired(&end)?, Namespace::new()?];
    let [a, b] = &both;
    a.sh(&format!(
        "ip link set {DEVICE} down
         ip link set {DEVICE} address 02:00:00:00:00:01
         ip link set {DEVICE} arp off
         ip link set {DEVICE} up
         ip addr add 10.0.0.1/24 dev {DEVICE}"
    ))?;
    let [outer, inner] = match kind {
        "ipvlan" => [format!("ip link set {end} address 02:00:00:00:00:01"), String::new()],
        _ => [String::new(), format!("ip link set {DEVICE} address 02:00:00:00:00:01")],
    };
    sh(&format!(
        "ip link set {end} down
         {outer}
         ip link set {end} arp off
         ip link set {end} up
         ip route replace 10.0.0.0/24 dev {end}
         ip link add link {end} name over0 type {kind}
         ip link set over0 netns {}",
        b.id()
    ))?;
    b.sh(&format!(
        "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
         ip link set over0 name {DEVICE}
         echo 1 >/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6
         {inner}
         ip link set {DEVICE} arp off
         ip link set {DEVICE} up
         ip addr add 10.0.0.2/24 dev {DEVICE}"
    ))?;
    until_quiet(a)?;
    Ok(both)
}

/// Waits until the kernel has sent its own packets for a new device.
pub(crate) fn until_quiet(namespace: &Namespace) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let (mut last, mut since) = (namespace.device()?, Instant::now());
    while since.elapsed() < QUIET {
        sleep(Duration::from_millis(100));
        let now = namespace.device()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if Instant::now() > end {
            bail!("the wire does not become quiet");
        }
    }
    Ok(())
}
