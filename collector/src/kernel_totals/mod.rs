//! The kernel's own totals, which the reconcilers compare with what our programs counted.

mod diskstats;
mod retransmits;

pub use self::{
    diskstats::Diskstats,
    retransmits::{Rounding, read_retransmits},
};
pub use crate::parsers::diskstats::{Completed, DiskTotals};
