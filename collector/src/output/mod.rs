//! Formats of a report. Formats what it is given and fetches nothing.

pub mod columns;

pub mod filter;

pub mod json;

pub mod measure;

pub mod nearest;

pub mod prometheus;

pub mod row;

pub mod screen;

pub mod select;

pub mod snapshot;

pub mod table;

pub mod template;

pub mod text;

pub mod units;

use std::{error::Error, io};

use clap::ValueEnum;

use self::template::Template;

/// The format of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Columns like `docker stats`, for people.
    #[default]
    Table,
    /// One object per line, for programs.
    Json,
    /// A text made from a template for each row.
    Template(Template),
}

/// The kinds of rows that a report shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Containers; a table shows services where there are none.
    #[default]
    Containers,
    /// Services of systemd.
    Services,
    /// Every cgroup.
    All,
}

/// The order of the rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// Most CPU first.
    Cpu,
    /// Most memory first.
    Memory,
    /// Most network bytes first.
    Network,
    /// Most block I/O bytes first.
    Block,
    /// Most processes first.
    Pids,
}

/// Whether an error means that the reader of the output is gone, as after `| head`. That is no
/// failure.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
pub(crate) mod fixture;
