//! Frames on a made-up terminal, against `tests/golden/top`; `TARE_UPDATE_GOLDEN=1` writes them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};

use super::*;
use crate::{
    output::Sort,
    top::{
        action::Action,
        fixture::{at, crowd, ended, host, top},
    },
};

const PLAIN: Theme = Theme { has_color: false };

/// After three reports, a start and an end among them.
fn state() -> State {
    let mut state = State::new(&top());
    state.update(host(1));
    state.update(host(2));
    let mut report = host(3);
    let mut fresh = crate::top::fixture::container("fresh", 2.0, 1);
    fresh.startup.made_at = Some(at(2));
    report.containers.push(fresh);
    report.ended = vec![ended("hungry", 3)];
    state.update(report);
    state
}

fn screen(state: &mut State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    // What one frame learns is what the next one shows.
    for _ in 0..2 {
        let mut areas = Areas::default();
        terminal.draw(|frame| areas = draw(frame, state, PLAIN)).unwrap();
        state.drawn(&areas);
    }
    terminal
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    };
    rows.map(line).collect()
}

fn check(name: &str, state: &mut State, width: u16, height: u16) {
    let found = text(&screen(state, width, height));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/top");
    let path = directory.join(name).with_extension("txt");
    if std::env::var_os("TARE_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::create_dir_all(&directory).unwrap();
        fs::write(&path, found).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, golden, "{name}; TARE_UPDATE_GOLDEN=1 writes it, to be looked at");
}

#[test]
fn list() {
    check("list", &mut state(), 80, 16);
    check("list-wide", &mut state(), 160, 12);
}

#[test]
fn filtered_list() {
    let mut state = state();
    state.act(Action::Prompt(Purpose::Filter));
    "shop".chars().for_each(|character| _ = state.act(Action::Type(character)));
    check("filter-typed", &mut state, 80, 12);
    state.act(Action::Accept);
    check("filter", &mut state, 80, 12);
}

#[test]
fn paused_scope_of_all() {
    let mut state = state();
    state.act(Action::Pause);
    state.act(Action::Scope);
    state.act(Action::Scope);
    check("paused-all", &mut state, 100, 14);
}

#[test]
fn containers_that_ended() {
    let mut state = state();
    state.act(Action::Ended);
    check("ended", &mut state, 120, 10);
    state.act(Action::Open);
    check("ended-detail", &mut state, 80, 60);
}

#[test]
fn page_of_a_container() {
    let mut state = state();
    state.act(Action::Open);
    state.update(host(4));
    check("detail", &mut state, 80, 80);
    check("detail-wide", &mut state, 160, 40);
    state.act(Action::Last);
    check("detail-end", &mut state, 60, 12);
}

#[test]
fn tree_of_groups() {
    let mut state = state();
    state.act(Action::Tree);
    check("tree", &mut state, 80, 20);
    state.act(Action::Last);
    state.act(Action::Collapse);
    check("tree-collapsed", &mut state, 80, 20);
}

#[test]
fn help_over_everything() {
    let mut state = state();
    state.act(Action::Help);
    check("help", &mut state, 80, 26);
}

#[test]
fn tiny_windows_show_something_sensible() {
    check("tiny", &mut state(), 20, 5);
    for (width, height) in [(0, 0), (1, 1), (2, 1), (5, 2), (20, 3), (300, 1), (1, 100)] {
        let mut state = state();
        for action in [Action::Help, Action::Help, Action::Tree, Action::Ended, Action::Open] {
            state.act(action);
            screen(&mut state, width, height);
        }
    }
    screen(&mut State::new(&top()), 20, 5);
}

#[test]
fn names_that_attack_the_terminal_are_escaped() {
    let mut report = host(1);
    report.containers[1].name = Some("\x1b[2J\u{202e}evil".to_owned());
    let mut state = State::new(&top());
    state.update(report);
    for action in [Action::Redraw, Action::Open] {
        state.act(action);
        let text = text(&screen(&mut state, 80, 30));
        assert!(text.contains(r"\u{1b}[2J") && !text.contains(['\x1b', '\u{202e}']), "{text}");
    }
}

#[test]
fn a_marked_row_and_the_sorting_column_are_seen_without_colour() {
    let mut state = state();
    let terminal = screen(&mut state, 80, 16);
    let cells = terminal.backend().buffer();
    let marked = |y| cells[(0, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!((0..16).filter(|y| marked(*y)).collect::<Vec<_>>(), [3]);
    assert!(cells.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(text(&terminal).contains("CPU%▾"));
}

#[test]
fn clicks_find_titles_and_rows() {
    let mut state = state();
    let mut terminal = Terminal::new(TestBackend::new(80, 16)).unwrap();
    let mut areas = Areas::default();
    terminal.draw(|frame| areas = draw(frame, &state, PLAIN)).unwrap();
    let text = text(&terminal);
    let (line, titles) = text.lines().enumerate().find(|(_, line)| line.contains("CPU%")).unwrap();
    let column = |title: &str| titles.chars().collect::<String>().find(title).unwrap() as u16;
    assert_eq!(areas.sort_at(column("MEM"), line as u16), Some(Sort::Memory));
    assert_eq!(areas.sort_at(column("NAME"), line as u16), Some(Sort::Name));
    assert_eq!(areas.sort_at(column("MEM"), line as u16 + 1), None);
    assert_eq!(areas.line_at(3, line as u16 + 2), Some(1));
    assert_eq!(areas.line_at(3, line as u16), None);
    assert_eq!(areas.line_at(3, 15), None);
    state.drawn(&areas);
}

/// The last of so many rows on a big screen, and how long a frame of it takes at best.
fn crowded(count: u64) -> (State, Duration) {
    let mut state = State::new(&top());
    state.update(crowd(count, 1));
    let report = crowd(count, 2);
    let started = Instant::now();
    state.update(report);
    println!("{count} containers: {:?} for a report", started.elapsed());
    state.act(Action::Last);
    let mut terminal = screen(&mut state, 160, 50);
    let frames = (0..20).map(|_| {
        state.act(Action::Move(-1));
        let started = Instant::now();
        terminal.draw(|frame| drop(draw(frame, &state, PLAIN))).unwrap();
        started.elapsed()
    });
    let best = frames.min().unwrap();
    println!("{count} containers: {best:?} for a frame");
    (state, best)
}

/// A frame costs what is on the screen, however many rows there are beside it.
#[test]
fn ten_thousand_containers() {
    let (_, few) = crowded(100);
    let (mut state, many) = crowded(10_000);
    assert!(many < 5 * few, "{many:?} is far more than {few:?}");
    state.act(Action::First);
    check("crowd", &mut state, 120, 16);
    state.act(Action::Tree);
    assert_eq!(state.list.groups.len(), 500);
    check("crowd-tree", &mut state, 120, 16);
}
