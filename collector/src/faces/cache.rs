//! What faces make of a sample, kept until the next one.

use std::sync::Arc;

use crate::published::Published;

/// What was made of one sample.
#[derive(Default)]
pub(super) struct SampleCache<T> {
    published: Option<Arc<Published>>,
    made: T,
}

impl<T: Default> SampleCache<T> {
    /// What was made of this sample so far; what was made of another one is dropped.
    pub(super) fn of(&mut self, published: &Arc<Published>) -> &mut T {
        if self.published.as_ref().is_none_or(|known| !Arc::ptr_eq(known, published)) {
            *self = Self { published: Some(Arc::clone(published)), made: T::default() };
        }
        &mut self.made
    }

    /// Drops what was made of other samples than this one; whether there was anything. Between two
    /// scrapes no memory is held that only scrapes need.
    pub(super) fn drop_older(&mut self, latest: &Arc<Published>) -> bool {
        let is_old = self.published.as_ref().is_some_and(|known| !Arc::ptr_eq(known, latest));
        if is_old {
            *self = Self::default();
        }
        is_old
    }
}
