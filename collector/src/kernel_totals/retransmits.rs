//! The kernel's own count of TCP segments sent again, for each network namespace.

use std::{fs, path::Path};

use tare_parsers::text::{lines, number, words};

use crate::{
    cgroup::{ReadError, error::is_gone},
    network::{NamespaceId, namespace_of},
};

/// Which table is read first, where something may happen between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// At most too many segments.
    Up,
    /// At most too few.
    Down,
}

/// Segments sent again in a process's network namespace since that was made, without SYNs,
/// SYN-ACKs and those that could not be sent; `None` if the process ended or is elsewhere.
///
/// `RetransSegs` has all of these. The tracepoint `tcp_retransmit_skb` is for no SYN-ACK and for
/// nothing that failed (`tcp_rtx_synack` and `__tcp_retransmit_skb`, `net/ipv4/tcp_output.c`), and
/// SYN-ACKs have no count of their own, only one together with SYNs.
///
/// # Errors
///
/// If a table cannot be read.
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

/// Reads the texts of `/proc/PID/net/snmp` and `/proc/PID/net/netstat` (`net/ipv4/proc.c`).
pub fn parse_retransmits(snmp: &[u8], netstat: &[u8]) -> Option<u64> {
    let all = field(snmp, b"Tcp:", b"RetransSegs")?;
    let opening = field(netstat, b"TcpExt:", b"TCPSynRetrans")?;
    let failed = field(netstat, b"TcpExt:", b"TCPRetransFail")?;
    Some(all.saturating_sub(opening).saturating_sub(failed))
}

/// A number of a table whose line of names comes before its line of numbers.
fn field(text: &[u8], table: &[u8], name: &[u8]) -> Option<u64> {
    let mut rows = lines(text).filter_map(|line| {
        let mut words = words(line);
        (words.next()? == table).then_some(words)
    });
    let place = rows.next()?.position(|found| found == name)?;
    number(rows.next()?.nth(place)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SNMP: &[u8] = b"Ip: Forwarding RetransSegs\nIp: 1 5\n\
        Tcp: RtoAlgorithm MaxConn RetransSegs InErrs\nTcp: 1 -1 230 7\nUdp: InDatagrams\nUdp: 9\n";
    const NETSTAT: &[u8] = b"TcpExt: SyncookiesSent TCPRetransFail TCPSynRetrans\n\
        TcpExt: 4 3 20\nIpExt: InNoRoutes\nIpExt: 0\n";

    #[test]
    fn what_the_tracepoint_does_not_tell_is_left_out() {
        assert_eq!(parse_retransmits(SNMP, NETSTAT), Some(207));
    }

    #[test]
    fn a_missing_number_is_unknown() {
        assert_eq!(parse_retransmits(b"", NETSTAT), None);
        assert_eq!(parse_retransmits(SNMP, b"TcpExt: TCPSynRetrans\nTcpExt: 20\n"), None);
        assert_eq!(parse_retransmits(b"Tcp: A RetransSegs\nTcp: 1\n", NETSTAT), None);
    }

    #[test]
    fn this_kernel_has_the_tables() {
        let own = namespace_of(Path::new("/proc"), std::process::id()).unwrap().unwrap();
        let read = |pid, namespace| {
            read_retransmits(Path::new("/proc"), pid, namespace, Rounding::Down).unwrap()
        };
        assert!(read(std::process::id(), own).is_some());
        assert_eq!(read(std::process::id(), NamespaceId(1)), None);
        assert_eq!(read(u32::MAX, own), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(snmp: Vec<u8>, netstat: Vec<u8>) {
            parse_retransmits(&snmp, &netstat);
        }

        #[test]
        fn any_tables_are_taken(text in "(Tcp:|TcpExt:|RetransSegs|[0-9]{1,21}| |\n)*") {
            parse_retransmits(text.as_bytes(), text.as_bytes());
        }
    }
}
