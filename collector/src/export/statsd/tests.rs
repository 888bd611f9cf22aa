//! Lines and datagrams.

use super::*;
use crate::export::{Encoder as _, fixture};

#[test]
fn a_point_is_a_gauge_with_tags() {
    let mut lines = Lines::new(FORMAT);
    assert_eq!(fixture::add_container(&mut lines), 4);
    let text = String::from_utf8(lines.finish().unwrap().to_vec()).unwrap();
    let first =
        "container_cpu_usage_seconds_total:1.5|g|#host:a host,id:/docker/1,name:web_1=x,cpu:total";
    assert_eq!(text.lines().next(), Some(first));
}

#[tokio::test]
async fn a_datagram_fills_a_packet_of_the_network() {
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let socket = udp("127.0.0.1", port).await.unwrap();
    // The loopback device has packets of 64 KiB.
    assert_eq!(udp_bytes(&socket), DATAGRAM_BYTES_MAX);
}

#[test]
fn datagrams_hold_whole_lines() {
    let split = |text: &'static str, max| {
        let parts = datagrams(text.as_bytes(), max);
        parts.map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(split("ab\ncd\nef\n", 6), ["ab\ncd\n", "ef\n"]);
    assert_eq!(split("ab\ncd\nef\n", 8), ["ab\ncd\n", "ef\n"]);
    assert_eq!(split("abcdefgh\nij\n", 4), ["abcdefgh\n", "ij\n"]);
    assert_eq!(split("ab\n", 100), ["ab\n"]);
    assert!(split("", 4).is_empty());
}
