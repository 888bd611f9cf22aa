use proptest::prelude::*;

use super::*;
use crate::{
    output::fixture,
    top::{
        events::EventKind,
        fixture::{at, ended, host, top},
        view::{self, theme::Theme},
    },
};
use ratatui::{Terminal, backend::TestBackend};

/// After two reports, drawn on a screen of 100 × 12.
fn state() -> State {
    let mut state = State::new(&top());
    state.update(host(1));
    state.update(host(2));
    drawn(&mut state);
    state
}

fn drawn(state: &mut State) {
    let mut terminal = Terminal::new(TestBackend::new(100, 12)).unwrap();
    let mut areas = Areas::default();
    terminal.draw(|frame| areas = view::draw(frame, state, Theme { has_color: true })).unwrap();
    state.drawn(&areas);
}

fn marked(state: &State) -> String {
    match state.list.lines[state.cursor] {
        ListLine::Group(index) => state.list.groups[index].name.clone(),
        ListLine::Row(index) => label(&state.report.as_ref().unwrap().containers[index]).to_owned(),
        ListLine::Ended(index) => {
            label(&state.report.as_ref().unwrap().ended[index].container).to_owned()
        }
    }
}

fn type_text(state: &mut State, text: &str) {
    text.chars().for_each(|character| _ = state.act(Action::Type(character)));
}

#[test]
fn the_mark_stays_on_its_container_when_the_order_changes() {
    let mut state = state();
    assert_eq!(marked(&state), "shop-db-1");
    state.act(Action::Move(1));
    assert_eq!(marked(&state), "pod-main");
    let mut report = host(3);
    report.containers[3].cpu.percent = Some(0.5);
    state.update(report);
    assert_eq!((marked(&state).as_str(), state.cursor), ("pod-main", 3));
    state.act(Action::SortBy(Sort::Name));
    assert_eq!(marked(&state), "pod-main");
    state.act(Action::Tree);
    assert_eq!(marked(&state), "pod-main");
}

#[test]
fn without_a_choice_the_mark_stays_at_the_top() {
    let mut state = state();
    let mut report = host(3);
    report.containers[2].cpu.percent = Some(500.0);
    state.update(report);
    assert_eq!((marked(&state).as_str(), state.cursor), ("lonely", 0));
}

#[test]
fn a_row_that_goes_leaves_the_mark_where_it_was() {
    let mut state = state();
    state.act(Action::Last);
    assert_eq!(marked(&state), "lonely");
    let mut report = host(3);
    report.containers.remove(2);
    state.update(report);
    assert_eq!(marked(&state), "pod-side");
    state.update(fixture::report(Vec::new()));
    state.act(Action::Move(1));
    state.act(Action::Open);
    assert_eq!((state.cursor, state.detail.is_none()), (0, true));
}

#[test]
fn moves_stay_in_the_list() {
    let mut state = state();
    for (action, line) in [
        (Action::Move(-1), 0),
        (Action::Last, 4),
        (Action::Move(1), 4),
        (Action::Wheel(-1), 1),
        (Action::Pages(1), 4),
        (Action::First, 0),
        (Action::Wheel(1), 3),
    ] {
        state.act(action);
        assert_eq!(state.cursor, line, "{action:?}");
    }
}

#[test]
fn a_filter_narrows_with_each_letter_and_escape_shows_all() {
    let mut state = state();
    state.act(Action::Prompt(Purpose::Filter));
    type_text(&mut state, "shop");
    assert_eq!(state.list.lines.len(), 2);
    type_text(&mut state, "-w");
    assert_eq!(state.list.lines.len(), 1);
    state.act(Action::Erase);
    state.act(Action::Accept);
    assert_eq!((state.list.lines.len(), state.prompt.is_none()), (2, true));
    state.act(Action::Back);
    assert_eq!(state.list.lines.len(), 5);
    state.act(Action::Prompt(Purpose::Filter));
    type_text(&mut state, &"x".repeat(2 * PROMPT_MAX));
    assert_eq!(state.options.filter.len(), PROMPT_MAX);
    state.act(Action::Dismiss);
    assert_eq!(state.list.lines.len(), 5);
}

#[test]
fn a_search_goes_on_to_the_next_match() {
    let mut state = state();
    state.act(Action::Prompt(Purpose::Search));
    type_text(&mut state, "POD");
    assert_eq!(marked(&state), "pod-main");
    state.act(Action::Next);
    assert_eq!(marked(&state), "pod-side");
    state.act(Action::Next);
    assert_eq!(marked(&state), "pod-main");
    type_text(&mut state, "no match");
    assert_eq!(marked(&state), "pod-main");
    let mut empty = State::new(&top());
    empty.act(Action::Prompt(Purpose::Search));
    empty.act(Action::Next);
}

#[test]
fn the_same_column_again_turns_the_order() {
    let mut state = state();
    state.act(Action::SortBy(Sort::Cpu));
    assert!(state.options.is_reversed && marked(&state) == "lonely");
    state.act(Action::SortBy(Sort::Memory));
    assert!(!state.options.is_reversed && marked(&state) == "shop-db-1");
    for expected in [Sort::Network, Sort::Block, Sort::Pids, Sort::Name, Sort::Cpu] {
        state.act(Action::NextSort(1));
        assert_eq!(state.options.sort, expected);
    }
    state.act(Action::NextSort(-1));
    assert_eq!(state.options.sort, Sort::Name);
}

#[test]
fn groups_fold_from_any_of_their_rows() {
    let mut state = state();
    state.act(Action::Tree);
    state.act(Action::Move(2));
    assert_eq!(marked(&state), "shop-web-1");
    state.act(Action::Collapse);
    assert_eq!((marked(&state).as_str(), state.list.lines.len()), ("compose shop", 6));
    state.act(Action::Open);
    assert_eq!(state.list.lines.len(), 8);
    state.act(Action::Collapse);
    state.act(Action::Expand);
    assert_eq!((marked(&state).as_str(), state.list.lines.len()), ("compose shop", 8));
}

#[test]
fn a_page_opens_scrolls_and_closes() {
    let mut state = state();
    state.act(Action::Open);
    assert_eq!(state.shown().unwrap().0.name.as_deref(), Some("shop-db-1"));
    state.act(Action::Last);
    drawn(&mut state);
    let last = state.detail.as_ref().unwrap().scroll;
    assert!(last > 0 && last < 200, "{last}");
    state.act(Action::First);
    state.act(Action::Pages(1));
    assert_eq!(state.detail.as_ref().unwrap().scroll, state.page_lines);
    state.act(Action::Back);
    assert!(state.detail.is_none());
    assert_eq!(marked(&state), "shop-db-1");
}

#[test]
fn a_page_goes_on_when_its_container_ends() {
    let mut state = state();
    state.act(Action::Open);
    let mut report = host(3);
    let gone = report.containers.remove(1);
    report.ended = vec![Ended { container: gone, ..ended("other", 3) }];
    state.update(report);
    let (row, end) = state.shown().unwrap();
    assert_eq!(
        (row.name.as_deref(), end.map(|end| end.ended_at)),
        (Some("shop-db-1"), Some(at(3)))
    );
    state.update(host(0));
    assert!(state.shown().is_some(), "back to life");
    state.update(fixture::report(Vec::new()));
    assert!(state.shown().is_none());
    drawn(&mut state);
}

#[test]
fn clicks_mark_open_and_sort() {
    let mut state = state();
    state.act(Action::Click(2));
    assert_eq!((state.cursor, state.detail.is_none()), (2, true));
    state.act(Action::Click(2));
    assert!(state.detail.is_some());
    state.act(Action::Back);
    state.act(Action::Click(99));
    assert_eq!(state.cursor, 2);
}

#[test]
fn the_interval_goes_in_steps_and_stays_in_bounds() {
    let mut state = state();
    state.act(Action::Slower);
    assert_eq!(state.interval, Duration::from_secs(2));
    for _ in 0..20 {
        state.act(Action::Slower);
    }
    assert_eq!(state.interval, MAX_INTERVAL);
    for _ in 0..20 {
        state.act(Action::Faster);
    }
    assert_eq!(state.interval, MIN_INTERVAL);
    state.interval = Duration::from_millis(1_500);
    state.act(Action::Faster);
    assert_eq!(state.interval, Duration::from_secs(1));
}

#[test]
fn scopes_go_round() {
    let mut state = state();
    let mut seen = Vec::new();
    for _ in 0..3 {
        state.act(Action::Scope);
        seen.push((state.options.scope, state.list.lines.len()));
    }
    assert_eq!(seen, [(Scope::Services, 1), (Scope::All, 6), (Scope::Containers, 5)]);
}

fn events(state: &State) -> Vec<(String, EventKind)> {
    state.events.latest().map(|event| (event.label.clone(), event.kind.clone())).collect()
}

#[test]
fn what_happens_between_reports_is_shown_once() {
    let mut state = state();
    assert_eq!(events(&state), [], "rows of the first report are no events");
    let mut report = host(3);
    let mut fresh = crate::top::fixture::container("fresh", 1.0, 1);
    fresh.startup.made_at = Some(at(2));
    report.containers.push(fresh);
    report.containers[2].memory.oom_kills = Some(1);
    report.ended = vec![ended("short", 3)];
    let again = report.clone();
    state.update(report);
    let oom = EventKind::OomKill(Some("hungry".to_owned()));
    let expected = [
        ("fresh".to_owned(), EventKind::Started),
        ("lonely".to_owned(), EventKind::OomKill(None)),
        ("short".to_owned(), EventKind::Ended),
        ("short".to_owned(), oom),
    ];
    assert_eq!(events(&state), expected);
    assert_eq!(state.events.latest().next().unwrap().at, at(2));
    state.update(again);
    assert_eq!(events(&state).len(), expected.len(), "no event is repeated");
}

#[test]
fn another_life_in_the_same_cgroup_is_a_start_and_has_no_rates_yet() {
    let mut state = state();
    let mut report = host(3);
    report.containers[1].startup.made_at = Some(at(3));
    state.update(report);
    assert_eq!(events(&state), [("shop-db-1".to_owned(), EventKind::Started)]);
    let figures = state.histories.figures();
    assert_eq!(figures[1].get(crate::top::figures::Figure::Rx), None);
    assert!(figures[0].get(crate::top::figures::Figure::Rx).is_some());
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        any::<isize>().prop_map(Action::Move),
        (-9..9isize).prop_map(Action::Wheel),
        any::<isize>().prop_map(Action::Pages),
        (0..20usize).prop_map(Action::Click),
        (-9..9isize).prop_map(Action::NextSort),
        any::<char>().prop_map(Action::Type),
        prop::sample::select(vec![
            Action::First,
            Action::Last,
            Action::Open,
            Action::Back,
            Action::Help,
            Action::Reverse,
            Action::Tree,
            Action::Ended,
            Action::Scope,
            Action::Collapse,
            Action::Expand,
            Action::Prompt(Purpose::Filter),
            Action::Prompt(Purpose::Search),
            Action::Erase,
            Action::Accept,
            Action::Dismiss,
            Action::Next,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is pressed, comes and goes, there is a frame, and the mark is on a line.
    #[test]
    fn any_keys_on_any_screen(
        steps in prop::collection::vec((any_action(), any::<u8>()), 0..60),
        width in 0..200u16,
        height in 0..50u16,
    ) {
        let mut state = State::new(&top());
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        for (second, (action, chance)) in (1..).zip(steps) {
            if chance < 80 {
                let mut report = host(second);
                // A container ends.
                let gone = report.containers.remove(usize::from(chance) % report.containers.len());
                report.ended = vec![Ended { container: gone, ..ended("x", second as i64) }];
                state.update(report);
            }
            state.act(action);
            let mut areas = Areas::default();
            let theme = Theme { has_color: true };
            terminal.draw(|frame| areas = view::draw(frame, &state, theme)).unwrap();
            state.drawn(&areas);
            prop_assert!(state.cursor < state.list.lines.len().max(1));
        }
    }
}
