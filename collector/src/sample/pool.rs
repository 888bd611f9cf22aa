//! The memory of samples that no reader holds any more.

use std::{collections::VecDeque, sync::Arc};

use crate::sample::{Sample, Usage};

/// How many samples before the last are kept to be overwritten. Readers may still hold the last
/// one, and the one before it, where another thread makes rates of them.
const SPARES_MAX: usize = 2;

/// So many instances must have ended before free memory is returned to the kernel, or as many as
/// are left: looking for it takes milliseconds.
const ENDED_MIN: u64 = 1000;

/// Once none has ended for so many samples, fewer are enough.
const QUIET_SAMPLES: u32 = 10;
const ENDED_MIN_QUIET: u64 = 100;

/// So many samples after memory was returned it is returned again: by then most of the history and
/// of the receipts is gone that kept pages of it.
const SAMPLES_UNTIL_REST: u32 = 600;

/// Decides when the memory of instances that ended is returned to the kernel.
#[derive(Debug, Default)]
pub(super) struct MemoryReturn {
    /// How many had ended when it was last returned.
    returned: u64,
    /// How many had ended at the last sample, and for how many samples there were no more.
    ended: u64,
    quiet: u32,
    /// Samples until it is returned again: by then all have been overwritten.
    due_in: Option<usize>,
    /// Samples until what was kept at the last return is returned.
    rest_in: Option<u32>,
}

impl MemoryReturn {
    /// Called with each sample: whether memory is returned now. `ended` is the number of all
    /// instances that ever ended.
    pub(super) fn is_due(&mut self, ended: u64, living: usize) -> bool {
        self.quiet = if self.ended == ended { self.quiet.saturating_add(1) } else { 0 };
        self.ended = ended;
        match &mut self.due_in {
            None => {
                let is_rest_due = self.rest_in == Some(0);
                self.rest_in = self.rest_in.and_then(|samples| samples.checked_sub(1));
                let left = ended.saturating_sub(self.returned);
                let is_over = self.quiet >= QUIET_SAMPLES && left >= ENDED_MIN_QUIET;
                if left >= ENDED_MIN.max(living as u64) || is_over {
                    self.due_in = Some(SPARES_MAX + 1);
                }
                is_rest_due
            }
            Some(0) => {
                *self = Self { returned: ended, due_in: None, ..*self };
                self.rest_in = Some(SAMPLES_UNTIL_REST);
                true
            }
            Some(samples) => {
                *samples -= 1;
                false
            }
        }
    }
}

/// The last sample, and older ones to be overwritten.
#[derive(Default)]
pub(super) struct SamplePool {
    last: Option<Arc<Sample>>,
    /// The oldest first.
    spares: VecDeque<Arc<Sample>>,
}

impl SamplePool {
    /// A sample that no reader holds, or a new one.
    pub(super) fn take_spare(&mut self) -> Arc<Sample> {
        let free = self.spares.iter_mut().position(|sample| Arc::get_mut(sample).is_some());
        free.and_then(|free| self.spares.remove(free)).unwrap_or_default()
    }

    /// Makes a sample the last one.
    pub(super) fn publish(&mut self, sample: &Arc<Sample>) {
        self.spares.extend(self.last.replace(Arc::clone(sample)));
        // A sample that a reader holds for long is not reused.
        while self.spares.len() > SPARES_MAX {
            self.spares.pop_front();
        }
    }

    /// The last sample; `None` before the first.
    pub(super) fn last(&self) -> Option<&Sample> {
        self.last.as_deref()
    }

    /// Changes the last sample, unless a reader holds it, and returns it.
    pub(super) fn update_last(&mut self, change: impl FnMut(&mut Usage)) -> Arc<Sample> {
        let mut sample = self.last.take().unwrap_or_default();
        if let Some(sample) = Arc::get_mut(&mut sample) {
            sample.usages.iter_mut().for_each(change);
        }
        self.last = Some(Arc::clone(&sample));
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_once_after_many_have_ended_and_all_samples_were_overwritten() {
        let mut memory = MemoryReturn::default();
        let mut due = |ended, living| memory.is_due(ended, living);
        assert!((0..100).all(|at| !due(at, 10)), "few have ended");
        assert!(!due(1000, 2000), "more are left");
        let first = (0..10).position(|_| due(1000, 10));
        assert_eq!(first, Some(SPARES_MAX + 2));
        assert!((1001..1100).all(|ended| !due(ended, 10)), "few have ended since");
        assert!((0..10).any(|_| due(2000, 10)));
    }

    #[test]
    fn the_rest_is_returned_once_none_ends_any_more() {
        let mut memory = MemoryReturn::default();
        assert!((0..100).all(|_| !memory.is_due(ENDED_MIN_QUIET - 1, 10)), "too few");
        assert!((0..100).all(|more| !memory.is_due(ENDED_MIN_QUIET + more, 10)), "more end");
        let mut returns = |samples: u32| {
            (0..samples).filter(|_| memory.is_due(ENDED_MIN_QUIET + 100, 10)).count()
        };
        assert_eq!(returns(100), 1);
        assert_eq!(returns(SAMPLES_UNTIL_REST), 1, "what history and receipts kept");
        assert_eq!(returns(3 * SAMPLES_UNTIL_REST), 0);
    }
}
