//! Ring 3: real containers on the real kernel, known loads, exact totals.
//!
//! Needs root, Docker (`DOCKER_HOST` or the usual socket), a disk (`TARE_TEST_DIR`, by default
//! `/var/tmp`), strace, bpftool, nsenter,
//! ip and tc. Whatever is missing fails the test.

mod block;
mod contract;
mod interfaces;
mod legacy_ids;
mod level_l3;
mod lifecycle;
mod network;
mod overhead;
mod peers;
mod privileges;
mod receipts;
mod resources;
mod storage;
mod table;
mod tcp_events;
mod ways;
