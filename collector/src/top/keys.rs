//! Keys and mouse → actions. Pure.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::{
    output::Sort,
    top::{
        action::{Action, Purpose},
        areas::Areas,
        state::State,
    },
};

/// The action for an event of the terminal, if there is one. `areas` are those of the last frame.
pub(super) fn action(event: &Event, state: &State, areas: &Areas) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_action(key, state),
        Event::Mouse(mouse) => mouse_action(mouse, state, areas),
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn key_action(key: &KeyEvent, state: &State) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Redraw),
            KeyCode::Char('f') => Some(Action::Pages(1)),
            KeyCode::Char('b') => Some(Action::Pages(-1)),
            _ => None,
        };
    }
    if state.prompt.is_some() {
        return prompt_action(key.code);
    }
    if state.is_help {
        return match key.code {
            KeyCode::Char('q') | KeyCode::F(10) => Some(Action::Quit),
            _ => Some(Action::Help),
        };
    }
    // In the tree and the details of what is live, ← and → have other meanings.
    let is_free = !state.options.is_tree && state.detail.is_none();
    if state.shown_at.is_some() || is_free || !matches!(key.code, KeyCode::Left | KeyCode::Right) {
        let action = replay_action(key.code);
        if action.is_some() {
            return action;
        }
    }
    common_action(key.code).or_else(|| {
        if state.detail.is_some() { detail_action(key.code) } else { list_action(key.code) }
    })
}

/// The keys of a prompt.
fn prompt_action(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char(character) => Action::Type(character),
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter => Action::Accept,
        KeyCode::Esc => Action::Dismiss,
        KeyCode::F(3) => Action::Next,
        KeyCode::Up => Action::Move(-1),
        KeyCode::Down => Action::Move(1),
        _ => return None,
    })
}

fn common_action(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') | KeyCode::F(10) => Action::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Esc => Action::Back,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Char('+' | '=') => Action::Slower,
        KeyCode::Char('-') => Action::Faster,
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Pages(-1),
        KeyCode::PageDown => Action::Pages(1),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        _ => return None,
    })
}

/// The keys that move through a recording.
fn replay_action(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Left => Action::Step(-1),
        KeyCode::Right => Action::Step(1),
        KeyCode::Char('[') => Action::Seconds(-60),
        KeyCode::Char(']') => Action::Seconds(60),
        KeyCode::Char('{') => Action::Seconds(-3600),
        KeyCode::Char('}') => Action::Seconds(3600),
        KeyCode::Char('n') => Action::Event { forward: true },
        KeyCode::Char('p') => Action::Event { forward: false },
        KeyCode::Char('@') => Action::Prompt(Purpose::Time),
        KeyCode::Char('l') => Action::Now,
        _ => return None,
    })
}

fn detail_action(code: KeyCode) -> Option<Action> {
    matches!(code, KeyCode::Enter | KeyCode::Backspace | KeyCode::Left).then_some(Action::Back)
}

fn list_action(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Enter => Action::Open,
        KeyCode::F(3) => Action::Prompt(Purpose::Search),
        KeyCode::Char('/' | '\\') | KeyCode::F(4) => Action::Prompt(Purpose::Filter),
        KeyCode::Char('t') | KeyCode::F(5) => Action::Tree,
        KeyCode::Char('>') | KeyCode::F(6) => Action::NextSort(1),
        KeyCode::Char('<') => Action::NextSort(-1),
        KeyCode::Char('N') => Action::SortBy(Sort::Name),
        KeyCode::Char('P' | 'C') => Action::SortBy(Sort::Cpu),
        KeyCode::Char('M') => Action::SortBy(Sort::Memory),
        KeyCode::Char('W') => Action::SortBy(Sort::Network),
        KeyCode::Char('B') => Action::SortBy(Sort::Block),
        KeyCode::Char('T') => Action::SortBy(Sort::Pids),
        KeyCode::Char('I' | 'r') => Action::Reverse,
        KeyCode::Char('e') => Action::Ended,
        KeyCode::Char('s') => Action::Scope,
        KeyCode::Left => Action::Collapse,
        KeyCode::Right => Action::Expand,
        _ => return None,
    })
}

fn mouse_action(mouse: &MouseEvent, state: &State, areas: &Areas) -> Option<Action> {
    match mouse.kind {
        _ if state.is_help => matches!(mouse.kind, MouseEventKind::Down(_)).then_some(Action::Help),
        MouseEventKind::ScrollUp => Some(Action::Wheel(-1)),
        MouseEventKind::ScrollDown => Some(Action::Wheel(1)),
        MouseEventKind::Down(MouseButton::Left) if state.detail.is_none() => {
            let sort = areas.sort_at(mouse.column, mouse.row).map(Action::SortBy);
            sort.or_else(|| areas.line_at(mouse.column, mouse.row).map(Action::Click))
        }
        MouseEventKind::Down(MouseButton::Right) if state.detail.is_some() => Some(Action::Back),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{
        action::Jump,
        fixture::top,
        state::{Prompt, Shown},
    };

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn asked(state: &State, code: KeyCode) -> Option<Action> {
        action(&key(code), state, &Areas::default())
    }

    #[test]
    fn keys_of_htop() {
        let state = State::new(&top());
        for (code, expected) in [
            (KeyCode::Char('q'), Action::Quit),
            (KeyCode::F(10), Action::Quit),
            (KeyCode::F(1), Action::Help),
            (KeyCode::Char('?'), Action::Help),
            (KeyCode::F(3), Action::Prompt(Purpose::Search)),
            (KeyCode::F(4), Action::Prompt(Purpose::Filter)),
            (KeyCode::Char('/'), Action::Prompt(Purpose::Filter)),
            (KeyCode::F(5), Action::Tree),
            (KeyCode::F(6), Action::NextSort(1)),
            (KeyCode::Enter, Action::Open),
            (KeyCode::Home, Action::First),
            (KeyCode::PageDown, Action::Pages(1)),
        ] {
            assert_eq!(asked(&state, code), Some(expected), "{code:?}");
        }
        let interrupt = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(action(&interrupt, &state, &Areas::default()), Some(Action::Quit));
    }

    #[test]
    fn keys_of_a_recording_move_through_time() {
        let mut state = State::new(&top());
        // What is live may be recorded, too.
        assert_eq!(asked(&state, KeyCode::Left), Some(Action::Step(-1)));
        assert_eq!(asked(&state, KeyCode::Char('[')), Some(Action::Seconds(-60)));
        state.act(Action::Tree);
        assert_eq!(asked(&state, KeyCode::Left), Some(Action::Collapse));
        let at = crate::top::fixture::at(5);
        state.shown_at = Some(Shown { first: at, at, last: at, problems: 0 });
        for (code, expected) in [
            (KeyCode::Left, Action::Step(-1)),
            (KeyCode::Right, Action::Step(1)),
            (KeyCode::Char(']'), Action::Seconds(60)),
            (KeyCode::Char('n'), Action::Event { forward: true }),
            (KeyCode::Char('@'), Action::Prompt(Purpose::Time)),
            (KeyCode::Char('q'), Action::Quit),
        ] {
            assert_eq!(asked(&state, code), Some(expected), "{code:?}");
        }
        assert_eq!(state.act(Action::Prompt(Purpose::Time)), None);
        "03:12".chars().for_each(|character| _ = state.act(Action::Type(character)));
        assert_eq!(state.act(Action::Accept), Some(Jump::To("03:12".to_owned())));
        assert_eq!(state.prompt, None);
    }

    #[test]
    fn letters_are_text_while_a_line_is_typed() {
        let mut state = State::new(&top());
        state.prompt = Some(Prompt { purpose: Purpose::Filter, text: String::new() });
        assert_eq!(asked(&state, KeyCode::Char('q')), Some(Action::Type('q')));
        assert_eq!(asked(&state, KeyCode::Esc), Some(Action::Dismiss));
        assert_eq!(asked(&state, KeyCode::Enter), Some(Action::Accept));
    }

    #[test]
    fn any_key_leaves_the_help() {
        let mut state = State::new(&top());
        state.is_help = true;
        assert_eq!(asked(&state, KeyCode::Char('x')), Some(Action::Help));
        assert_eq!(asked(&state, KeyCode::Char('q')), Some(Action::Quit));
    }
}
