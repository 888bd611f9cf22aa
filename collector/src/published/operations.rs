//! The latencies of block I/O of one instance over time.

use tare_ebpf::LATENCY_BUCKETS;

use crate::{families::block::BlockOperations, published::ring::Ring};

/// Reads and writes.
const COLUMNS: usize = 2 * LATENCY_BUCKETS;

/// Operations by the time that they took, a row for each sample. Most instances do no block I/O:
/// they take no memory for it.
#[derive(Default)]
pub(super) struct Operations {
    /// The number of the sample from which on they are known.
    known_from: Option<u64>,
    counted: Option<Box<Counted>>,
}

/// What is kept from the first operation on.
struct Counted {
    /// The number of the sample that its first row is of.
    first: u64,
    ring: Ring<COLUMNS>,
}

impl Operations {
    /// Adds what a sample has. Samples that are left out are unknown.
    pub(super) fn push(&mut self, number: u64, row: Option<BlockOperations>) {
        let Some(counted) = &mut self.counted else {
            self.known_from = row.is_some().then(|| self.known_from.unwrap_or(number));
            if let Some(row) = row.filter(|row| *row != BlockOperations::default()) {
                let mut ring = Ring::new();
                ring.push(columns(Some(row)));
                self.counted = Some(Box::new(Counted { first: number, ring }));
            }
            return;
        };
        while counted.first + (counted.ring.len() as u64) < number {
            counted.ring.push(columns(None));
        }
        counted.ring.push(columns(row));
    }

    /// The rows from the one of this sample on, which must be one that was not dropped. There is no
    /// end to them.
    pub(super) fn rows(&self, first: u64) -> impl Iterator<Item = Option<BlockOperations>> {
        let begins = self.counted.as_ref().map_or(u64::MAX, |counted| counted.first);
        let mut counted = self.counted.iter().flat_map(|counted| counted.ring.rows());
        (first..).map(move |number| match number >= begins {
            true => counted.next().and_then(operations),
            false => self
                .known_from
                .filter(|known_from| number >= *known_from)
                .map(|_| BlockOperations::default()),
        })
    }

    /// Drops the row of the oldest sample.
    pub(super) fn pop(&mut self, oldest: u64) {
        if let Some(counted) = &mut self.counted
            && counted.first == oldest
        {
            counted.ring.pop();
            counted.first += 1;
        }
    }

    /// Frees memory that is not needed.
    pub(super) fn shrink(&mut self) {
        if let Some(counted) = &mut self.counted {
            counted.ring.shrink();
        }
    }

    /// The memory that it takes beside itself, in bytes.
    pub(super) fn size(&self) -> usize {
        const FIRST: usize = size_of::<Counted>() - size_of::<Ring<COLUMNS>>();
        self.counted.as_ref().map_or(0, |counted| FIRST + counted.ring.size())
    }
}

fn columns(row: Option<BlockOperations>) -> [Option<u64>; COLUMNS] {
    let mut columns = [None; COLUMNS];
    if let Some(BlockOperations { read, write }) = row {
        let counts = read.into_iter().chain(write);
        columns.iter_mut().zip(counts).for_each(|(column, count)| *column = Some(count));
    }
    columns
}

fn operations(columns: [Option<u64>; COLUMNS]) -> Option<BlockOperations> {
    let mut operations = BlockOperations::default();
    let counts = operations.read.iter_mut().chain(&mut operations.write);
    for (count, column) in counts.zip(columns) {
        *count = column?;
    }
    Some(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(count: u64) -> Option<BlockOperations> {
        let mut operations = BlockOperations::default();
        operations.read[LATENCY_BUCKETS - 1] = count;
        operations.write[0] = 2 * count;
        Some(operations)
    }

    #[test]
    fn rows_are_unknown_zero_or_what_was_counted() {
        let mut operations = Operations::default();
        let of = |operations: &Operations, first, count| -> Vec<_> {
            operations.rows(first).take(count).collect()
        };
        operations.push(4, None);
        operations.push(5, reads(0));
        operations.push(6, reads(0));
        assert_eq!(operations.size(), 0, "nothing was done, so nothing is kept");
        assert_eq!(of(&operations, 4, 3), [None, reads(0), reads(0)]);
        operations.push(7, reads(1));
        operations.push(9, reads(3));
        operations.push(10, None);
        let all = [None, reads(0), reads(0), reads(1), None, reads(3), None];
        assert_eq!(of(&operations, 4, 7), all);
        (4..8).for_each(|oldest| operations.pop(oldest));
        assert_eq!(of(&operations, 8, 3), all[4..]);
    }

    #[test]
    fn what_was_unknown_in_between_is_not_zero() {
        let mut operations = Operations::default();
        operations.push(1, reads(0));
        operations.push(2, None);
        operations.push(3, reads(0));
        assert_eq!(operations.rows(1).take(3).collect::<Vec<_>>(), [None, None, reads(0)]);
    }
}
