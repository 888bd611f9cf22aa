//! `/proc/diskstats`: I/O that each block device completed, whichever cgroup it is charged to.
//!
//! The kernel counts a request when it completes (`block/blk-mq.c`, `blk_account_io_completion`
//! and `blk_account_io_done`). The counters of all cgroups must add up to it.

use std::path::Path;

use tare_parsers::diskstats::{DiskTotals, parse_diskstats};

use crate::cgroup::{KeptFile, ReadError};

/// A line has a name of at most 31 bytes and 20 numbers (`block/genhd.c`, `diskstats_show`).
const LINE_BYTES_MAX: usize = 512;

/// `/proc/diskstats`, kept open.
#[derive(Debug)]
pub struct Diskstats(Option<KeptFile>);

impl Diskstats {
    /// Opens the file in a `/proc`. If it does not exist, there are no devices.
    ///
    /// # Errors
    ///
    /// If it exists but cannot be opened.
    pub fn open(proc_root: &Path) -> Result<Self, ReadError> {
        KeptFile::open(&proc_root.join("diskstats")).map(Self)
    }

    /// Reads the counters of all disks and partitions into `out`, whose memory is reused.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read(&self, buffer: &mut Vec<u8>, out: &mut Vec<DiskTotals>) -> Result<(), ReadError> {
        out.clear();
        if let Some(file) = &self.0 {
            parse_diskstats(file.read_records(buffer, LINE_BYTES_MAX)?, out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_this_kernel_is_parsed() {
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        Diskstats::open(Path::new("/proc")).unwrap().read(&mut buffer, &mut out).unwrap();
        let text = std::fs::read_to_string("/proc/diskstats").unwrap();
        assert_eq!(out.len(), text.lines().count());
    }
}
