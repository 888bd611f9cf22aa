//! A packed ring of rows of numbers: a row stores its differences from the row before.

use std::collections::VecDeque;

/// Rows of `N` numbers, oldest first. A number that is unknown is `None`.
///
/// A row is a mask of the numbers that changed, and the change of each of them, both as LEB128.
/// A row in which nothing changed is one byte. The row before the oldest one is the newest one less
/// all changes.
#[derive(Clone, Debug)]
pub(super) struct Ring<const N: usize> {
    /// The newest row.
    last: [u64; N],
    bytes: VecDeque<u8>,
    rows: usize,
}

impl<const N: usize> Ring<N> {
    pub(super) fn new() -> Self {
        const { assert!(N < 64) };
        Self { last: [0; N], bytes: VecDeque::new(), rows: 0 }
    }

    /// Adds a row. `u64::MAX`, which no counter of the kernel reaches, is stored as `u64::MAX - 1`.
    pub(super) fn push(&mut self, row: [Option<u64>; N]) {
        let row = row.map(|number| number.map_or(0, |number| number.saturating_add(1)));
        let changed = |at: &usize| row[*at] != self.last[*at];
        let mask = (0..N).filter(changed).fold(0_u64, |mask, at| mask | 1 << at);
        write(&mut self.bytes, mask);
        for at in (0..N).filter(changed) {
            write(&mut self.bytes, zigzag(row[at].wrapping_sub(self.last[at])));
        }
        self.last = row;
        self.rows += 1;
    }

    /// Drops the oldest row.
    pub(super) fn pop(&mut self) {
        if self.rows > 0 {
            let mut used = 0;
            let mut bytes = self.bytes.iter().copied().inspect(|_| used += 1);
            changes::<N>(&mut bytes, |_, _| ());
            self.bytes.drain(..used);
            self.rows -= 1;
        }
    }

    /// The rows, oldest first.
    pub(super) fn rows(&self) -> impl Iterator<Item = [Option<u64>; N]> {
        let mut row = self.last;
        let mut bytes = self.bytes.iter().copied();
        for _ in 0..self.rows {
            changes::<N>(&mut bytes, |at, change| row[at] = row[at].wrapping_sub(change));
        }
        let mut bytes = self.bytes.iter().copied();
        (0..self.rows).map(move |_| {
            changes::<N>(&mut bytes, |at, change| row[at] = row[at].wrapping_add(change));
            row.map(|number| number.checked_sub(1))
        })
    }

    /// The newest row.
    pub(super) fn last(&self) -> Option<[Option<u64>; N]> {
        (self.rows > 0).then(|| self.last.map(|number| number.checked_sub(1)))
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Frees memory that is not needed.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The memory that the ring takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}

/// Reads a row: calls `each` with the place and the change of each number that changed.
fn changes<const N: usize>(bytes: &mut impl Iterator<Item = u8>, mut each: impl FnMut(usize, u64)) {
    let mask = read(bytes);
    for at in (0..N).filter(|at| mask & 1 << at != 0) {
        each(at, unzigzag(read(bytes)));
    }
}

fn write(bytes: &mut VecDeque<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push_back(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push_back(number as u8);
}

fn read(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let mut number = 0;
    for (place, byte) in (0..u64::BITS).step_by(7).zip(bytes) {
        number |= u64::from(byte & 0x7f) << place;
        if byte < 0x80 {
            break;
        }
    }
    number
}

/// Small steps in either direction become small numbers.
fn zigzag(step: u64) -> u64 {
    let step = step as i64;
    ((step << 1) ^ (step >> 63)) as u64
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_like_the_one_before_takes_a_byte() {
        let mut ring = Ring::new();
        for _ in 0..100 {
            ring.push([Some(1 << 40), None, Some(7)]);
        }
        assert!(ring.bytes.len() < 110);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            rows: Vec<[Option<u64>; 3]>,
            popped in 0_usize..8,
        ) {
            let mut ring = Ring::new();
            rows.iter().for_each(|row| ring.push(*row));
            (0..popped).for_each(|_| ring.pop());
            let left = rows.get(popped..).unwrap_or_default();
            // `u64::MAX` is the one number that is not kept.
            let kept = |row: &[Option<u64>; 3]| row.map(|n| n.map(|n| n.min(u64::MAX - 1)));
            prop_assert_eq!(ring.len(), left.len());
            prop_assert_eq!(
                ring.rows().collect::<Vec<_>>(),
                left.iter().map(kept).collect::<Vec<_>>()
            );
        }
    }
}
