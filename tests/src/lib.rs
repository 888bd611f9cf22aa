//! The harness of the whole-binary tests: known loads, real containers to run them in, and the
//! reports of `tare`.
//!
//! Everything that the harness makes has the test's process id in its name and is removed on drop,
//! also when the test panics. Nothing else on the machine is changed.
//!
//! | variable | meaning |
//! |---|---|
//! | `TARE_BIN` | the `tare` under test; built by the tests if unset |
//! | `TARE_LOAD_BIN` | the static `tare-load`; built by the tests if unset |
//! | `TARE_TEST_DIR` | a directory on a disk-backed filesystem; `/var/tmp` if unset |
//! | `DOCKER_HOST` | the daemon that runs the containers, `unix://PATH` |
//! | `TARE_INFLUXDB_DIR` | the directory of `influxd`, if not in `PATH` |
//! | `TARE_PROMETHEUS_DIR` | the directory of `prometheus` and `promtool`, if not in `PATH` |
//! | `TARE_DOCKER_CLIENTS` | Docker's clients of other releases, with colons between the paths |
//! | `TARE_PYTHON` | a Python with the packages that `xtask` installs |
//! | `TARE_AXE` | `axe.min.js` of axe-core |
//! | `TARE_CADVISOR` | `cadvisor`, if not in `PATH` |
//! | `TARE_CONTAINERD_DIR`, `TARE_CNI_DIR` | the directories of containerd 2 and of CNI's plugins |
//! | `TARE_UPDATE_GOLDEN` | `1` rewrites the golden files |

pub mod bench;
pub mod binaries;
pub mod block;
pub mod browser;
pub mod cadvisor;
pub mod containerd;
pub mod daemon;
pub mod differences;
pub mod docker;
pub mod docker_api;
pub mod dockerd;
pub mod doctor;
pub mod http;
pub mod lab;
pub mod lives;
pub mod load;
pub mod netns;
pub mod picture;
pub mod podman;
pub mod process;
pub mod programs;
pub mod receiver;
pub mod report;
pub mod scratch;
pub mod screen;
pub mod stores;
pub mod tare;
pub mod tare_daemon;
pub mod tcp;
pub mod terminal;
pub mod wait;
pub mod websocket;
