//! Pure parsers of what the Linux kernel writes about cgroups and hosts.
//!
//! Every parser takes any bytes, never panics and does no I/O: reading the file is the caller's
//! part. Numbers that the text does not hold are `None`, never 0.

pub mod cpu;
pub mod io;
pub mod memory;
pub mod mountinfo;
pub mod pressure;
pub mod procs;
pub mod stat_kinds;
pub mod stat_table;
pub mod state;
pub mod text;
