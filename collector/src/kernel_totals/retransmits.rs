//! TCP segments that the kernel retransmitted, by network namespace.

use std::{fs, path::Path};

use tare_parsers::net_snmp::parse_retransmits;

use crate::{
    cgroup::{ReadError, error::is_gone},
    network::{NamespaceId, namespace_of},
};

/// In which direction the count may be wrong, because the two files are not read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The count may be too high.
    Up,
    /// The count may be too low.
    Down,
}

/// Reads the TCP segments that a process's network namespace retransmitted since it was made,
/// without SYNs, SYN-ACKs and segments that could not be sent. `None` if the process ended or is in
/// another namespace.
///
/// These are the segments that the tracepoint `tcp_retransmit_skb` reports: it is called neither
/// for SYN-ACKs nor for segments that could not be sent (`net/ipv4/tcp_output.c`, `tcp_rtx_synack`
/// and `__tcp_retransmit_skb`).
///
/// # Errors
///
/// If a file cannot be read.
pub fn read_retransmits(
    proc_root: &Path,
    pid: u32,
    namespace: NamespaceId,
    rounding: Rounding,
) -> Result<Option<u64>, ReadError> {
    let process = proc_root.join(pid.to_string());
    let read = |name: &str| {
        let path = process.join("net").join(name);
        match fs::read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(ReadError::from_io(&path, error)),
        }
    };
    let (snmp, netstat) = match rounding {
        // What is subtracted is read first.
        Rounding::Up => {
            let netstat = read("netstat")?;
            (read("snmp")?, netstat)
        }
        Rounding::Down => (read("snmp")?, read("netstat")?),
    };
    if namespace_of(proc_root, pid)? != Some(namespace) {
        return Ok(None);
    }
    Ok(snmp.zip(netstat).and_then(|(snmp, netstat)| parse_retransmits(&snmp, &netstat)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_the_counters() {
        let own = namespace_of(Path::new("/proc"), std::process::id()).unwrap().unwrap();
        let read = |pid, namespace| {
            read_retransmits(Path::new("/proc"), pid, namespace, Rounding::Down).unwrap()
        };
        assert!(read(std::process::id(), own).is_some());
        assert_eq!(read(std::process::id(), NamespaceId(1)), None);
        assert_eq!(read(u32::MAX, own), None);
    }
}
