//! The memory of samples that no reader holds any more.

use std::{collections::VecDeque, sync::Arc};

use crate::sample::{Sample, Usage};

/// How many samples before the last are kept to be overwritten. Readers may still hold the last
/// one, and the one before it, where another thread makes rates of them.
const SPARES_MAX: usize = 2;

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
