//! From readings of pressure to the contract.

use tare_model::Pressure;
use tare_parsers::pressure;

use crate::families::units::microseconds;

/// Pressure of one resource.
pub fn report(read: pressure::Pressure) -> Pressure {
    let pressure::Pressure { some, full } = read;
    let percent = |hundredths: Option<u16>| hundredths.map(|value| f64::from(value) / 100.0);
    Pressure {
        some_seconds: some.total_microseconds.map(microseconds),
        full_seconds: full.total_microseconds.map(microseconds),
        some_avg10_percent: percent(some.avg10),
        some_avg60_percent: percent(some.avg60),
        some_avg300_percent: percent(some.avg300),
        full_avg10_percent: percent(full.avg10),
        full_avg60_percent: percent(full.avg60),
        full_avg300_percent: percent(full.avg300),
    }
}
