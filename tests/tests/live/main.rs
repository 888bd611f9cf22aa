//! Ring 3: real containers on the real kernel, known loads, exact totals.
//!
//! Needs root, Docker (`DOCKER_HOST` or the usual socket), a disk (`TARE_TEST_DIR`, by default
//! `/var/tmp`), strace and bpftool. Whatever is missing fails the test.

mod block;
mod contract;
mod lifecycle;
mod network;
mod overhead;
mod peers;
mod privileges;
mod storage;
mod table;
