//! The columns of the list: which of them fit, and the text of their cells.

use tare_model::{Container, Ended, Report};

use crate::{
    output::{
        Sort,
        columns::cells::{SHORT_ID, UNKNOWN, finality, known, network, pair},
        text::{cut, printable},
        units::{bytes_size, human_size},
    },
    top::{
        figures::{Figure, Figures},
        history::Series,
        rows::{ListOptions, label},
    },
};

/// The least width of the name. A column that would make it narrower is left out.
const NAME_MIN: u16 = 16;

/// The least width of the name in the tree, where rows are indented and groups have long names.
const TREE_NAME_MIN: u16 = 26;

/// Beyond this width of the name, sparklines get the space.
const NAME_GOOD: u16 = 32;

const SPARKLINE_MIN: u16 = 7;
const SPARKLINE_MAX: u16 = 24;

/// A column of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The name of the row.
    Name,
    /// The beginning of its id.
    Id,
    /// A number of the row.
    Figure(Figure),
    /// The last values of a number.
    Sparkline(Series),
    /// A column of ended containers.
    Ended(EndedColumn),
}

/// A column of ended containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum EndedColumn {
    Ago,
    CpuTime,
    MemoryPeak,
    Network,
    Block,
    OomKills,
    Totals,
}

/// A column and its place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlacedColumn {
    /// The column.
    pub column: Column,
    /// Its first column of the screen.
    pub x: u16,
    /// Its width in characters.
    pub width: u16,
}

/// The columns of running containers, from left to right.
const ALIVE: [Column; 18] = [
    Column::Name,
    Column::Id,
    Column::Figure(Figure::Cpu),
    Column::Sparkline(Series::Cpu),
    Column::Figure(Figure::Memory),
    Column::Figure(Figure::MemoryPercent),
    Column::Sparkline(Series::Memory),
    Column::Figure(Figure::Rx),
    Column::Figure(Figure::Tx),
    Column::Sparkline(Series::Network),
    Column::Figure(Figure::Read),
    Column::Figure(Figure::Write),
    Column::Sparkline(Series::Block),
    Column::Figure(Figure::Pids),
    Column::Figure(Figure::Load),
    Column::Figure(Figure::Runnable),
    Column::Figure(Figure::Blocked),
    Column::Figure(Figure::RunWait),
];

/// The same without the name, the most important first: in this order they get their space.
const ALIVE_BY_WEIGHT: &[&[Column]] = &[
    &[Column::Figure(Figure::Cpu)],
    &[Column::Figure(Figure::Memory)],
    &[Column::Figure(Figure::Rx), Column::Figure(Figure::Tx)],
    &[Column::Figure(Figure::Read), Column::Figure(Figure::Write)],
    &[Column::Sparkline(Series::Cpu)],
    &[Column::Figure(Figure::Pids)],
    &[Column::Figure(Figure::MemoryPercent)],
    &[Column::Sparkline(Series::Network)],
    &[Column::Sparkline(Series::Block)],
    &[Column::Sparkline(Series::Memory)],
    &[Column::Id],
    &[Column::Figure(Figure::Load)],
    &[Column::Figure(Figure::Runnable), Column::Figure(Figure::Blocked)],
    &[Column::Figure(Figure::RunWait)],
];

/// The columns of ended containers, from left to right.
const ENDED: [Column; 8] = [
    Column::Name,
    Column::Ended(EndedColumn::Ago),
    Column::Ended(EndedColumn::CpuTime),
    Column::Ended(EndedColumn::MemoryPeak),
    Column::Ended(EndedColumn::Network),
    Column::Ended(EndedColumn::Block),
    Column::Ended(EndedColumn::OomKills),
    Column::Ended(EndedColumn::Totals),
];

const ENDED_BY_WEIGHT: &[&[Column]] = &[
    &[Column::Ended(EndedColumn::Ago)],
    &[Column::Ended(EndedColumn::CpuTime)],
    &[Column::Ended(EndedColumn::MemoryPeak)],
    &[Column::Ended(EndedColumn::OomKills)],
    &[Column::Ended(EndedColumn::Network)],
    &[Column::Ended(EndedColumn::Block)],
    &[Column::Ended(EndedColumn::Totals)],
];

/// Chooses the columns for a width.
pub(super) fn place(width: u16, options: &ListOptions) -> Vec<PlacedColumn> {
    let (order, by_weight) = if options.is_ended {
        (&ENDED[..], ENDED_BY_WEIGHT)
    } else {
        (&ALIVE[..], ALIVE_BY_WEIGHT)
    };
    let name_min = if options.is_tree && !options.is_ended { TREE_NAME_MIN } else { NAME_MIN };
    let mut chosen = vec![Column::Name];
    let mut free = width;
    for (index, columns) in by_weight.iter().enumerate() {
        let needed: u16 = columns.iter().map(|column| column.width() + 1).sum();
        let name = match columns {
            // A very narrow screen shows one number beside a shortened name.
            _ if index == 0 => NAME_MIN / 2,
            [Column::Figure(Figure::Load | Figure::Runnable | Figure::RunWait), ..] => NAME_GOOD,
            _ => name_min,
        };
        if free < needed + name {
            break;
        }
        free -= needed;
        chosen.extend_from_slice(columns);
    }
    let sparklines = chosen.iter().filter(|c| matches!(c, Column::Sparkline(_))).count() as u16;
    let spare = free.saturating_sub(NAME_GOOD).checked_div(sparklines).unwrap_or(0);
    let wider = spare.min(SPARKLINE_MAX - SPARKLINE_MIN);
    let name = free - wider * sparklines;
    let mut x = 0;
    let columns = order.iter().filter(|column| chosen.contains(column));
    columns
        .map(|&column| {
            let width = match column {
                Column::Name => name,
                Column::Sparkline(_) => SPARKLINE_MIN + wider,
                _ => column.width(),
            };
            let placed = PlacedColumn { column, x, width };
            x += width + 1;
            placed
        })
        .collect()
}

impl Column {
    fn width(self) -> u16 {
        match self {
            Self::Name => NAME_MIN,
            Self::Id => SHORT_ID as u16,
            Self::Figure(
                Figure::MemoryPercent | Figure::Pids | Figure::Runnable | Figure::Blocked,
            ) => 5,
            Self::Figure(Figure::Memory) => 9,
            Self::Figure(_) => 7,
            Self::Sparkline(_) => SPARKLINE_MIN,
            Self::Ended(EndedColumn::Ago | EndedColumn::CpuTime) => 10,
            Self::Ended(EndedColumn::MemoryPeak) => 9,
            Self::Ended(EndedColumn::Network | EndedColumn::Block) => 17,
            Self::Ended(EndedColumn::OomKills) => 4,
            Self::Ended(EndedColumn::Totals) => 20,
        }
    }

    /// The title of the column.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Id => "ID",
            Self::Figure(Figure::Cpu) => "CPU%",
            Self::Figure(Figure::Memory) => "MEM",
            Self::Figure(Figure::MemoryPercent) => "MEM%",
            Self::Figure(Figure::Rx) => "RX/s",
            Self::Figure(Figure::Tx) => "TX/s",
            Self::Figure(Figure::Read) => "READ/s",
            Self::Figure(Figure::Write) => "WRIT/s",
            Self::Figure(Figure::Pids) => "PIDS",
            Self::Figure(Figure::Load) => "LOAD",
            Self::Figure(Figure::Runnable) => "RUN",
            Self::Figure(Figure::Blocked) => "BLKD",
            Self::Figure(Figure::RunWait) => "RUNWAIT",
            Self::Sparkline(Series::Cpu) => "CPU",
            Self::Sparkline(Series::Memory) => "MEM",
            Self::Sparkline(Series::Network) => "NET",
            Self::Sparkline(Series::Block) => "BLOCK",
            Self::Ended(EndedColumn::Ago) => "ENDED",
            Self::Ended(EndedColumn::CpuTime) => "CPU TIME",
            Self::Ended(EndedColumn::MemoryPeak) => "MEM PEAK",
            Self::Ended(EndedColumn::Network) => "NET I/O",
            Self::Ended(EndedColumn::Block) => "BLOCK I/O",
            Self::Ended(EndedColumn::OomKills) => "OOM",
            Self::Ended(EndedColumn::Totals) => "TOTALS",
        }
    }

    /// The order that a click on the title asks for.
    pub(super) fn sort(self) -> Option<Sort> {
        match self {
            Self::Name => Some(Sort::Name),
            Self::Figure(Figure::Cpu) | Self::Sparkline(Series::Cpu) => Some(Sort::Cpu),
            Self::Figure(Figure::Memory | Figure::MemoryPercent)
            | Self::Sparkline(Series::Memory) => Some(Sort::Memory),
            Self::Figure(Figure::Rx | Figure::Tx) | Self::Sparkline(Series::Network) => {
                Some(Sort::Network)
            }
            Self::Figure(Figure::Read | Figure::Write) | Self::Sparkline(Series::Block) => {
                Some(Sort::Block)
            }
            Self::Figure(Figure::Pids) => Some(Sort::Pids),
            Self::Figure(Figure::Load | Figure::Runnable | Figure::Blocked | Figure::RunWait)
            | Self::Id
            | Self::Ended(_) => None,
        }
    }

    /// Whether its text is aligned to the right.
    pub(super) fn is_right(self) -> bool {
        !matches!(
            self,
            Self::Name | Self::Id | Self::Sparkline(_) | Self::Ended(EndedColumn::Totals)
        )
    }
}

/// A figure as text.
pub(super) fn figure(figure: Figure, figures: &Figures) -> String {
    known(figures.get(figure), |value| match figure {
        Figure::Cpu | Figure::MemoryPercent => format!("{value:.1}"),
        Figure::Memory => bytes_size(value as u64),
        Figure::Rx | Figure::Tx | Figure::Read | Figure::Write => human_size(value as u64),
        Figure::Pids | Figure::Runnable | Figure::Blocked => format!("{value:.0}"),
        Figure::Load | Figure::RunWait => format!("{value:.2}"),
    })
}

/// A name, safe on a terminal.
pub(super) fn name(row: &Container) -> String {
    printable(label(row)).into_owned()
}

/// The beginning of a container's id; services and cgroups have none.
pub(super) fn short_id(row: &Container) -> String {
    let id = if row.id.len() == 64 { cut(&row.id, SHORT_ID) } else { UNKNOWN };
    printable(id).into_owned()
}

/// A cell of an ended container.
pub(super) fn ended(column: EndedColumn, ended: &Ended, report: &Report) -> String {
    let row = &ended.container;
    match column {
        EndedColumn::Ago => super::events::ago(report.time, ended.ended_at),
        EndedColumn::CpuTime => known(row.cpu.usage_seconds, |seconds| format!("{seconds:.3} s")),
        EndedColumn::MemoryPeak => known(row.memory.peak_bytes, bytes_size),
        EndedColumn::Network => network(row, true),
        EndedColumn::Block => {
            pair(row.block.total.read_bytes, row.block.total.write_bytes, human_size)
        }
        EndedColumn::OomKills => known(row.memory.oom_kills, |count| count.to_string()),
        EndedColumn::Totals => finality(ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_every_width_and_exceed_none() {
        let alive = ListOptions::default();
        let tree = ListOptions { is_tree: true, ..ListOptions::default() };
        let ended = ListOptions { is_ended: true, ..ListOptions::default() };
        for options in [&alive, &tree, &ended] {
            for width in 0..400 {
                let placed = place(width, options);
                let end = placed.last().map_or(0, |last| last.x + last.width);
                assert!(end <= width, "{width}: {placed:?}");
                assert!(placed.windows(2).all(|two| two[0].x + two[0].width < two[1].x));
                assert_eq!(placed[0].column, Column::Name);
                assert!(placed[0].width >= width.min(NAME_MIN / 2), "{width}: {placed:?}");
            }
        }
        assert_eq!(place(80, &alive).len(), 9);
        assert_eq!(place(200, &alive).len(), ALIVE.len());
        let waits = |width| {
            let wait = Column::Figure(Figure::RunWait);
            place(width, &alive).iter().any(|placed| placed.column == wait)
        };
        assert!(!waits(166) && waits(167), "docs/usage.md says from where on");
        assert_eq!(place(20, &alive).len(), 2);
    }
}
