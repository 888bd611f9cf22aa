//! Lines as they are sent.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;
use crate::export::fixture;

#[test]
fn points_of_a_family_with_the_same_labels_share_a_line() {
    let mut lines = Lines::default();
    assert_eq!(fixture::add_container(&mut lines), 4);
    let payload = lines.finish().unwrap();
    let mut text = String::new();
    GzDecoder::new(&payload[..]).read_to_string(&mut text).unwrap();
    let tags = "host=a\\ host,id=/docker/1,name=web\\,1\\=x";
    let time = "1700000000123456789";
    let expected = format!(
        "tare_cpu,{tags},cpu=total container_cpu_usage_seconds_total=1.5 {time}\n\
         tare_cpu,{tags} container_cpu_user_seconds_total=1.0,container_cpu_system_seconds_total=0.5 {time}\n\
         tare_memory,{tags} container_memory_usage_bytes=4096 {time}\n"
    );
    assert_eq!(text, expected);
    assert_eq!(lines.len(), 0);
}

#[test]
fn what_would_end_a_tag_is_escaped() {
    let escaped = |text| {
        let mut out = Vec::new();
        write_escaped(&mut out, text);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(escaped("a,b=c d\ne"), "a\\,b\\=c\\ d\\ e");
    assert_eq!(escaped("a\\b\\"), "a\\b\\\\ ");
}

#[test]
fn a_database_or_a_bucket_is_needed() {
    let sink = fixture::sink("influx+http://localhost");
    let made = |url| make(&sink, &SinkUrl::parse(url).unwrap());
    assert!(made("influx+http://localhost?db=a").is_ok());
    assert!(made("influx+http://localhost?org=o&bucket=b").is_ok());
    assert!(made("influx+http://localhost").is_err());
    assert!(made("influx+http:?db=a").is_err());
}
