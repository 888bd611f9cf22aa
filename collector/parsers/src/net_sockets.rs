//! Sockets of a network namespace: `/proc/PID/net/{tcp,tcp6,udp,udp6}` and `sockstat`.

use serde::{Deserialize, Serialize};

use crate::text::{lines, number, words};

/// TCP sockets by state (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TcpStates {
    pub established: u64,
    pub syn_sent: u64,
    /// Also requests that the listening socket has not accepted yet.
    pub syn_recv: u64,
    pub fin_wait1: u64,
    pub fin_wait2: u64,
    pub time_wait: u64,
    pub close: u64,
    pub close_wait: u64,
    pub last_ack: u64,
    pub listen: u64,
    pub closing: u64,
}

/// UDP sockets and what is in their queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct UdpSockets {
    /// Sockets that have a port.
    pub sockets: u64,
    /// Memory of packets that are not sent yet.
    pub tx_queued_bytes: u64,
    /// Memory of packets that no one has received yet.
    pub rx_queued_bytes: u64,
    /// Packets that these sockets dropped. Falls when one is closed.
    pub dropped: u64,
}

/// How many sockets a network namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SocketCounts {
    /// TCP sockets with a port, without those of `time_wait`.
    pub tcp: Option<u64>,
    /// Those in `TIME_WAIT`, and in `FIN_WAIT2` without a process, of IPv4 and IPv6 together
    /// (`sockstat` only).
    pub time_wait: Option<u64>,
    /// UDP sockets with a port.
    pub udp: Option<u64>,
}

impl TcpStates {
    /// The names of the states as cAdvisor writes them, with their counts.
    pub fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("established", self.established),
            ("synsent", self.syn_sent),
            ("synrecv", self.syn_recv),
            ("finwait1", self.fin_wait1),
            ("finwait2", self.fin_wait2),
            ("timewait", self.time_wait),
            ("close", self.close),
            ("closewait", self.close_wait),
            ("lastack", self.last_ack),
            ("listen", self.listen),
            ("closing", self.closing),
        ]
    }

    fn of(&mut self, state: &[u8]) -> Option<&mut u64> {
        Some(match state {
            b"01" => &mut self.established,
            b"02" => &mut self.syn_sent,
            b"03" => &mut self.syn_recv,
            b"04" => &mut self.fin_wait1,
            b"05" => &mut self.fin_wait2,
            b"06" => &mut self.time_wait,
            b"07" => &mut self.close,
            b"08" => &mut self.close_wait,
            b"09" => &mut self.last_ack,
            b"0A" => &mut self.listen,
            b"0B" => &mut self.closing,
            _ => return None,
        })
    }
}

/// Parses a `/proc/PID/net/tcp` or `tcp6` (`net/ipv4/tcp_ipv4.c`, `tcp4_seq_show`). `None` if a
/// line is anything else.
pub fn parse_tcp(text: &[u8]) -> Option<TcpStates> {
    const STATE: usize = 3;
    let mut states = TcpStates::default();
    for line in lines(text).skip(1) {
        *states.of(words(line).nth(STATE)?)? += 1;
    }
    Some(states)
}

/// Parses a `/proc/PID/net/udp` or `udp6` (`net/ipv4/udp.c`, `udp4_format_sock`). `None` if a line
/// is anything else.
pub fn parse_udp(text: &[u8]) -> Option<UdpSockets> {
    const QUEUES: usize = 4;
    /// Counted from the queues on.
    const DROPS: usize = 7;
    let mut sum = UdpSockets::default();
    for line in lines(text).skip(1) {
        let mut words = words(line).skip(QUEUES);
        let mut queues = words.next()?.split(|byte| *byte == b':').map(hexadecimal);
        sum.sockets += 1;
        sum.tx_queued_bytes = sum.tx_queued_bytes.saturating_add(queues.next()??);
        sum.rx_queued_bytes = sum.rx_queued_bytes.saturating_add(queues.next()??);
        sum.dropped = sum.dropped.saturating_add(number(words.nth(DROPS)?)?);
    }
    Some(sum)
}

/// Parses a `/proc/PID/net/sockstat` or, with the suffix `6`, a `sockstat6` (`net/ipv4/proc.c`,
/// `sockstat_seq_show`).
pub fn parse_sockstat(text: &[u8], suffix: &str) -> SocketCounts {
    let after = |protocol: &str| {
        let line = lines(text).find_map(|line| {
            let rest = line.strip_prefix(protocol.as_bytes())?.strip_prefix(suffix.as_bytes())?;
            rest.strip_prefix(b":")
        })?;
        Some(words(line).collect::<Vec<_>>())
    };
    let named = |line: &Option<Vec<&[u8]>>, name: &str| {
        let line = line.as_ref()?;
        let place = line.iter().position(|word| *word == name.as_bytes())?;
        number(line.get(place + 1)?)
    };
    let (tcp, udp) = (after("TCP"), after("UDP"));
    SocketCounts {
        tcp: named(&tcp, "inuse"),
        time_wait: named(&tcp, "tw"),
        udp: named(&udp, "inuse"),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` takes a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(text)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TCP: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n   \
        0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0\n  \
        1: 0100007F:07E8 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0\n  \
        2: 0100007F:C350 0100007F:07E8 06 00000000:00000000 03:000009A1 00000000     0        0\n";
    const UDP: &[u8] = b"   sl  local_address rem_address   st tx_queue rx_queue\n 1512: \
        00000000:14E9 00000000:0000 07 00000300:00000A00 00:00000000 00000000 0 0 11 2 00000000a 7\n\
        1513: 00000000:14EA 00000000:0000 07 00000000:00000010 00:00000000 00000000 0 0 12 2 0 5\n";

    #[test]
    fn sockets_are_counted_by_state() {
        let expected =
            TcpStates { listen: 1, established: 1, time_wait: 1, ..TcpStates::default() };
        assert_eq!(parse_tcp(TCP), Some(expected));
        assert_eq!(expected.named().iter().map(|(_, count)| count).sum::<u64>(), 3);
        assert_eq!(parse_tcp(b"head\n"), Some(TcpStates::default()));
        assert_eq!(parse_tcp(b"head\n 0: a b 0C\n"), None);
        assert_eq!(parse_tcp(b"head\n 0: a b\n"), None);
    }

    #[test]
    fn queues_and_drops_are_added_up() {
        let expected =
            UdpSockets { sockets: 2, tx_queued_bytes: 0x300, rx_queued_bytes: 0xa10, dropped: 12 };
        assert_eq!(parse_udp(UDP), Some(expected));
        assert_eq!(parse_udp(b"head\n 1: a b 07 +1:0 0 0 0 0 1 2 3 4\n"), None);
    }

    #[test]
    fn counts_of_the_namespace_have_a_name_before_them() {
        let text =
            b"sockets: used 18\nTCP: inuse 3 orphan 0 tw 2 alloc 9 mem 3\nUDP: inuse 4 mem 1\n\
            UDPLITE: inuse 7\n";
        let expected = SocketCounts { tcp: Some(3), time_wait: Some(2), udp: Some(4) };
        assert_eq!(parse_sockstat(text, ""), expected);
        let expected = SocketCounts { tcp: Some(1), time_wait: None, udp: None };
        assert_eq!(parse_sockstat(b"TCP6: inuse 1\nUDPLITE6: inuse 3\n", "6"), expected);
        assert_eq!(parse_sockstat(text, "6"), SocketCounts::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>) {
            parse_tcp(&text);
            parse_udp(&text);
            parse_sockstat(&text, "6");
        }

        #[test]
        fn any_table_is_accepted(text in "(TCP|6|:|inuse|tw|0A|0B|[0-9A-F]{1,17}| |\n)*") {
            parse_tcp(text.as_bytes());
            parse_udp(text.as_bytes());
            parse_sockstat(text.as_bytes(), "");
        }
    }
}
