//! Pure parsers of what the Linux kernel writes about cgroups and hosts.
//!
//! Every parser takes any bytes, never panics and does no I/O: reading the file is the caller's
//! part. Numbers that the text does not hold are `None`, never 0.

pub mod cpu;
pub mod diskstats;
pub mod host_facts;
pub mod io;
pub mod loadavg;
pub mod meminfo;
pub mod memory;
pub mod mountinfo;
pub mod net_dev;
pub mod net_snmp;
pub mod net_sockets;
pub mod numa_stat;
pub mod pressure;
pub mod proc_stat;
pub mod process_limits;
pub mod procs;
pub mod rtnetlink;
pub mod stat_kinds;
pub mod stat_table;
pub mod state;
pub mod text;
