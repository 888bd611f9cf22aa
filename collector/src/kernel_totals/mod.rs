//! The kernel's own totals, which the reconcilers compare with what our programs counted.

pub mod diskstats;
pub mod retransmits;

pub use diskstats::{Completed, DiskTotals, Diskstats};
pub use retransmits::{Rounding, read_retransmits};
