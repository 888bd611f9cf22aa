//! Differences of JSON documents, as merge patches (RFC 7396). Pure.

use serde_json::{Map, Value};

/// What to merge into `older` to get `newer`; `None` if they are the same. `null` removes a key: in
/// Tare's documents, a value that is `null` and one that is absent are both unknown.
pub(super) fn patch(older: &Value, newer: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (older, newer) else {
        return (older != newer).then(|| newer.clone());
    };
    let known = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    let removed = old.iter().filter(|(key, value)| known(Some(*value)) && !known(new.get(*key)));
    let mut changes: Map<_, _> = removed.map(|(key, _)| (key.clone(), Value::Null)).collect();
    for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
        let change = match old.get(key) {
            Some(before) => patch(before, value),
            None => Some(value.clone()),
        };
        changes.extend(change.map(|change| (key.clone(), change)));
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// RFC 7396, 2.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(changes) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let Value::Object(fields) = target else { return };
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }

    /// The same document with `null` left out of objects.
    fn known(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(fields.map(|(key, value)| (key, known(value))).collect())
            }
            other => other,
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0_u8..3).prop_map(Value::from),
            prop::collection::vec(0_u8..2, 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
        })
    }

    #[test]
    fn only_what_changed_is_in_a_patch() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": null, "e": 5}, "f": 7});
        let new = json!({"a": 1, "b": {"c": [1, 3], "d": 4, "e": null}, "g": {"h": 1}});
        let expected = json!({"b": {"c": [1, 3], "d": 4, "e": null}, "f": null, "g": {"h": 1}});
        assert_eq!(patch(&old, &new), Some(expected));
        assert_eq!(patch(&old, &old), None);
        assert_eq!(patch(&json!({"a": null}), &json!({})), None, "both are unknown");
    }

    proptest! {
        #[test]
        fn merging_a_patch_gives_the_newer_document(older in document(), newer in document()) {
            let (older, newer) = (json!({"x": older}), json!({"x": newer}));
            let mut merged = known(older.clone());
            merge(&mut merged, &patch(&older, &newer).unwrap_or_else(|| json!({})));
            prop_assert_eq!(known(merged), known(newer));
        }
    }
}
