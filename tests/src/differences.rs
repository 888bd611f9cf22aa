//! The walk over two JSON documents. The unit tests of `tare` share this file.

use std::collections::BTreeSet;

use serde_json::Value;

/// What differs in name, type or presence, each as its kind and a JSON pointer: `missing` in the
/// second document, `extra` there, or of another `type`.
///
/// Lists have entries of one kind, and need not be of the same length.
pub fn differences(theirs: &Value, ours: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk("", theirs, ours, &mut found);
    found
}

fn walk(pointer: &str, theirs: &Value, ours: &Value, found: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for key in theirs.keys().chain(ours.keys()) {
                let pointer = format!("{pointer}/{key}");
                match (theirs.get(key), ours.get(key)) {
                    (Some(theirs), Some(ours)) => walk(&pointer, theirs, ours, found),
                    (Some(_), None) => drop(found.insert(format!("missing {pointer}"))),
                    (None, _) => drop(found.insert(format!("extra {pointer}"))),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                walk(&format!("{pointer}/0"), theirs, ours, found);
            }
        }
        _ if std::mem::discriminant(theirs) != std::mem::discriminant(ours) => {
            found.insert(format!("type {pointer}"));
        }
        _ => {}
    }
}
