//! Reports the state of the daemon to the init system: `sd_notify(3)`.
//!
//! Ours, because the crate `sd-notify` (0.5) does not know abstract sockets, which a container
//! manager may hand over.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// The daemon is ready, or has reloaded its configuration.
pub(super) const READY: &str = "READY=1";

/// The daemon ends.
pub(super) const STOPPING: &str = "STOPPING=1";

/// The daemon is not stuck.
pub(super) const WATCHDOG: &str = "WATCHDOG=1";

/// Reports a state, if the init system wants reports.
pub(super) fn notify(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket.to_string_lossy(), state) {
        tracing::warn!(%error, "cannot report to the init system: {state}");
    }
}

/// Reports that the configuration is read again; [`READY`] must follow.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let microseconds = now.map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000);
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
}

/// How often to report [`WATCHDOG`]: twice within the time that the init system allows. `None` if
/// it wants no such reports.
pub(super) fn watchdog() -> Option<Duration> {
    let for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let microseconds: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && microseconds > 1).then(|| Duration::from_micros(microseconds) / 2)
}

fn send(socket: &str, state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_sockets_are_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("tare-test-notify-{}", std::process::id());
        let hidden = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&hidden).unwrap(), format!("@{name}")),
        ] {
            send(&address, READY).unwrap();
            let mut received = [0; 64];
            let length = listener.recv(&mut received).unwrap();
            assert_eq!(&received[..length], READY.as_bytes());
        }
        assert!(send("/nonexistent/socket", READY).is_err());
    }
}
