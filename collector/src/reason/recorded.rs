//! A reason in a recording is its text: all that reports show of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::reason::Reason;

/// Writes it.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.as_ref().map(Reason::to_string).serialize(serializer)
}

/// Reads it.
///
/// # Errors
///
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|error| Reason::Kernel { error: error.into() }))
}
