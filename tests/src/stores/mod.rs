//! Real receivers that keep numbers, and what they have kept.

mod influxdb;
mod prometheus;

use std::collections::BTreeMap;

pub use self::{
    influxdb::InfluxDb,
    prometheus::{Prometheus, promtool},
};

/// Times in the receiver's own unit since 1970, and values.
pub type Values = Vec<(i64, f64)>;

/// What a receiver has of one metric, by the names of containers.
pub type Stored = BTreeMap<String, Values>;
