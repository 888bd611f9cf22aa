//! The same as [`instant`], where it may be unknown.

use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::instant;

/// Writes it.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(found: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
    found.map(instant::to_nanoseconds).serialize(serializer)
}

/// Reads it.
///
/// # Errors
///
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Instant>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.map(instant::from_nanoseconds))
}
