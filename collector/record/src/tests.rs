//! Instants go in and come out the same, whatever happens to the files in between.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Value {
    name: String,
    total: u64,
    level: Option<i64>,
    share: f64,
    limits: BTreeMap<String, u64>,
    devices: Vec<(u32, Counts)>,
    state: State,
    parent: Option<Box<Value>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Counts {
    read: u64,
    written: u64,
    failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
enum State {
    #[default]
    Running,
    Frozen,
    Ended {
        code: i32,
    },
    Since(u64),
}

/// The things of one instant.
type Things = BTreeMap<u64, Value>;

const KIND: &str = "thing";

fn limits() -> Limits {
    Limits { sync_every: Duration::from_secs(3600), age_max: Duration::MAX, ..Limits::default() }
}

fn open(directory: &Path, limits: Limits) -> Writer {
    Writer::open(directory, [7; 16], limits).unwrap().0
}

fn write(writer: &mut Writer, time: i64, things: &Things) {
    let mut tick = writer.tick(time, monotonic(time)).unwrap();
    things.iter().for_each(|(key, value)| tick.put(KIND, *key, value).unwrap());
    tick.commit().unwrap();
}

/// What the monotonic clock shows at a time.
fn monotonic(time: i64) -> i64 {
    time / 3
}

fn read(moment: &Moment) -> Things {
    moment.things(KIND).map(|thing| (thing.key(), thing.read().unwrap())).collect()
}

fn read_all(recording: &mut Recording) -> Vec<(i64, Things)> {
    let mut all = Vec::new();
    let mut next = recording.first();
    while let Some(moment) = next {
        all.push((moment.time(), read(&moment)));
        next = recording.next(moment.position());
    }
    all
}

/// Things that count steadily, of which some come and go.
fn instants(count: i64) -> Vec<(i64, Things)> {
    let thing = |time: i64, key: u64| Value {
        name: format!("life-{key}"),
        total: (time as u64) * 1000 * key + (time as u64 * 7919) % 13,
        level: (time % 5 != 0).then_some(-time),
        limits: [("max".to_owned(), 1 << 30), ("high".to_owned(), 1 << 20)].into(),
        devices: vec![(8, Counts { read: time as u64 / 10, ..Counts::default() })],
        ..Value::default()
    };
    let alive = |time: i64| (1..9).filter(move |key| time % 11 != *key as i64);
    let all = |time: i64| alive(time).map(|key| (key, thing(time, key))).collect();
    (1..=count).map(|time| (time * 1_000_000_000, all(time))).collect()
}

fn files(directory: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    all.sort();
    all
}

#[test]
fn blocks_and_the_open_log_are_read_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { block_span: Duration::from_secs(30), ..limits() };
    let mut writer = open(directory.path(), limits);
    let instants = instants(100);
    instants.iter().for_each(|(time, things)| write(&mut writer, *time, things));
    assert_eq!(files(directory.path(), "tare").len(), 3);
    assert_eq!(files(directory.path(), "log").len(), 1);
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read_all(&mut recording), instants);
    let at = |recording: &mut Recording, time| recording.at(time).map(|moment| moment.time());
    let second = 1_000_000_000;
    assert_eq!(at(&mut recording, 50 * second + 1), Some(50 * second));
    assert_eq!(at(&mut recording, 31 * second), Some(31 * second));
    assert_eq!(at(&mut recording, 999 * second), Some(100 * second));
    assert_eq!(at(&mut recording, second - 1), None);
    // Backwards, too.
    let mut times = Vec::new();
    let mut next = recording.last();
    while let Some(moment) = next {
        times.push(moment.time());
        next = recording.previous(moment.position());
    }
    times.reverse();
    assert_eq!(times, instants.iter().map(|(time, _)| *time).collect::<Vec<_>>());
    // A position stays good when its log is sealed and when more is recorded.
    let position = recording.at(95 * second).unwrap().position();
    writer.finish().unwrap();
    write(&mut writer, 200 * second, &Things::new());
    assert_eq!(recording.get(position).map(|moment| read(&moment)), Some(instants[94].1.clone()));
    recording.refresh().unwrap();
    assert_eq!(recording.last().map(|moment| moment.time()), Some(200 * second));
    assert!(recording.problems().is_empty());
}

/// Readings of every instant, of every third one, and of one that was not made again.
#[test]
fn a_log_is_sealed_when_what_followed_its_first_instant_takes_more_than_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), Limits { log_bytes_max: 1, ..limits() });
    let things = |at: i64| -> Things {
        let value = |key: u64| Value {
            name: format!("a name that is told once, {key}"),
            total: key * (at as u64).pow(2),
            ..Value::default()
        };
        (0..20).map(|key| (key, value(key))).collect()
    };
    for at in 1..=400 {
        write(&mut writer, at * 1_000_000_000, &things(at));
    }
    let blocks = files(directory.path(), "tare").len();
    // The first instant takes eight times as much as each that follows.
    assert!((20..=80).contains(&blocks), "{blocks} blocks");
    assert_eq!(read_all(&mut Recording::open(directory.path()).unwrap()).len(), 400);
}

#[test]
fn a_number_that_is_the_time_takes_no_room_while_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let read_at = |level: i64| Value { level: Some(level), ..Value::default() };
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    for time in 1_000_000..1_000_020_i64 {
        let third = time - time % 3;
        let things = [(1, time), (2, monotonic(time)), (3, third), (4, time.min(1_000_009))];
        let things: Things = things.map(|(key, level)| (key, read_at(level))).into();
        let mut tick = writer.tick(time, monotonic(time)).unwrap();
        for (key, thing) in &things {
            // One that is kept does not follow its clock either.
            if *key != 4 || time < 1_000_010 || !tick.keep(KIND, *key) {
                tick.put(KIND, *key, thing).unwrap();
            }
        }
        bytes.push(tick.commit().unwrap());
        expected.push((time, things));
    }
    // Frame, times and counts are 16 bytes: the first instant has more, six readings of the third
    // thing, and the instant at which the fourth stops.
    assert_eq!(bytes.iter().filter(|bytes| **bytes > 16).count(), 8, "{bytes:?}");
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read_all(&mut recording), expected);
    writer.finish().unwrap();
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read_all(&mut recording), expected);
}

/// What a version of the format made of the same instants: a block of twelve, and a log.
fn is_read(format: &str) {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests").join(format);
    let mut recording = Recording::open(&old).unwrap();
    assert_eq!(read_all(&mut recording), instants(20));
    // The next version seals its log.
    let directory = tempfile::tempdir().unwrap();
    for found in fs::read_dir(&old).unwrap().map(Result::unwrap) {
        fs::copy(found.path(), directory.path().join(found.file_name())).unwrap();
    }
    let (writer, recovered) = Writer::open(directory.path(), [8; 16], limits()).unwrap();
    assert_eq!((recovered[0].instants, recovered[0].lost_bytes), (8, 0));
    drop(writer);
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read_all(&mut recording), instants(20));
}

#[test]
fn what_earlier_formats_have_is_read() {
    ["format_1", "format_2"].into_iter().for_each(is_read);
}

#[test]
fn a_log_that_ends_anywhere_loses_one_instant_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let instants = instants(20);
    let mut ends = Vec::new();
    for (time, things) in &instants {
        write(&mut writer, *time, things);
        ends.push(fs::metadata(&files(directory.path(), "log")[0]).unwrap().len());
    }
    drop(writer);
    let log = files(directory.path(), "log").remove(0);
    let whole = fs::read(&log).unwrap();
    for length in 0..whole.len() {
        let kept = ends.iter().filter(|end| **end <= length as u64).count();
        match log::parse(&whole[..length], &log) {
            Ok(read) => assert_eq!(read.table.times.len(), kept, "{length}"),
            Err(error) => assert!(kept == 0, "{length}: {error}"),
        }
    }
    // The next process seals what is whole and says what is not.
    fs::write(&log, &whole[..ends[14] as usize - 1]).unwrap();
    let (writer, recovered) = Writer::open(directory.path(), [8; 16], limits()).unwrap();
    assert_eq!((recovered[0].instants, recovered[0].error.is_none()), (14, true));
    assert_eq!(recovered[0].lost_bytes as u64, ends[14] - 1 - ends[13]);
    drop(writer);
    assert!(files(directory.path(), "log").is_empty());
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read_all(&mut recording), instants[..14]);
}

#[test]
fn a_damaged_block_is_named_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { block_span: Duration::from_secs(9), ..limits() };
    let mut writer = open(directory.path(), limits);
    let instants = instants(30);
    instants.iter().for_each(|(time, things)| write(&mut writer, *time, things));
    drop(writer);
    let blocks = files(directory.path(), "tare");
    let whole = fs::read(&blocks[1]).unwrap();
    let others: Vec<_> = [&instants[..10], &instants[20..]].concat();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&blocks[1], bytes).unwrap();
        let mut recording = Recording::open(directory.path()).unwrap();
        assert_eq!(read_all(&mut recording), others, "{at}");
        let named = recording.problems()[0].to_string();
        assert!(named.contains(blocks[1].to_str().unwrap()), "{named}");
        // The instant before the damaged block is the answer for a time within it.
        let found = recording.at(15_000_000_000).map(|moment| moment.time());
        assert_eq!(found, Some(10_000_000_000));
    }
    for length in 0..whole.len() {
        assert!(block::decode(whole[..length].to_vec(), &blocks[1]).is_err(), "{length}");
    }
}

#[test]
fn one_file_holds_several_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { block_span: Duration::from_secs(9), ..limits() };
    let mut writer = open(directory.path(), limits);
    let instants = instants(40);
    instants.iter().for_each(|(time, things)| write(&mut writer, *time, things));
    writer.finish().unwrap();
    let blocks = files(directory.path(), "tare");
    let mut all: Vec<u8> = blocks.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let file = directory.path().join("all");
    fs::write(&file, &all).unwrap();
    let mut recording = Recording::open(&file).unwrap();
    assert_eq!(read_all(&mut recording), instants);
    all.truncate(all.len() - 1);
    fs::write(&file, &all).unwrap();
    let mut recording = Recording::open(&file).unwrap();
    assert_eq!(read_all(&mut recording), instants[..30]);
    assert_eq!(recording.problems().len(), 1);
    fs::write(&file, "something else, long enough to be a header of a block, and longer").unwrap();
    assert!(Recording::open(&file).is_err());
}

#[test]
fn two_processes_do_not_record_into_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), limits());
    let second = || Writer::open(directory.path(), [9; 16], limits());
    assert!(matches!(second(), Err(Error::Busy { .. })));
    drop(first);
    assert!(second().is_ok());
}

#[test]
fn a_clock_that_goes_back_begins_a_new_stretch() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let instants = instants(20);
    let order: Vec<_> = (0..15).chain(5..20).collect();
    order.iter().for_each(|at| write(&mut writer, instants[*at].0, &instants[*at].1));
    writer.finish().unwrap();
    let mut recording = Recording::open(directory.path()).unwrap();
    let expected: Vec<_> = order.iter().map(|at| instants[*at].clone()).collect();
    assert_eq!(read_all(&mut recording), expected);
    // Of a time that was there twice, the later one is taken.
    let twice = recording.at(instants[10].0).unwrap();
    assert!(twice.position() > recording.at(instants[2].0).unwrap().position());
    let before = recording.previous(twice.position()).unwrap();
    assert_eq!(before.time(), instants[9].0);
    assert_eq!(recording.at(instants[19].0).unwrap().time(), instants[19].0);
}

#[test]
fn the_oldest_blocks_go_when_there_are_too_many_or_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let bytes_max = 6_000;
    let limits = Limits { block_span: Duration::from_secs(9), bytes_max, ..limits() };
    let mut writer = open(directory.path(), limits);
    let instants = instants(200);
    for (time, things) in &instants {
        write(&mut writer, *time, things);
        assert!(writer.bytes() <= bytes_max + 6_000);
    }
    let mut recording = Recording::open(directory.path()).unwrap();
    let kept = read_all(&mut recording);
    assert!(kept.len() < 150 && instants.ends_with(&kept), "{}", kept.len());
    drop(writer);
    let limits = Limits { age_max: Duration::from_secs(1), ..limits };
    let mut writer = open(directory.path(), limits);
    write(&mut writer, 1, &Things::new());
    writer.finish().unwrap();
    assert!(files(directory.path(), "tare").is_empty());
}

#[test]
fn what_a_later_version_adds_is_ignored_and_what_it_lacks_is_the_default() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Other {
        total: u64,
        added: Option<u64>,
    }
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let value = Value { total: 5, state: State::Frozen, parent: None, ..Value::default() };
    write(&mut writer, 1, &[(1, value)].into());
    writer.finish().unwrap();
    let mut recording = Recording::open(directory.path()).unwrap();
    let moment = recording.last().unwrap();
    let other = moment.thing(KIND, 1).unwrap().read::<Other>().unwrap();
    assert_eq!(other, Other { total: 5, added: None });
    let mut tick = writer.tick(2, 2).unwrap();
    tick.put(KIND, 1, &Other { total: 6, added: Some(7) }).unwrap();
    tick.commit().unwrap();
    recording.refresh().unwrap();
    let moment = recording.last().unwrap();
    let value = moment.thing(KIND, 1).unwrap().read::<Value>().unwrap();
    assert_eq!(value, Value { total: 6, ..Value::default() });
}

#[test]
fn what_is_kept_is_there_without_being_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let value = Value { total: 5, ..Value::default() };
    write(&mut writer, 1, &[(1, value.clone()), (2, value.clone())].into());
    let mut tick = writer.tick(2, 2).unwrap();
    assert!(tick.keep(KIND, 1) && !tick.keep(KIND, 3));
    tick.commit().unwrap();
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read(&recording.last().unwrap()), [(1, value)].into());
}

#[test]
fn fields_that_are_as_they_were_are_not_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), limits());
    let parent = Value { name: "above".to_owned(), level: Some(1), ..Value::default() };
    let before = Value { name: "web".to_owned(), parent: Some(parent.into()), ..Value::default() };
    write(&mut writer, 1, &[(1, before.clone()), (2, before.clone())].into());
    // All that is not looked at is something else here.
    let mut given = Value { total: 7, share: 0.5, state: State::Frozen, ..before.clone() };
    given.name.push('!');
    given.devices.push((1, Counts::default()));
    let parent = given.parent.as_mut().unwrap();
    (parent.total, parent.level) = (8, None);
    let in_parent = Same::of(&given.parent.as_ref().unwrap().level);
    let same = [Same::of(&given.name), Same::of(&given.devices), Same::of(&given.state), in_parent];
    let mut tick = writer.tick(2, 2).unwrap();
    tick.put_changed(KIND, 1, &given, &same).unwrap();
    // No field of this value.
    tick.put_changed(KIND, 2, &given, &[Same::of(&directory)]).unwrap();
    tick.commit().unwrap();
    let mut expected = Value { total: 7, share: 0.5, ..before };
    expected.parent.as_mut().unwrap().total = 8;
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(read(&recording.last().unwrap()), [(1, expected), (2, given)].into());
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![0..4_u64, any::<u64>()];
    let text = prop_oneof![Just(String::new()), Just("web".to_owned()), any::<String>()];
    let state = prop_oneof![
        Just(State::Running),
        Just(State::Frozen),
        any::<i32>().prop_map(|code| State::Ended { code }),
        number.clone().prop_map(State::Since),
    ];
    let counts = (number.clone(), number.clone(), any::<bool>())
        .prop_map(|(read, written, failed)| Counts { read, written, failed });
    let devices = proptest::collection::vec((any::<u32>(), counts), 0..3);
    let limits = proptest::collection::btree_map(text.clone(), number.clone(), 0..3);
    let share = -1e9..1e9_f64;
    let level = proptest::option::of(any::<i64>());
    let leaf = (text, number, level, share, limits, devices, state).prop_map(
        |(name, total, level, share, limits, devices, state)| Value {
            name,
            total,
            level,
            share,
            limits,
            devices,
            state,
            parent: None,
        },
    );
    (leaf.clone(), proptest::option::of(leaf))
        .prop_map(|(value, parent)| Value { parent: parent.map(Box::new), ..value })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(
        instants in proptest::collection::vec(
            (
                1..5_000_000_000_i64,
                proptest::collection::btree_map(0..6_u64, (value(), 0..5_u8), 0..6),
            ),
            1..24,
        ),
        span in 1..40_u64,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { block_span: Duration::from_secs(span), ..limits() };
        let mut writer = open(directory.path(), limits);
        let mut time = 0;
        let mut expected = Vec::new();
        for (step, things) in instants {
            time += step;
            let timed = |(value, clock): (Value, u8)| match clock {
                0 => Value { level: Some(time), ..value },
                1 => Value { level: Some(monotonic(time)), ..value },
                _ => value,
            };
            let timed = |(key, thing)| (key, timed(thing));
            let things: Things = things.into_iter().map(timed).collect();
            write(&mut writer, time, &things);
            expected.push((time, things));
        }
        let mut recording = Recording::open(directory.path()).unwrap();
        prop_assert_eq!(read_all(&mut recording), expected.clone());
        // The same from blocks only.
        writer.finish().unwrap();
        let mut recording = Recording::open(directory.path()).unwrap();
        prop_assert_eq!(read_all(&mut recording), expected);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at: usize, flips: [u8; 4]) {
        let path = Path::new("any");
        let _ = (log::parse(&bytes, path).is_ok(), block::decode(bytes.clone(), path).is_ok());
        // Damage that has the right checksum.
        let directory = tempfile::tempdir().unwrap();
        let mut writer = open(directory.path(), limits());
        instants(5).iter().for_each(|(time, things)| write(&mut writer, *time, things));
        let log = fs::read(&files(directory.path(), "log")[0]).unwrap();
        let mut builder = builder::Builder::new([0; 16], FORMAT);
        let mut content = log[60..].to_vec();
        let length = content.len();
        content.iter_mut().skip(at % length).zip(flips).for_each(|(byte, flip)| *byte ^= flip);
        let _ = builder.add(&content);
        let _ = builder.finish();
    }
}
