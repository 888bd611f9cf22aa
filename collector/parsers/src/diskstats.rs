//! `/proc/diskstats`.

use crate::{
    io::Device,
    text::{lines, number, words},
};

/// The unit of lengths, whatever the sector size of the device.
const SECTOR_BYTES: u64 = 512;

/// I/O that a device completed since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Reads, writes and discards, failed ones included. Flushes of the device itself are not.
    pub ops: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// The counters of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskTotals {
    /// The disk or partition.
    pub device: Device,
    /// I/O that it completed.
    pub completed: Completed,
    /// Requests in progress. On some kernels they include requests that wait for the driver.
    pub in_progress: u64,
}

/// Parses `/proc/diskstats` and appends its lines to `out` (`block/genhd.c`, `diskstats_show`).
///
/// Lines of another form are skipped. Discards exist since Linux 4.18.
pub fn parse_diskstats(text: &[u8], out: &mut Vec<DiskTotals>) {
    out.extend(lines(text).filter_map(parse_line));
}

fn parse_line(line: &[u8]) -> Option<DiskTotals> {
    let mut fields = words(line);
    let mut next = || fields.next().and_then(number);
    let major = u32::try_from(next()?).ok()?;
    let minor = u32::try_from(next()?).ok()?;
    let _name = fields.next()?;
    let mut numbers = fields.map_while(number);
    let [reads, _, read_sectors, _] = take(&mut numbers)?;
    let [writes, _, write_sectors, _] = take(&mut numbers)?;
    let [in_progress, _busy, _weighted] = take(&mut numbers)?;
    let [discards, _, discard_sectors, _] = take(&mut numbers).unwrap_or_default();
    let sectors = read_sectors.checked_add(write_sectors)?.checked_add(discard_sectors)?;
    let completed = Completed {
        ops: reads.checked_add(writes)?.checked_add(discards)?,
        bytes: sectors.checked_mul(SECTOR_BYTES)?,
    };
    Some(DiskTotals { device: Device { major, minor }, completed, in_progress })
}

/// The next `N` numbers, or `None` if there are fewer.
fn take<const N: usize>(numbers: &mut impl Iterator<Item = u64>) -> Option<[u64; N]> {
    let mut taken = [0; N];
    for slot in &mut taken {
        *slot = numbers.next()?;
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<(String, u64, u64, u64)> {
        let mut out = Vec::new();
        parse_diskstats(text.as_bytes(), &mut out);
        let line = |disk: DiskTotals| {
            let Completed { ops, bytes } = disk.completed;
            (disk.device.to_string(), ops, bytes, disk.in_progress)
        };
        out.into_iter().map(line).collect()
    }

    #[test]
    fn reads_writes_and_discards_are_added_up() {
        let text = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
                    254       0 vda 100 7 800 9 20 6 160 9 3 9 9 5 0 40 9 68 9\n";
        let expected = [("7:0".to_owned(), 0, 0, 0), ("254:0".to_owned(), 125, 1000 * 512, 3)];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn lines_of_old_kernels_have_no_discards() {
        let text = "8 0 sda 100 7 800 9 20 6 160 9 3 9 9\n8 1 sda1 100 7 800\n8 2\n";
        assert_eq!(parse(text), [("8:0".to_owned(), 120, 960 * 512, 3)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>) {
            parse_diskstats(&text, &mut Vec::new());
        }

        #[test]
        fn any_numbers_are_accepted(text in "([0-9]{1,21} |vda |\n)*") {
            parse(&text);
        }
    }
}
