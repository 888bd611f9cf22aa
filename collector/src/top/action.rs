//! What a user can ask for.

use crate::output::Sort;

/// A request of the user, by a key or by the mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Action {
    Quit,
    /// Stops the process until the shell continues it.
    Suspend,
    Redraw,
    /// By this many lines, down if positive.
    Move(isize),
    /// By this many screens, down if positive.
    Pages(isize),
    /// By this many turns of the wheel, down if positive.
    Wheel(isize),
    First,
    Last,
    /// A click on this line of the list.
    Click(usize),
    Open,
    Back,
    Help,
    Pause,
    Faster,
    Slower,
    SortBy(Sort),
    /// Sorts by another column, this many further.
    NextSort(isize),
    Reverse,
    Tree,
    Ended,
    Scope,
    Collapse,
    Expand,
    Prompt(Purpose),
    /// Adds a character to the prompt.
    Type(char),
    Erase,
    Accept,
    Dismiss,
    /// Goes to the next match of the search.
    Next,
    /// Steps through the instants of a recording.
    Step(i64),
    /// Goes this many seconds on in a recording.
    Seconds(i64),
    /// Goes to the next or the previous event in a recording.
    Event {
        forward: bool,
    },
    /// Goes from a recording to what is now.
    Now,
}

/// Which instant of a recording is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    /// This many instants on.
    Instants(i64),
    /// This many seconds on.
    Seconds(i64),
    /// The next event, or the previous one.
    Event {
        /// Whether it is the next.
        forward: bool,
    },
    /// A time that the user typed.
    To(String),
    /// The end, or what is live.
    Now,
}

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Shows only rows that match.
    Filter,
    /// Goes to a row that matches.
    Search,
    /// Goes to a time in a recording.
    Time,
}
