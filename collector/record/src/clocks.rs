//! The times of instants, and the numbers that are such a time.
//!
//! Most readings say when they were made, and most were made at the instant that is recorded. Such
//! a number follows a clock: it is written when it does not.

use crate::bytes::zigzag;

/// How many clocks an instant has: the time of day and the monotonic one.
pub(crate) const CLOCKS: usize = 2;

/// What the clocks show at an instant, as signed numbers are recorded.
pub(crate) type Shown = [u64; CLOCKS];

/// A number that follows a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    pub(crate) place: u32,
    pub(crate) clock: u8,
}

/// What the clocks show.
pub(crate) fn shown(time: i64, monotonic: i64) -> Shown {
    [zigzag(time as u64), zigzag(monotonic as u64)]
}

/// The clock that a thing's number follows from its first instant on.
pub(crate) fn first_followed(number: u64, now: &Shown) -> Option<u8> {
    now.iter().position(|shown| *shown == number).map(|clock| clock as u8)
}

/// The clock that a number follows which did not follow one.
#[inline]
pub(crate) fn followed(before: u64, now: u64, clocks_before: &Shown, clocks: &Shown) -> Option<u8> {
    let is_followed =
        |(shown_before, shown): (&u64, &u64)| *shown_before == before && *shown == now;
    clocks_before.iter().zip(clocks).position(is_followed).map(|clock| clock as u8)
}
