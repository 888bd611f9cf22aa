//! `OpenMetrics` text with times, for `promtool tsdb create-blocks-from openmetrics`.
//!
//! One instant comes after the other, so the points of a metric do not stand together, as the
//! standard wants it. A recording is too large to be sorted by metric; promtool does not need it.

use crate::{
    export::{archive::points::Lines, subject::Subject},
    exposition::{Digits, write_label},
};

pub(super) struct OpenMetrics;

impl Lines for OpenMetrics {
    const HEAD: &str = "";

    const TAIL: &str = "# EOF\n";

    fn add(&mut self, subject: &Subject<'_>, out: &mut Vec<u8>) {
        let milliseconds = subject.time.as_millisecond();
        let time = format!(" {}.{:03}\n", milliseconds / 1000, milliseconds.rem_euclid(1000));
        subject.for_each_number(|point| {
            point.write_name(out);
            out.push(b'{');
            let mut first = true;
            for (name, value) in subject.labels.iter().chain(point.labels) {
                write_label(out, &mut first, name, value);
            }
            out.extend_from_slice(b"} ");
            out.extend_from_slice(Digits::new().text(point.number).as_bytes());
            out.extend_from_slice(time.as_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;

    #[test]
    fn a_point_has_its_labels_and_its_time() {
        let mut out = Vec::new();
        fixture::with_container(|subject| OpenMetrics.add(subject, &mut out));
        let text = String::from_utf8(out).unwrap();
        let expected = "container_cpu_usage_seconds_total\
             {host=\"a host\",id=\"/docker/1\",name=\"web,1=x\",cpu=\"total\"} 1.5 1700000000.123";
        assert_eq!(text.lines().next(), Some(expected));
    }
}
