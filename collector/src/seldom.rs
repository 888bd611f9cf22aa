//! Values that are seldom anything but their default.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that takes a pointer as long as it is the default. Clones share what it takes besides.
#[derive(Debug)]
pub struct Seldom<T>(Option<Arc<T>>);

/// A type with one default for all.
pub trait HasDefault: Clone + PartialEq + 'static {
    /// The same as `Default::default()`.
    const DEFAULT: &'static Self;
}

impl<T: HasDefault> Seldom<T> {
    /// The value, to be changed for this owner alone.
    pub fn make_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(T::DEFAULT.clone())))
    }

    /// Changes the value in the memory that it has, if no clone shares it.
    pub fn set(&mut self, value: T) {
        match self.0.as_mut().and_then(Arc::get_mut) {
            Some(place) => *place = value,
            None => self.0 = (value != *T::DEFAULT).then(|| Arc::new(value)),
        }
    }

    /// The same as `clone_from`. Where both share a value already, nothing is written: counting
    /// references would write to memory that is only read otherwise.
    pub fn share(&mut self, other: &Self) {
        if self.0.as_ref().map(Arc::as_ptr) != other.0.as_ref().map(Arc::as_ptr) {
            self.0.clone_from(&other.0);
        }
    }
}

impl<T> Clone for Seldom<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: HasDefault> From<T> for Seldom<T> {
    fn from(value: T) -> Self {
        let mut seldom = Self::default();
        seldom.set(value);
        seldom
    }
}

impl<T: HasDefault> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::DEFAULT)
    }
}

impl<T: HasDefault> PartialEq for Seldom<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// As the value itself.
impl<T: HasDefault + Serialize> Serialize for Seldom<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: HasDefault + Deserialize<'de>> Deserialize<'de> for Seldom<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasDefault for u64 {
        const DEFAULT: &'static Self = &0;
    }

    #[test]
    fn only_another_value_than_the_default_takes_memory() {
        let mut value = Seldom::<u64>::from(0);
        assert!(value.0.is_none());
        *value.make_mut() += 7;
        let clone = value.clone();
        value.set(8);
        assert_eq!((*value, *clone), (8, 7));
        let place = value.0.as_ref().map(Arc::as_ptr);
        value.set(0);
        assert_eq!((*value, value.0.as_ref().map(Arc::as_ptr)), (0, place), "the memory is kept");
        assert!(value == Seldom::default());
        value.share(&clone);
        assert_eq!(*value, 7);
        assert_eq!(serde_json::to_string(&value).unwrap(), "7");
        assert!(serde_json::from_str::<Seldom<u64>>("0").unwrap().0.is_none());
    }
}
