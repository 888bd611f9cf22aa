use jiff::SignedDuration;

use super::*;
use crate::identity::{
    cache::{MAX_CONTAINERS, MAX_EXIT_STATUSES},
    client::Exit,
    metadata::Health,
    queue::{FIRST_BACKOFF, MAX_BACKOFF, MAX_BACKOFFS, MAX_PENDING},
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn named(name: &str) -> Metadata {
    Metadata { name: name.to_owned(), ..Metadata::default() }
}

fn inspected(name: &str) -> Option<Inspection> {
    Some(Inspection { metadata: named(name), complete: true, exit_status: None })
}

fn connected() -> State {
    let mut state = State::default();
    assert_eq!(state.add_queue(), 0);
    state.connected(0, Vec::new());
    state
}

#[test]
fn a_container_is_requested_once_and_inspected_once() {
    let now = Instant::now();
    let mut state = connected();
    assert!(state.request(0, "a", now));
    assert!(!state.request(0, "a", now));
    assert_eq!(state.next(0, now).as_deref(), Some("a"));
    assert!(!state.request(0, "a", now), "still pending");
    assert!(!state.is_settled());
    state.finish(0, "a".to_owned(), inspected("web"), now);
    assert!(state.is_settled());
    assert!(!state.request(0, "a", now + MAX_BACKOFF));
    assert_eq!(state.metadata("a"), Some(Arc::new(named("web"))));
}

#[test]
fn a_removal_is_remembered_also_of_a_container_that_was_unknown() {
    let mut state = connected();
    let removed = |id: &str| RuntimeEvent {
        id: id.to_owned(),
        metadata: Some(named("web")),
        removed: true,
        ..RuntimeEvent::default()
    };
    state.finish(0, "a".to_owned(), inspected("web"), Instant::now());
    assert!(!state.is_removed("a"));
    state.apply(0, removed("a"));
    state.apply(0, removed("b"));
    assert!(state.is_removed("a") && state.is_removed("b") && !state.is_removed("c"));
    assert_eq!(state.removals(), 2);
}

#[test]
fn an_unknown_container_is_requested_again_with_growing_backoff() {
    let mut now = Instant::now();
    let mut state = connected();
    for backoff in [FIRST_BACKOFF, FIRST_BACKOFF * 2, FIRST_BACKOFF * 4] {
        assert!(state.request(0, "a", now));
        state.next(0, now);
        state.finish(0, "a".to_owned(), None, now);
        assert!(state.is_settled());
        assert!(!state.request(0, "a", now + backoff / 2));
        assert_eq!(state.next_due(0, now), Some(now + backoff));
        now += backoff;
        assert_eq!(state.next(0, now).as_deref(), Some("a"), "a retry");
        state.put_back(0, "a".to_owned());
        state.next(0, now);
        state.queues[0].forget("a");
    }
}

#[test]
fn a_listed_name_is_used_until_the_inspection() {
    let now = Instant::now();
    let mut state = connected();
    state.connected(0, vec![("a".to_owned(), named("listed"))]);
    assert_eq!(state.metadata("a"), Some(Arc::new(named("listed"))));
    assert!(state.request(0, "a", now));
    state.finish(0, "a".to_owned(), inspected("inspected"), now);
    let partial = Inspection { metadata: named("file"), ..Inspection::default() };
    state.finish(0, "a".to_owned(), Some(partial), now);
    assert_eq!(state.metadata("a"), Some(Arc::new(named("inspected"))));
    // After a reconnection the metadata may have changed.
    state.connected(0, vec![("a".to_owned(), named("renamed"))]);
    assert_eq!(state.metadata("a"), Some(Arc::new(named("renamed"))));
    assert!(state.request(0, "a", now));
}

#[test]
fn events_change_metadata_and_lead_to_inspections() {
    let mut state = connected();
    let event = |metadata: Option<&str>| RuntimeEvent {
        id: "a".to_owned(),
        metadata: metadata.map(named),
        ..RuntimeEvent::default()
    };
    state.apply(0, event(Some("web")));
    assert_eq!(state.metadata("a").unwrap().name, "web");
    state.apply(0, RuntimeEvent { inspect: true, ..event(Some("new")) });
    assert_eq!(state.next(0, Instant::now()).as_deref(), Some("a"));
    assert_eq!(state.metadata("a").unwrap().name, "new");
    state.apply(0, RuntimeEvent { health: Some(Health::Healthy), ..event(None) });
    assert_eq!(state.metadata("a").unwrap().health, Some(Health::Healthy));
}

#[test]
fn each_run_has_its_own_exit_status() {
    let mut state = connected();
    let id = || "a".to_owned();
    let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    let event =
        || RuntimeEvent { id: id(), metadata: Some(named("web")), ..RuntimeEvent::default() };
    let exit = |at, code| RuntimeEvent { exited: Some(Exit { at, code: Some(code) }), ..event() };
    state.apply(0, RuntimeEvent { oom: true, ..event() });
    state.apply(0, exit(start, 137));
    state.apply(0, exit(start + SECOND * 5, 3));
    // The inspection of the same exit knows more.
    let status =
        ExitStatus { exited_at: start + SECOND * 5, exit_code: Some(3), oom_killed: Some(false) };
    let inspection =
        Inspection { metadata: named("web"), complete: true, exit_status: Some(status) };
    state.finish(0, id(), Some(inspection), Instant::now());
    let status = |at| {
        let status = state.exit_status("a", at, at);
        status.map(|status| (status.exit_code, status.oom_killed))
    };
    assert_eq!(status(start), Some((Some(137), Some(true))));
    assert_eq!(status(start + SECOND * 5), Some((Some(3), Some(false))));
    assert_eq!(status(start + SECOND * 60), None, "a later run");
    assert_eq!(status(start - SECOND * 60), None, "an earlier run");
    assert_eq!(state.cache.exit_statuses("a"), 2);
}

#[test]
fn everything_is_bounded() {
    let now = Instant::now();
    let mut state = connected();
    for number in 0..=MAX_CONTAINERS {
        state.finish(0, number.to_string(), inspected("x"), now);
    }
    assert_eq!(state.metadata("0"), None, "the oldest is dropped");
    assert_eq!(state.cache.len(), MAX_CONTAINERS);
    for number in 0..=MAX_PENDING {
        state.request(0, &format!("new{number}"), now);
    }
    assert_eq!(state.queues[0].lengths(), (MAX_PENDING, MAX_BACKOFFS));
    for code in 0..20 {
        let exited = Some(Exit { at: Timestamp::UNIX_EPOCH, code: Some(code) });
        let id = MAX_CONTAINERS.to_string();
        state.apply(0, RuntimeEvent { id, exited, ..RuntimeEvent::default() });
    }
    assert_eq!(state.cache.exit_statuses(&MAX_CONTAINERS.to_string()), MAX_EXIT_STATUSES);
}
