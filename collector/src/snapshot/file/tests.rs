use proptest::prelude::*;
use serde_json::{Number, Value, json};

use super::*;
use crate::output::fixture;

fn snapshot() -> Snapshot {
    let report = fixture::report(vec![fixture::web()]);
    Snapshot::new(Some(&report.clone()), report)
}

fn fault(bytes: &[u8]) -> String {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let error = format!("{:#}", read(file.path()).unwrap_err());
    let name = file.path().display().to_string();
    assert!(error.starts_with(&format!("{name}: ")), "{error}");
    error
}

#[test]
fn saved_and_read_back_it_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["now.json", "now.json.zst"] {
        let path = directory.path().join(name);
        write(&path, &snapshot()).unwrap();
        assert_eq!(fs::read(&path).unwrap().starts_with(&ZSTD_MAGIC), name.ends_with("zst"));
        assert_eq!(read(&path).unwrap(), snapshot());
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "something else is left there");
}

#[test]
fn what_is_no_snapshot_says_what_it_is() {
    let whole = serde_json::to_vec(&snapshot()).unwrap();
    let packed = compress_to_vec(whole.as_slice(), CompressionLevel::Fastest);
    let mut newer = serde_json::to_value(snapshot()).unwrap();
    newer["version"] = json!(2);
    let mut bent = packed.clone();
    *bent.last_mut().unwrap() ^= 1;
    let lacking = json!({"version": 1, "host": {}}).to_string();
    for (bytes, said) in [
        (&whole[..whole.len() / 2], "empty or cut off"),
        (b"", "empty or cut off"),
        (b"\x7fELF", "no JSON"),
        (br#"{"time": "2026-01-01T00:00:00Z", "host": {}}"#, "no snapshot of `tare`"),
        (br#"{"version": 1}"#, "no snapshot of `tare`"),
        (br#"{"version": 0, "host": {}}"#, "no snapshot of `tare`"),
        (b"[1, 2]", "no snapshot that this `tare` can read"),
        (lacking.as_bytes(), "missing field"),
        (newer.to_string().as_bytes(), "version 2, and this `tare` reads up to 1"),
        (&packed[..packed.len() / 2], "damaged or cut off"),
        (&packed[..3], "no JSON"),
        (&bent, "checksum"),
    ] {
        assert!(fault(bytes).contains(said), "{} instead of {said}", fault(bytes));
    }
}

#[test]
fn keys_that_came_later_are_no_hindrance() {
    let mut newer = serde_json::to_value(snapshot()).unwrap();
    newer["later"] = json!(1);
    newer["containers"][0]["cpu"]["later"] = json!({"a": 1});
    assert_eq!(parse(newer.to_string().into_bytes()).unwrap(), snapshot());
}

#[test]
fn only_a_regular_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let said = |path: &Path| format!("{:#}", write(path, &snapshot()).unwrap_err());
    assert!(said(directory.path()).contains("is a directory"));
    assert!(said(&directory.path().join("a/b.json")).contains("make it first"));
    assert!(said(Path::new("/dev/null")).contains("no regular file"));
    assert!(said(Path::new("-")).contains("--format json"));
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    write(&link, &snapshot()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&file).unwrap(), snapshot());
}

/// Everything that a snapshot can say: throttled, near limits, killed, ended, slow.
const FULL: &[u8] = include_bytes!("../../../../tests/fixtures/snapshot.json");

/// Other values of the same kinds in every place.
fn scrambled(value: Value, seeds: &mut impl Iterator<Item = (u32, f64)>) -> Value {
    let Some((whole, real)) = seeds.next() else { return value };
    match value {
        Value::Number(number) if number.is_f64() => {
            Number::from_f64(real).map_or(Value::Null, Value::Number)
        }
        Value::Number(_) => json!(whole >> 1),
        Value::Array(all) => all.into_iter().map(|one| scrambled(one, seeds)).collect(),
        Value::Object(all) => {
            Value::Object(all.into_iter().map(|(key, one)| (key, scrambled(one, seeds))).collect())
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn any_numbers_come_back_as_they_were(
        seeds in prop::collection::vec((any::<u32>(), prop::num::f64::NORMAL), 64),
    ) {
        let value: Value = serde_json::from_slice(FULL).unwrap();
        let mut value = scrambled(value, &mut seeds.into_iter().cycle());
        value["version"] = json!(1);
        let snapshot = parse(value.to_string().into_bytes()).unwrap();
        let bytes = serde_json::to_vec(&snapshot).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        prop_assert_eq!(parse(bytes).unwrap(), snapshot);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), packed in any::<bool>()) {
        let magic: &[u8] = if packed { &ZSTD_MAGIC } else { b"{\"version\":1,\"host\":" };
        let _ = parse([magic, &bytes].concat());
    }
}
