//! The kernel's own totals, which the reconcilers compare with what our programs counted.

mod diskstats;
mod retransmits;

pub use tare_parsers::diskstats::{Completed, DiskTotals};

pub use self::{
    diskstats::Diskstats,
    retransmits::{Rounding, read_retransmits},
};
