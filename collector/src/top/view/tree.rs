//! Cells of the tree: groups with their sums, and the rows below them.

use tare_model::Container;

use super::columns::{self, Column};
use crate::{output::text::printable, top::rows::Group};

/// A cell of a group. `≥` marks a sum that leaves out rows whose value is unknown.
pub(super) fn cell(column: Column, group: &Group) -> String {
    match column {
        Column::Name => {
            let sign = if group.is_collapsed { '▸' } else { '▾' };
            format!("{sign} {} ({})", printable(&group.name), group.count)
        }
        Column::Figure(figure) => {
            let text = columns::figure(figure, &group.sum.figures);
            let is_partial =
                group.sum.is_partial(figure) && group.sum.figures.get(figure).is_some();
            if is_partial { format!("≥{text}") } else { text }
        }
        Column::Id | Column::Sparkline(_) | Column::Ended(_) => String::new(),
    }
}

/// The name of a row below its group.
pub(super) fn row_name(row: &Container) -> String {
    format!("  {}", columns::name(row))
}
