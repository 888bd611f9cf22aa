//! `/proc/PID/net/snmp` and `/proc/PID/net/netstat`.

use crate::text::{lines, number, words};

/// Parses the TCP segments that a network namespace retransmitted, without SYNs, SYN-ACKs and
/// segments that could not be sent, from its `snmp` and `netstat` (`net/ipv4/proc.c`).
///
/// `RetransSegs` includes all of them. SYN-ACKs have no counter of their own: `TCPSynRetrans` is
/// of SYNs and SYN-ACKs together. `None` if one of the three counters is missing.
pub fn parse_retransmits(snmp: &[u8], netstat: &[u8]) -> Option<u64> {
    let all = field(snmp, b"Tcp:", b"RetransSegs")?;
    let opening = field(netstat, b"TcpExt:", b"TCPSynRetrans")?;
    let failed = field(netstat, b"TcpExt:", b"TCPRetransFail")?;
    Some(all.saturating_sub(opening).saturating_sub(failed))
}

/// Parses all TCP counters that a network namespace has in its `snmp` and `netstat`, in the order
/// of the files. `MaxConn` may be -1. Names without a number are left out.
pub fn parse_tcp_counters(snmp: &[u8], netstat: &[u8]) -> Vec<(String, i64)> {
    let mut counters = Vec::new();
    for (text, table) in [(snmp, b"Tcp:".as_slice()), (netstat, b"TcpExt:")] {
        let mut rows = lines(text).filter(|line| words(line).next() == Some(table));
        let (Some(names), Some(values)) = (rows.next(), rows.next()) else { continue };
        let pairs = words(names).zip(words(values)).skip(1);
        counters.extend(pairs.filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            let value = std::str::from_utf8(value).ok()?.parse().ok()?;
            Some((name.to_owned(), value))
        }));
    }
    counters
}

/// The value of a field in a table, which has a line of names followed by a line of numbers.
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
    fn syns_and_failed_segments_are_subtracted() {
        assert_eq!(parse_retransmits(SNMP, NETSTAT), Some(207));
    }

    #[test]
    fn tcp_counters_of_both_files_have_their_names() {
        let expected = [
            ("RtoAlgorithm", 1),
            ("MaxConn", -1),
            ("RetransSegs", 230),
            ("InErrs", 7),
            ("SyncookiesSent", 4),
            ("TCPRetransFail", 3),
            ("TCPSynRetrans", 20),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(parse_tcp_counters(SNMP, NETSTAT), expected);
        assert_eq!(parse_tcp_counters(b"Tcp: A B\nTcp: x 3\n", b"TcpExt: A\n").len(), 1);
    }

    #[test]
    fn a_missing_number_is_unknown() {
        assert_eq!(parse_retransmits(b"", NETSTAT), None);
        assert_eq!(parse_retransmits(SNMP, b"TcpExt: TCPSynRetrans\nTcpExt: 20\n"), None);
        assert_eq!(parse_retransmits(b"Tcp: A RetransSegs\nTcp: 1\n", NETSTAT), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(snmp: Vec<u8>, netstat: Vec<u8>) {
            parse_retransmits(&snmp, &netstat);
            parse_tcp_counters(&snmp, &netstat);
        }

        #[test]
        fn any_tables_are_accepted(text in "(Tcp:|TcpExt:|RetransSegs|[0-9]{1,21}| |\n)*") {
            parse_retransmits(text.as_bytes(), text.as_bytes());
            parse_tcp_counters(text.as_bytes(), text.as_bytes());
        }
    }
}
