//! `/proc/PID/net/dev`.

use std::str;

use serde::{Deserialize, Serialize};

use crate::text::{lines, number, words};

/// The counters of the network devices of a namespace by name, without `lo`.
pub type Interfaces = Vec<(String, InterfaceCounters)>;

/// How many numbers of a line are parsed.
const FIELDS: usize = 12;

/// Counters of a network device since it was made, from the view of its namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct InterfaceCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets dropped on receipt, including `rx_missed_errors` (`net/core/net-procfs.c`,
    /// `dev_seq_printf_stats`).
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Failures to send.
    pub tx_errors: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
}

/// Parses `/proc/PID/net/dev` into `out`, whose memory is reused. `lo` is left out.
///
/// A name ends at the colon. There may be no space after it.
pub fn parse_net_dev(text: &[u8], out: &mut Interfaces) {
    let mut length = 0;
    for (name, counters) in lines(text).filter_map(parse_line).filter(|(name, _)| *name != "lo") {
        match out.get_mut(length) {
            Some((known, slot)) => {
                if known != name {
                    known.clear();
                    known.push_str(name);
                }
                *slot = counters;
            }
            None => out.push((name.to_owned(), counters)),
        }
        length += 1;
    }
    out.truncate(length);
}

fn parse_line(line: &[u8]) -> Option<(&str, InterfaceCounters)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(line[..colon].trim_ascii()).ok().filter(|name| !name.is_empty())?;
    let mut fields = words(&line[colon + 1..]);
    let mut numbers = [0; FIELDS];
    for slot in &mut numbers {
        *slot = number(fields.next()?)?;
    }
    let [
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    ] = numbers;
    let counters = InterfaceCounters {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    };
    Some((name, counters))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 176703367    6154    1    2    9     9          9         9   351211    3719    3    4    9     9       9          9
";

    fn parse(text: &str) -> Interfaces {
        let mut out = Vec::new();
        parse_net_dev(text.as_bytes(), &mut out);
        out
    }

    #[test]
    fn every_device_but_the_loopback_is_read() {
        let eth0 = InterfaceCounters {
            rx_bytes: 176_703_367,
            rx_packets: 6154,
            rx_errors: 1,
            rx_dropped: 2,
            tx_bytes: 351_211,
            tx_packets: 3719,
            tx_errors: 3,
            tx_dropped: 4,
        };
        let expected =
            [("ifb0".to_owned(), InterfaceCounters::default()), ("eth0".to_owned(), eth0)];
        assert_eq!(parse(TABLE), expected);
    }

    #[test]
    fn a_name_may_touch_its_first_number() {
        let read = parse(
            "eth0.100@x:123 2 3 4 5 6 7 8 9 10 11 12\nshort: 1 2 3\n: 1 2 3 4 5 6 7 8 9 10 11 12\n",
        );
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].0.as_str(), read[0].1.rx_bytes), ("eth0.100@x", 123));
    }

    #[test]
    fn the_last_table_is_overwritten_in_place() {
        let mut out = parse(TABLE);
        let name = out[0].0.as_ptr();
        parse_net_dev(b"ifb0: 5 2 3 4 5 6 7 8 9 10 11 12\n", &mut out);
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].0.as_ptr(), out[0].1.rx_bytes), (name, 5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>) {
            parse_net_dev(&text, &mut vec![("eth0".to_owned(), InterfaceCounters::default())]);
        }

        #[test]
        fn any_numbers_are_accepted(text in "([a-z]{0,3}:| |[0-9]{1,21}|\n|\\|)*") {
            parse(&text);
        }
    }
}
